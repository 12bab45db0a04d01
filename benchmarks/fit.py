"""``fit`` in a process beside the same ``fit`` in the caller's own process: what the way costs.

CPU seconds of both processes, in turns: the image goes through a socket and comes back as a JPEG.
Both have the facade's settings of the allocator, as the threads had in which ``fit`` ran before.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from benchmarks.clocks import cpu_s, in_turns, ratios
from benchmarks.findings import Findings, at_most, milliseconds
from productsearch_service import limits
from productsearch_service.images import fit
from productsearch_service.images.pool import Pool
from productsearch_service.server import memory
from tests.pictures import encode

_SIZES: Final = {"0.5 MB": (1000, 4200, 75), "3 MB": (2600, 4200, 94), "6 MB": (4000, 6000, 95)}
"""Height and width in pixels and quality of JPEGs of about these sizes, as cameras write them."""
_BARRED: Final = "3 MB"


def run(rounds: int) -> Findings:
    """Fit an image of each size, here and there."""
    rows: list[tuple[str, ...]] = [("size", "bytes", "in a process", "here", "in a process / here")]
    measures, numbers = [], {}
    memory.give_images_back()
    with asyncio.Runner() as runner:
        pool = Pool()
        try:
            for size in _SIZES:
                image = photograph(*_SIZES[size])
                values = _measure(runner, pool, image, rounds)
                ratio = statistics.median(ratios(values["process"], values["here"]))
                medians = [milliseconds(statistics.median(each)) for each in values.values()]
                rows.append((size, f"{len(image):,}", *medians, f"{ratio:.2f}"))
                numbers[size] = {"bytes": len(image), "seconds": values, "ratio": ratio}
                if size == _BARRED:
                    measures.append(at_most(f"fit, {size}: CPU in a process / here", ratio, 1.15))
        finally:
            pool.close()
    return Findings(title="fit", rows=rows, measures=measures, numbers=numbers)


def photograph(height: int, width: int, quality: int) -> bytes:
    """Return a JPEG with detail of all sizes and a little noise, larger than the upstream takes."""
    chance = np.random.default_rng(1)
    pixels = np.zeros((height, width, 3), np.float32)
    for side in (8, 64, 512):
        rough = chance.integers(0, 256, (side * height // width, side, 3), np.uint8)
        scaled = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
        pixels += np.asarray(scaled, np.float32) / 3
    pixels += chance.normal(0, 2, pixels.shape).astype(np.float32)
    return encode(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), quality=quality)


def _measure(
    runner: asyncio.Runner, pool: Pool, image: bytes, rounds: int
) -> dict[str, list[float]]:
    expected = fit.fit(image, limits.FIT_LARGE_MEMORY_BYTES)
    if expected is None or runner.run(pool.fit(image)) != expected:
        raise AssertionError("the two do not agree")
    return in_turns(
        {
            "process": partial(_both_s, runner, pool, image),
            "here": partial(cpu_s, partial(fit.fit, image, limits.FIT_LARGE_MEMORY_BYTES), 1),
        },
        rounds,
    )


def _both_s(runner: asyncio.Runner, pool: Pool, image: bytes) -> float:
    """Return the CPU seconds that one ``fit`` takes of this process and of its workers."""

    def used_s() -> float:
        return time.process_time() + sum(map(_ran_s, pool.pids))

    began_s = used_s()
    runner.run(pool.fit(image))
    return used_s() - began_s


def _ran_s(pid: int) -> float:
    """Return the CPU seconds of a process's first thread, of which workers have no other.

    Source: the scheduler's own clock, in nanoseconds; the times in ``stat`` are multiples of 10 ms.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) / 1e9
