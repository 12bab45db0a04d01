"""Deadlines of 1 ms to 10 s: whatever a caller's time is, the facade ends with it."""

from __future__ import annotations

import contextlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc

from tests.fakes.upstream import FakeUpstream, Fault, Received
from tests.soak.access_log import AccessLog
from tests.soak.measures import Measure, at_least, equal
from tests.soak.overload_stage import facade_before, search_of

SEED: Final = 7
_LATE_S: Final = 0.05


def random_deadlines(number: int) -> list[Measure]:
    """Deadlines of 1 ms to 10 s against an upstream that takes up to 2 s."""
    chance = random.Random(SEED)
    begun_s: dict[int, float] = {}
    ends_s: dict[int, float] = {}

    def answer(received: Received) -> object:
        begun_s[int(received.body.rpartition(b"rn=")[2])] = time.monotonic()
        return Fault(seconds=chance.uniform(0, 2), body=b'{"log_id": 1, "result": []}')

    timeouts_s = [10 ** chance.uniform(-3, 1) for _ in range(number)]
    # Around the facade: its lines are all there when it has stopped.
    with FakeUpstream() as upstream, AccessLog() as log, facade_before(upstream) as stub:
        stub.SearchImages(search_of(0))
        upstream.always("search", answer)

        def one(index: int) -> float:
            timeout_s = timeouts_s[index - 1]
            asked = search_of(index)
            asked.page_size = index  # tells the calls apart at the upstream
            ends_s[index] = time.monotonic() + timeout_s
            with contextlib.suppress(grpc.RpcError):
                stub.SearchImages(asked, timeout=timeout_s)
            return time.monotonic() - ends_s[index]

        with ThreadPoolExecutor(16) as pool:
            over_s = sorted(pool.map(one, range(1, number + 1)))
    # gRPC lets no caller wait for longer, whatever the facade does: its own lines tell.
    took_s = log.seconds_of("default")[1:]
    late = late_of(took_s, timeouts_s, _LATE_S)
    left_s = [ends_s[index] - at_s for index, at_s in begun_s.items()]
    told_late = sum(seconds > _LATE_S for seconds in over_s)
    name = "random deadlines"
    return [
        equal(f"{name}: answers later than deadline + 50 ms", told_late, 0),
        at_least(f"{name}: calls that the facade's lines tell of", len(took_s), number / 5),
        equal(f"{name}: calls that the facade ended later than that", late, 0),
        at_least(f"{name}: least time left when a call was begun s", min(left_s), 0.1),
    ]


def late_of(took_s: list[float], timeouts_s: list[float], more_s: float) -> int:
    """Return how many calls took longer than their time by ``more_s``, at the least.

    Nobody knows which call had which time. Were none late, the shortest would not be longer than
    the shortest time, and so on; a call that never came took no time.
    """
    never_came = [0.0] * (len(timeouts_s) - len(took_s))
    pairs = zip(sorted([*never_came, *took_s]), sorted(timeouts_s), strict=True)
    return sum(took > timeout + more_s for took, timeout in pairs)
