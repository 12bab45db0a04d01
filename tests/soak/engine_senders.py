"""Sends mutated calls and images to an engine, on several connections of this process."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from tests.engine.image_files import draw, encoded
from tests.engine.wire import Wire, request
from tests.soak.engine_calls import call, image_call, slip
from tests.soak.fuzz_files import damage, files_of_all_kinds

_CONNECTIONS: Final = 16
_EXAMPLES_MAX: Final = 5


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Requests ``first`` to ``first + count``: each number is another one."""

    url: str
    token: str
    quick_token: str
    """Of a library whose embedding takes less than half the time: nine of ten requests are its."""
    host: str
    seed: int
    first: int
    count: int

    def of(self, first: int, count: int) -> Batch:
        """Return other numbers of the same run."""
        return replace(self, first=first, count=count)


def send_calls(batch: Batch) -> tuple[Counter[str], list[str]]:
    """Send calls; return outcomes and examples of what went wrong.

    Of ten three are of any kind, three are wrong in several places, four in one or none.
    """

    def made(chance: random.Random) -> tuple[bytes, bool]:
        token = _token(chance, batch)
        match chance.randrange(10):
            case 0 | 1 | 2:
                return request(chance, token)
            case 3 | 4 | 5:
                return call(chance, token, batch.host)
            case _:
                return slip(chance, token)

    return _send(batch, made)


def send_images(batch: Batch) -> tuple[Counter[str], list[str]]:
    """Send damaged images; return outcomes and examples of what went wrong."""

    def made(chance: random.Random) -> tuple[bytes, bool]:
        kinds = _files()
        kind = chance.choice([*kinds])
        file = damage(kind, kinds[kind], chance)
        return image_call(chance, _token(chance, batch), file), True

    return _send(batch, made)


def _token(chance: random.Random, batch: Batch) -> str:
    return batch.token if chance.random() < 0.1 else batch.quick_token


@cache
def _files() -> dict[str, bytes]:
    """Return files of all kinds; what the engine reads is there several times."""
    files = files_of_all_kinds()
    drawn = draw(5, (300, 300))
    read = {kind: file for kind, file in files.items() if kind[:3] in ("JPE", "PNG", "BMP")}
    return files | {f"{kind} again": file for kind, file in read.items()} | {
        "JPEG grey": encoded(drawn.convert("L"), "JPEG"),
        "JPEG restarts": encoded(drawn, "JPEG", restart_marker_rows=1),
        "PNG 1 bit": encoded(drawn.convert("1"), "PNG"),
        "PNG grey alpha": encoded(drawn.convert("LA"), "PNG"),
        "BMP alpha": encoded(drawn.convert("RGBA"), "BMP"),
        "BMP 1 bit": encoded(drawn.convert("1"), "BMP"),
    }  # fmt: skip


def _send(
    batch: Batch, made: Callable[[random.Random], tuple[bytes, bool]]
) -> tuple[Counter[str], list[str]]:
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []

    def send(start: int) -> None:
        wire = Wire(batch.url)
        for number in range(batch.first + start, batch.first + batch.count, _CONNECTIONS):
            sent, whole = made(random.Random(batch.seed << 32 | number))
            outcome = wire.outcome(sent, whole=whole)
            outcomes[outcome] += 1
            if outcome.startswith("WRONG") and len(wrong) < _EXAMPLES_MAX:
                shown = sent.replace(batch.token.encode(), b"TOKEN")
                shown = shown.replace(batch.quick_token.encode(), b"TOKEN")
                wrong.append(f"{number}: {outcome}: {shown[:400]!r}")
        wire.close()

    with ThreadPoolExecutor(_CONNECTIONS) as threads:
        for sending in [threads.submit(send, start) for start in range(_CONNECTIONS)]:
            sending.result()
    return outcomes, wrong
