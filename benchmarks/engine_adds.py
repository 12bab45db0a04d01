"""Adds a second of this checkout's engine beside the one of another commit, in turns.

Both engines run with databases of their own, and eight callers add ordinary images of 300 KB to one
and then to the other. Both embed alike and keep no copies: what is compared is the way of an image
through the engine. This engine is also measured as it is installed: it embeds better since, and
keeps a copy. The other commit's engine runs with this interpreter.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import psutil
import urllib3
from PIL import Image

from benchmarks import clocks
from benchmarks.checkout import Checkout, here
from benchmarks.findings import Findings, at_least, milliseconds
from demo.processes import Engine
from tests.engine.databases import postmaster
from tests.soak.measures import report

REVISION: Final = "5d01850"
"""The last commit whose engine decoded and embedded in threads."""
_ADDS: Final = "/rest/2.0/image-classify/v1/realtime_search/product/add"
_CALLERS: Final = 8
_A_TURN: Final = 160
_SPEED: Final = 1.6
_ALIKE: Final = {"PRODUCTSEARCH_ENGINE_EMBEDDING": "classic"}
_WITHOUT_COPIES: Final = {**_ALIKE, "PRODUCTSEARCH_ENGINE_KEEP_IMAGES": "false"}


@dataclass(frozen=True)
class Turn:
    """What came of some adds."""

    per_s: float
    engine_s: float
    """Processor seconds of one add: of the engine and its workers."""
    database_s: float
    """And of PostgreSQL."""


def run(rounds: int, revision: str = REVISION, adds: int = _A_TURN) -> Findings:
    """Measure both engines. Raises CheckoutError."""
    other = Checkout.of(revision)
    before = {"PYTHONPATH": str(other.directory / "engine"), **_ALIKE}
    candidates = {
        f"{other.sha[:7]}": before,
        "here, alike": _WITHOUT_COPIES,
        "here, as installed": {},
    }
    with ExitStack() as stack:
        adders = {
            name: partial(stack.enter_context(_adding(environment)), adds)
            for name, environment in candidates.items()
        }
        turns = clocks.in_turns(adders, max(2, rounds))
    then, alike, installed = turns.values()
    ratio = statistics.median(clocks.ratios(_speeds(alike), _speeds(then)))
    return Findings(
        title=f"Adds of 300 KB, {here()} against {other.sha[:7]}, {os.cpu_count()} cores",
        rows=[
            ("engine", "adds/s", "CPU engine", "CPU database"),
            *(_row(name, results) for name, results in turns.items()),
        ],
        measures=[at_least("adds/s of 300 KB, here / there, embedded alike", ratio, _SPEED)],
        numbers={
            "turns": {name: [vars(turn) for turn in results] for name, results in turns.items()},
            "as installed": statistics.median(clocks.ratios(_speeds(installed), _speeds(then))),
        },
    )


def _speeds(turns: Sequence[Turn]) -> list[float]:
    return [turn.per_s for turn in turns]


def _row(name: str, turns: Sequence[Turn]) -> tuple[str, ...]:
    return (
        name,
        f"{statistics.median(_speeds(turns)):.1f}",
        milliseconds(statistics.median(turn.engine_s for turn in turns)),
        milliseconds(statistics.median(turn.database_s for turn in turns)),
    )


@contextmanager
def _adding(environment: Mapping[str, str]) -> Iterator[_Adder]:
    with Engine(environment=environment) as engine:
        yield _Adder(engine)


class _Adder:
    """Eight callers, each of a library of its own."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._http = urllib3.PoolManager(maxsize=_CALLERS)
        pairs = [engine.create_library(f"shop{number}") for number in range(_CALLERS)]
        self._targets = [f"{engine.url}{_ADDS}?access_token={self._token(pair)}" for pair in pairs]
        self._numbers = itertools.count()
        image = ordinary()
        # What follows the end of the file makes it another image that costs as much. Only these
        # bytes are encoded for each call: the callers leave the machine to the engine.
        self._encoded = base64.b64encode(image + bytes(-len(image) % 3)).replace(b"+", b"%2B")

    def __call__(self, adds: int) -> Turn:
        engine_s, database_s = self._cpu_s()
        began_s = time.perf_counter()
        with ThreadPoolExecutor(_CALLERS) as threads:
            list(threads.map(self._add, range(adds)))
        took_s = time.perf_counter() - began_s
        engine_end_s, database_end_s = self._cpu_s()
        return Turn(
            adds / took_s, (engine_end_s - engine_s) / adds, (database_end_s - database_s) / adds
        )

    def _add(self, number: int) -> None:
        mark = base64.b64encode(next(self._numbers).to_bytes(9, "big")).replace(b"+", b"%2B")
        body = b"brief=x&image=%b%b" % (self._encoded, mark)
        heads = {"Content-Type": "application/x-www-form-urlencoded"}
        target = self._targets[number % _CALLERS]
        answer = self._http.request("POST", target, body=body, headers=heads).json()
        if "cont_sign" not in answer or "error_code" in answer:
            raise AssertionError(f"the engine answered {answer}")

    def _token(self, pair: tuple[str, str]) -> str:
        fields = {
            "grant_type": "client_credentials",
            "client_id": pair[0],
            "client_secret": pair[1],
        }
        url = f"{self._engine.url}/oauth/2.0/token"
        token: str = self._http.request_encode_body(
            "POST", url, fields=fields, encode_multipart=False
        ).json()["access_token"]
        return token

    def _cpu_s(self) -> tuple[float, float]:
        """Return the processor seconds of the engine with its workers, and of PostgreSQL."""
        return _family_s(self._engine.pid), _family_s(postmaster(self._engine))


def _family_s(pid: int) -> float:
    parent = psutil.Process(pid)
    spent_s = 0.0
    for process in (parent, *parent.children(recursive=True)):
        try:
            spent_s += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return spent_s


def ordinary() -> bytes:
    """Return a JPEG of about 300 KB with 1.2 million pixels, as shops have them."""
    random = np.random.default_rng(1)
    patches = random.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize((1200, 1000), Image.Resampling.BICUBIC)
    noise = random.normal(0, 9, (1000, 1200, 3))
    grain = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grain).save(file, "JPEG", quality=88)
    return file.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REV", default=REVISION)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--adds", type=int, default=_A_TURN, help="in each turn")
    asked = parser.parse_args()
    found = run(asked.rounds, asked.against, asked.adds)
    print(f"\n{found.table()}\n", flush=True)
    sys.exit(report(found.measures))
