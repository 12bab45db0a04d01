"""A list of many rows, all but a few of which name files that are not there: memory, first image.

The rows are rejected here without a call, so what is measured is the list and the journal.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import psutil

from tests.pictures import jpeg
from tests.soak.import_stage import stage
from tests.soak.measures import Measure, at_most, equal

_GOOD: Final = 50
_RSS_MB_MAX: Final = 150
_FIRST_S_MAX: Final = 2
_ALONE: Final = 100_000
"""With so many rows the soak has the machine to itself."""
_POLL_S: Final = 0.005


def long_list(folder: Path, rows: int) -> list[Measure]:
    """Import a list of ``rows``; the first ``_GOOD`` rows have images."""
    place = folder / "list"
    place.mkdir()
    listed = place / "products.csv"
    with listed.open("w", encoding="utf-8") as file:
        file.write("image,sku,brief,class_id1\n")
        for number in range(rows):
            file.write(f"images/{number}.jpg,sku-{number},brief of {number},{number % 99 + 1}\n")
    (place / "images").mkdir()
    for number in range(_GOOD):
        (place / "images" / f"{number}.jpg").write_bytes(jpeg(number))
    with stage(place, real=False, quota_qps=0) as served:
        log = place / "import.log"
        began_s = time.monotonic()
        process = served.start("import", listed, "--json", log=log)
        watched = psutil.Process(process.pid)
        first_s, rss_mb = 0.0, 0.0
        cpu_at_first_s = 0.0
        while process.poll() is None:
            try:
                rss_mb = max(rss_mb, watched.memory_info().rss / 1e6)
                if not first_s and served.upstream.stored:  # type: ignore[union-attr]
                    first_s = time.monotonic() - began_s
                    spent = watched.cpu_times()
                    cpu_at_first_s = spent.user + spent.system
            except psutil.NoSuchProcess:
                break
            time.sleep(_POLL_S)
        code = process.wait()
        whole_s = time.monotonic() - began_s
        print(f"{rows} rows in {whole_s:.1f} s; first image after {first_s:.2f} s")
        # Beside other tests only the processor's time means something.
        first = (
            at_most("time until its first image was stored, s", first_s, _FIRST_S_MAX)
            if rows >= _ALONE
            else at_most("CPU until its first image was stored, s", cpu_at_first_s, _FIRST_S_MAX)
        )
        return [
            equal("exit code of the long list", code, 3),
            equal("its good images", served.stored(), _GOOD),
            at_most(f"memory with {rows} rows, MB", rss_mb, _RSS_MB_MAX),
            first,
        ]
