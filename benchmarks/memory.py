"""Resident memory of the facade: idle, and with many of the largest images in flight."""

from __future__ import annotations

from typing import Final

from benchmarks import images, stage
from benchmarks.findings import Findings, at_most
from benchmarks.load import Command
from productsearch_service.images import form_encoding

_IMAGES: Final = (8, 32)
_SIZE: Final = images.SIZES["2.9 MB"]
_DELAY_MS: Final = 2000.0
"""Long enough for all of them to be in flight together."""
_MIB: Final = 1 << 20


def run(rounds: int) -> Findings:
    """Measure a facade of its own for each number of images; rounds do not matter here."""
    del rounds
    encoded = len(form_encoding.encode(images.of_size(_SIZE)))
    rows = [("2.9 MB images in flight", "idle", "peak", "for each, in encoded sizes")]
    measures, numbers = [], {}
    for count in _IMAGES:
        with (
            stage.upstream(delay_ms=_DELAY_MS) as (url, bundle),
            stage.facade(url, bundle) as facade,
            stage.Load() as load,
        ):
            command = Command(
                kind="grpc",
                target=facade.url,
                bearer=stage.BEARER,
                size=1024,
                callers=1,
                seconds=0.1,
            )
            load.run(command)
            idle = stage.rss_bytes(facade)
            command.size, command.callers = _SIZE, count
            command.seconds = 2 * _DELAY_MS / 1000
            with stage.PeakRss(facade) as peak:
                load.run(command)
        times = (peak.bytes - idle) / count / encoded
        rows.append(
            (str(count), f"{idle / _MIB:.1f} MiB", f"{peak.bytes / _MIB:.0f} MiB", f"{times:.2f}")
        )
        numbers[str(count)] = {"idle": idle, "peak": peak.bytes, "encoded": encoded}
        name = f"RSS, {count} images of 2.9 MB in flight: (peak - idle) / (N x encoded size)"
        measures.append(at_most(name, times, 2.4))
        if count == _IMAGES[0]:
            measures.insert(0, at_most("RSS idle, after a first call [MiB]", idle / _MIB, 75))
    return Findings(title="Memory", rows=rows, measures=measures, numbers=numbers)
