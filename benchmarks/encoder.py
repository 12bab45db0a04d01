"""The form encoder beside requests' own form encoding, in time and in memory.

Ours is what an AddImage does: blocks of the image, and a turn for others of the event loop after
each of them.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import gc
import statistics
from functools import partial
from pathlib import Path
from typing import Final

import pybase64
import requests
import uvloop

from benchmarks import images
from benchmarks.clocks import cpu_s, in_turns, ratios
from benchmarks.findings import Findings, at_least, at_most, milliseconds
from productsearch_service.images.form_encoding import FormEncoder

_BYTES_A_TURN: Final = 12_000_000


def run(rounds: int) -> Findings:
    """Encode each size with ours, with requests, and with base64 alone."""
    rows: list[tuple[str, ...]] = [
        ("size", "requests", "ours", "base64 alone", "requests / ours", "ours: memory / body")
    ]
    measures, numbers = [], {}
    for size, size_bytes in images.SIZES.items():
        image = images.of_size(size_bytes)
        values = _measure(image, rounds)
        faster = statistics.median(ratios(values["requests"], values["ours"]))
        memory = peak(image)
        medians = [statistics.median(of_name) for of_name in values.values()]
        rows.append((size, *map(milliseconds, medians), f"{faster:.1f}", f"{memory:.2f}"))
        numbers[size] = {"seconds": values, "ratio": faster, "memory": memory}
        if size == "2.9 MB":
            measures.append(at_least("encoder, 2.9 MB: requests / ours", faster, 25))
            measures.append(at_most("encoder, 2.9 MB: peak memory / encoded size", memory, 2.2))
    return Findings(title="Form encoder", rows=rows, measures=measures, numbers=numbers)


def ratio(image: bytes, rounds: int) -> float:
    """Return how many times longer requests takes to encode an image."""
    values = _measure(image, rounds)
    return statistics.median(ratios(values["requests"], values["ours"]))


def cpu_s_of(image: bytes, times: int) -> float:
    """Return the CPU seconds in which ours encodes an image, over that many in a row."""

    async def encode() -> None:
        encoder = FormEncoder()
        for _ in range(times):
            await encoder.form_value(image, fits=False)

    with _event_loop() as loop:
        return cpu_s(partial(loop.run, encode()), 1) / times


def _measure(image: bytes, rounds: int) -> dict[str, list[float]]:
    with _event_loop() as loop:
        parts = loop.run(FormEncoder().form_value(image, fits=False))
    if b"image=" + b"".join(parts) != _requests(image):
        raise AssertionError("the two encoders do not agree")
    times = max(2, _BYTES_A_TURN // len(image))
    return in_turns(
        {
            "requests": partial(cpu_s, partial(_requests, image), max(1, times // 20)),
            "ours": partial(cpu_s_of, image, times),
            "base64": partial(cpu_s, partial(pybase64.b64encode, image), times),
        },
        rounds,
    )


def peak(image: bytes) -> float:
    """Return how much memory encoding takes at its peak, in sizes of the form value, included.

    It is the peak of resident memory, whatever it was taken for. Linux only, and in whole pages.
    """
    with _event_loop() as loop:
        encoder = FormEncoder()
        encoded_bytes = sum(map(len, loop.run(encoder.form_value(image, fits=False))))
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # memory that is free, but kept, would hide what is taken
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        before = _resident("VmRSS")
        loop.run(encoder.form_value(image, fits=False))
        return (_resident("VmHWM") - before) / encoded_bytes


def _event_loop() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def _resident(line: str) -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return 1024 * int(status.split(f"{line}:")[1].split()[0])


def _requests(image: bytes) -> bytes:
    """Encode as ``requests.post(data={...})`` does."""
    request = requests.Request("POST", "http://localhost/", data={"image": base64.b64encode(image)})
    body = request.prepare().body
    return body.encode() if isinstance(body, str) else body or b""
