"""The form encoder beside requests' own form encoding, in time and in memory."""

from __future__ import annotations

import base64
import statistics
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Final

import pybase64
import requests

from benchmarks import pictures
from benchmarks.clocks import cpu_s, in_turns, ratios
from benchmarks.findings import Findings, at_least, at_most, milliseconds
from productsearch_service.upstream import form

_BYTES_A_TURN: Final = 12_000_000


def run(rounds: int) -> Findings:
    """Encode each size with ours, with requests, and with base64 alone."""
    rows: list[tuple[str, ...]] = [
        ("size", "requests", "ours", "base64 alone", "requests / ours", "ours: memory / body")
    ]
    measures, numbers = [], {}
    for size, size_bytes in pictures.SIZES.items():
        picture = pictures.of_size(size_bytes)
        values = _measure(picture, rounds)
        faster = statistics.median(ratios(values["requests"], values["ours"]))
        ours = partial(form.pieces, {"image": picture})
        memory = peak_bytes(ours) / sum(map(len, ours()))
        medians = [statistics.median(of_name) for of_name in values.values()]
        rows.append((size, *map(milliseconds, medians), f"{faster:.1f}", f"{memory:.2f}"))
        numbers[size] = {"seconds": values, "ratio": faster, "memory": memory}
        if size == "2.9 MB":
            measures.append(at_least("encoder, 2.9 MB: requests / ours", faster, 25))
            measures.append(at_most("encoder, 2.9 MB: peak memory / encoded size", memory, 2.2))
    return Findings(title="Form encoder", rows=rows, measures=measures, numbers=numbers)


def ratio(picture: bytes, rounds: int) -> float:
    """Return how many times longer requests takes to encode a picture."""
    values = _measure(picture, rounds)
    return statistics.median(ratios(values["requests"], values["ours"]))


def _measure(picture: bytes, rounds: int) -> dict[str, list[float]]:
    ours = partial(form.pieces, {"image": picture})
    if b"".join(ours()) != _requests(picture):
        raise AssertionError("the two encoders do not agree")
    times = max(2, _BYTES_A_TURN // len(picture))
    return in_turns(
        {
            "requests": partial(cpu_s, partial(_requests, picture), max(1, times // 20)),
            "ours": partial(cpu_s, ours, times),
            "base64": partial(cpu_s, partial(pybase64.b64encode, picture), times),
        },
        rounds,
    )


def peak_bytes(work: Callable[[], object]) -> int:
    """Return how many bytes more than before ``work`` held at its peak, its result included."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _requests(picture: bytes) -> bytes:
    """Encode as ``requests.post(data={...})`` does."""
    request = requests.Request(
        "POST", "http://localhost/", data={"image": base64.b64encode(picture)}
    )
    body = request.prepare().body
    return body.encode() if isinstance(body, str) else body or b""
