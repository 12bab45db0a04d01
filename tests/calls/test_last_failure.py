"""Of several failures of one call, its caller is told the one that says most."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from tests.calls.conftest import WatchedFactory
from tests.calls.line import Line
from tests.calls.watching import add, late, outcome, search
from tests.fakes.upstream import FakeUpstream, error

HOST_SLOW_S = 0.3
UNREACHABLE = "IMAGE_URL_UNREACHABLE"


class SlowHost:
    """What the upstream answers whose download of an image fails: known late, then never again.

    The first attempt of each call is answered 282112, the next ones with ``afterwards``.
    """

    def __init__(self, afterwards: Any) -> None:
        self._afterwards = afterwards
        self._lock = threading.Lock()
        self.attempts: Counter[bytes] = Counter()

    def __call__(self, request: Any) -> Any:
        """Answer an attempt."""
        with self._lock:
            self.attempts[request.body] += 1
            first = self.attempts[request.body] == 1
        return late(HOST_SLOW_S, error(282112)) if first else self._afterwards


def test_a_timeout_does_not_hide_a_slow_image_host(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Callers with deadlines from just above the first answer to many times it are told the host.

    Whether there was time for another attempt, and whether the caller's deadline or the read limit
    ended that, makes no difference.
    """
    host = SlowHost(late(3, error(282112)))
    upstream.always("search", host)
    facade = watched(read_timeout_s=0.7)
    deadlines_s = [0.55, 0.65, 0.75, 0.85, 1.0, 1.3, 2, 3, 5]
    calls = [
        facade.stub.SearchImages.future(search(number), timeout=deadline_s)
        for number, deadline_s in enumerate(deadlines_s)
    ]
    outcomes = [outcome(call) for call in calls]
    assert dict.fromkeys(deadlines_s, UNREACHABLE) == dict(zip(deadlines_s, outcomes, strict=True))
    assert 1 < max(host.attempts.values()), "nobody tried again, so nothing was proved"


def test_an_outage_does_not_hide_it_either(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """The attempts after the one that says something are answered with failures of the upstream."""
    facade = watched(attempts_max=2)
    for number, afterwards in enumerate((error(2), error(18), b"<html>")):
        upstream.always("search", SlowHost(afterwards))
        call = facade.stub.SearchImages.future(search(100 + number), timeout=10)
        assert UNREACHABLE == outcome(call), afterwards


def test_an_add_that_cannot_have_been_stored_is_told_too(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """No time for another attempt that might be answered, or none that was sent."""
    upstream.always("add", SlowHost(late(3, error(282112))))
    with Line(upstream.url) as line:
        facade = watched(base_url=line.url)
        deadlines_s = [0.6, 0.64, 0.68]
        calls = [
            facade.stub.AddImage.future(add(number), timeout=deadline_s)
            for number, deadline_s in enumerate(deadlines_s)
        ]
        outcomes = [outcome(call) for call in calls]
        told = dict.fromkeys(deadlines_s, UNREACHABLE)
        assert told == dict(zip(deadlines_s, outcomes, strict=True))
        line.ends_after_answer = True
        assert UNREACHABLE == outcome(facade.stub.AddImage.future(add(99), timeout=3))


def test_an_add_that_may_have_been_stored_is_told_as_that(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """After 282112 another attempt was sent and not answered: ADD_OUTCOME_UNKNOWN."""
    upstream.always("add", SlowHost(late(3, error(282112))))
    facade = watched(read_timeout_s=0.6, attempts_max=2)
    assert "ADD_OUTCOME_UNKNOWN" == outcome(facade.stub.AddImage.future(add(1), timeout=6))
