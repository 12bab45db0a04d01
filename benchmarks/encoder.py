"""The form encoder beside requests' own form encoding, in time and in memory."""

from __future__ import annotations

import base64
import ctypes
import gc
import statistics
from functools import partial
from pathlib import Path
from typing import Final

import pybase64
import requests

from benchmarks import pictures
from benchmarks.clocks import cpu_s, in_turns, ratios
from benchmarks.findings import Findings, at_least, at_most, milliseconds
from productsearch_service import limits
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
        memory = peak(picture)
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
    if form.encode({"image": picture}) != _requests(picture):
        raise AssertionError("the two encoders do not agree")
    times = max(2, _BYTES_A_TURN // len(picture))
    return in_turns(
        {
            "requests": partial(cpu_s, partial(_requests, picture), max(1, times // 20)),
            "ours": partial(cpu_s, partial(_ours, picture), times),
            "base64": partial(cpu_s, partial(pybase64.b64encode, picture), times),
        },
        rounds,
    )


def peak(picture: bytes) -> float:
    """Return how much memory encoding takes at its peak, the form included, in sizes of the form.

    It is the peak of resident memory, whatever it was taken for, and for a form that gets no
    buffer of an earlier one. Linux only, and in whole pages.
    """
    earlier = [form.pieces({"image": picture}) for _ in range(limits.FORM_BUFFERS_KEPT)]
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory that is free, but kept, would hide what is taken
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = _resident("VmRSS")
    form.pieces({"image": picture})
    return (_resident("VmHWM") - before) / sum(map(len, earlier[0]))


def _resident(line: str) -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return 1024 * int(status.split(f"{line}:")[1].split()[0])


def _ours(picture: bytes) -> None:
    form.release(form.pieces({"image": picture}))


def _requests(picture: bytes) -> bytes:
    """Encode as ``requests.post(data={...})`` does."""
    request = requests.Request(
        "POST", "http://localhost/", data={"image": base64.b64encode(picture)}
    )
    body = request.prepare().body
    return body.encode() if isinstance(body, str) else body or b""
