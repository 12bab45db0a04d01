"""Imports that are killed at random points and moved: is every good image there once?

A folder, 3 % of which is bad in ten ways, is imported by the command line as a process. It is
killed with SIGKILL again and again, and between some of the kills the folder is moved. Then the
import is let finish, its rejects are mended and imported, and at last everything that the journal
knows is deleted from the library, which must be empty then.

Two more measures stand beside it: the import against a loop of unary adds before an upstream that
takes 50 ms, and a list of 200,000 rows: memory, and the time until its first image is sent.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from productsearch import v1
from productsearch.cli.journal import Journal
from tests.pictures import jpeg
from tests.soak.import_list import long_list
from tests.soak.import_source import KINDS, Photos
from tests.soak.import_stage import Stage, stage
from tests.soak.measures import Measure, at_least, at_most, equal, report

SEED: Final = 20261125
_AT_ONCE: Final = 8
_BAD_SHARE: Final = 0.03
_POLL_S: Final = 0.002
_PATIENCE_S: Final = 600
_RIVAL_DELAY_S: Final = 0.05
_BRIEF: Final = "{path} {name}"


@dataclass(frozen=True, kw_only=True)
class Size:
    """``rows`` and ``rival_images`` of 0 leave their measures out."""

    images: int
    kills: int
    moves: int
    real: bool
    quota_qps: int
    rival_images: int = 0
    rows: int = 0


FULL: Final = Size(
    images=5000, kills=20, moves=2, real=True, quota_qps=500, rival_images=400, rows=200_000
)
MIDDLE: Final = Size(images=300, kills=6, moves=2, real=True, quota_qps=500, rows=20_000)
SMALL: Final = Size(images=60, kills=3, moves=2, real=False, quota_qps=0)


def run(size: Size, seed: int = SEED) -> list[Measure]:
    """Import, kill, move, finish, mend, empty; return the lines of the report."""
    print(f"seed {seed}, {size}")
    with tempfile.TemporaryDirectory(prefix="productsearch-imports-") as scratch:
        folder = Path(scratch)
        photos = Photos(folder / "photos-0", size.images, _BAD_SHARE, seed)
        with stage(folder, real=size.real, quota_qps=size.quota_qps) as served:
            killed = _killed(served, photos, size, random.Random(seed))
            measures = _finished(served, photos, killed)
            measures += _mended(served, photos)
        if size.rival_images:
            measures.append(_against_a_loop(folder, size.rival_images))
        if size.rows:
            measures += long_list(folder, size.rows)
    return measures


def _arguments(photos: Photos, events: Path) -> list[str | Path]:
    return ["import", photos.folder, "--brief", _BRIEF, "--events", events, "--json"]


def _killed(served: Stage, photos: Photos, size: Size, chance: random.Random) -> int:
    """Kill the import at random points; return how many of the kills hit it alive."""
    points = sorted(chance.sample(range(1, size.images * 9 // 10), size.kills))
    moves = {size.kills * (number + 1) // (size.moves + 1) for number in range(size.moves)}
    events = photos.folder.parent / "events.ndjson"
    alive = 0
    for number, point in enumerate(points):
        if number in moves:
            photos.move(photos.folder.with_name(f"photos-{number}"))
        log = photos.folder.parent / "import.log"
        process = served.start(*_arguments(photos, events), log=log)
        end_s = time.monotonic() + _PATIENCE_S
        while process.poll() is None and _items(events) < point:
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(_POLL_S)
        time.sleep(chance.uniform(0, 0.02))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            alive += 1
        process.wait()
    return alive


def _items(events: Path) -> int:
    """Return how many outcomes were told so far; the last line may be half of one."""
    return events.read_bytes().count(b'"event": "item"') if events.exists() else 0


def _finished(served: Stage, photos: Photos, kills: int) -> list[Measure]:
    events = photos.folder.parent / "events.ndjson"
    code, (summary,), said = served.run(*_arguments(photos, events))
    adds = served.adds()
    again_code, (again,), line = served.run(*_arguments(photos, events))
    rejects = _reasons(photos.folder / "rejects.csv")
    with Journal(photos.folder / ".productsearch.journal", "") as journal:
        signs = {row.cont_sign for row in journal.in_library()}
        done = journal.counts()["done"]
    total = f"done {photos.good} + rejected {len(photos.bad)} + left 0 = total {photos.size}"
    went_on = re.match(r"done (\d+) \+ rejected (\d+) \+ left (\d+) = total (\d+)\n", said)
    sums = [int(text) for text in went_on.groups()] if went_on else [0, 0, 0, 0]
    expected = {key: KINDS[kind] for key, kind in photos.bad.items()}
    return [
        equal("exit code with rejects", code, 3),
        equal("good images done", summary["done"], photos.good),
        equal("images left", summary["left"], 0),
        equal("bad images rejected with their reason", _equal(rejects, expected), len(expected)),
        equal("further rows in the rejects file", len({*rejects} - {*expected}), 0),
        equal("images in the library", served.stored(), photos.good),
        equal("signatures in the journal", len(signs), photos.good),
        equal("rows done in the journal", done, photos.good),
        at_least("upstream adds that were counted", adds, photos.good),
        at_most("upstream adds", adds, photos.size + kills * _AT_ONCE),
        at_least("kills that hit a running import", kills, 1),
        equal("first line of the next run adds up", sum(sums[:3]) - sums[3] + (sums[3] == 0), 0),
        equal("a run with nothing left to do says so", line.startswith(total), True),
        equal("calls that it makes", again["calls"], 0),
        equal("its exit code, with rejects", again_code, 3),
    ]


def _equal(found: dict[str, str], expected: dict[str, str]) -> int:
    wrong = {key: found.get(key) for key in expected if found.get(key) != expected[key]}
    if wrong:
        print("wrong reasons", dict([*wrong.items()][:10]))
    return len(expected) - len(wrong)


def _reasons(file: Path) -> dict[str, str]:
    with file.open(newline="", encoding="utf-8") as lines:
        return {row["key"]: row["reason"] for row in csv.DictReader(lines)}


def _mended(served: Stage, photos: Photos) -> list[Measure]:
    rejects = photos.folder / "rejects.csv"
    photos.mend(rejects)
    code, (summary,), _ = served.run("import", rejects, "--json")
    stored = served.stored()
    _, rows, _ = served.run("export", "--source", photos.folder, "--format", "ndjson")
    signs = sorted({row["cont_sign"] for row in rows})
    with v1.connect(served.facade.url) as channel:
        request = v1.BatchDeleteImagesRequest(cont_signs=signs)
        unknown = v1.ProductSearchStub(channel).BatchDeleteImages(request).failed_count
    return [
        equal("exit code of the mended rejects", code, 0),
        equal("mended rejects done", summary["done"], len(photos.bad)),
        equal("rejects file is gone", rejects.exists(), False),
        equal("images in the library with them", stored, photos.size),
        equal("signatures of the journal that the library lacks", unknown, 0),
        equal("images of the library that the journal lacks", served.stored(), 0),
    ]


def _against_a_loop(folder: Path, count: int) -> Measure:
    """Time an import and a loop of unary adds of as many images, side by side in turns."""
    spent = {"import": 0.0, "loop": 0.0}
    with stage(folder / "rival", real=False, quota_qps=0, delay_s=_RIVAL_DELAY_S) as served:
        rounds = 2
        for number in range(rounds):
            part = range(number * count, number * count + count // rounds)
            source = folder / "rival" / f"photos-{number}"
            source.mkdir(parents=True)
            for seed in part:
                (source / f"{seed}.jpg").write_bytes(jpeg(seed))
            _, (summary,), _ = served.run("import", source, "--json")
            assert summary["created"] == count // rounds
            spent["import"] += summary["seconds"]
            images = [jpeg(seed + 1_000_000) for seed in part]
            began_s = time.monotonic()
            with v1.connect(served.facade.url) as channel:
                stub = v1.ProductSearchStub(channel)
                for content in images:
                    new_image = v1.NewImage(image=v1.ImageSource(content=content), brief="b")
                    stub.AddImage(v1.AddImageRequest(new_image=new_image))
            spent["loop"] += time.monotonic() - began_s
    print(f"{count} images at {_RIVAL_DELAY_S * 1000:g} ms: {spent}")
    return at_least("loop of unary adds / import, in time", spent["loop"] / spent["import"], 3)


def main(arguments: Any = None) -> int:
    """Run at full size, or as told; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=["full", "middle", "small"], default="full")
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    return report(run({"full": FULL, "middle": MIDDLE, "small": SMALL}[asked.size], asked.seed))


if __name__ == "__main__":
    sys.exit(main())
