"""Connecting, sending and reading have a limit each, and the call's deadline is over all."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest

from productsearch import v1
from productsearch_service.images import form_encoding
from tests.calls.conftest import WatchedFactory
from tests.calls.line import Line
from tests.calls.watching import Held, Watched, add, outcome, until
from tests.fakes.upstream import FakeUpstream, Received
from tests.pictures import noise_jpeg

LARGE_BYTES = 2_900_000
"""Encoded about 3.9 MB: more than sockets take in without a reader."""
SHORT_S = 0.3
NOT_EARLIER_S = 0.9 * SHORT_S
"""uvloop counts from the time its turn began, in milliseconds: a limit ends a little early."""
LONG_S = 20.0
DOWN = "UPSTREAM_UNAVAILABLE"
UNKNOWN = "ADD_OUTCOME_UNKNOWN"


@pytest.fixture
def line(upstream: FakeUpstream) -> Iterator[Line]:
    """Return a line to the fake upstream that behaves until told otherwise."""
    with Line(upstream.url) as between:
        yield between


@pytest.fixture(scope="module")
def large() -> v1.ImageSource:
    """Return an image that takes a while to send."""
    return v1.ImageSource(content=noise_jpeg(LARGE_BYTES))


def _add(large: v1.ImageSource) -> v1.AddImageRequest:
    return v1.AddImageRequest(new_image=v1.NewImage(image=large, brief="b"))


def _limits(url: str, short: str = "") -> dict[str, object]:
    """Return settings of which one limit is short."""
    names = ("connect_timeout_s", "send_stall_timeout_s", "read_timeout_s")
    return {"base_url": url, "attempts_max": 1, **dict.fromkeys(names, LONG_S)} | (
        {short: SHORT_S} if short else {}
    )


def _is_whole(request: Received) -> bool:
    """Whether all of a request arrived: the fake upstream answers a part of one, too."""
    return len(request.body) == int(request.headers["Content-Length"])


def _timed(call: grpc.Future) -> tuple[str, float]:
    began_s = time.monotonic()
    came_to = outcome(call)
    return came_to, time.monotonic() - began_s


def test_a_slow_upload_has_more_than_the_time_to_connect(
    watched: WatchedFactory, upstream: FakeUpstream, line: Line, large: v1.ImageSource
) -> None:
    """The limit to connect ends no upload that takes many times as long."""
    facade = watched(**_limits(line.url, "connect_timeout_s"))
    line.bytes_per_s = 3_000_000
    came_to, took_s = _timed(facade.stub.AddImage.future(_add(large), timeout=20))
    assert "OK" == came_to
    assert took_s > 3 * SHORT_S
    assert 1 == len(upstream.calls)


def test_connecting_ends_by_its_own_limit(watched: WatchedFactory, line: Line) -> None:
    """No connection within the limit: nothing was sent, so an add is UPSTREAM_UNAVAILABLE too."""
    facade = watched(**_limits(line.url, "connect_timeout_s"))
    line.connect_no_more()
    came_to, took_s = _timed(facade.stub.AddImage.future(add(1), timeout=20))
    assert DOWN == came_to
    assert NOT_EARLIER_S <= took_s < LONG_S / 2


def test_sending_ends_when_it_stands_still(
    watched: WatchedFactory, upstream: FakeUpstream, line: Line, large: v1.ImageSource
) -> None:
    """A line that takes no more of a request: not all was sent, so an add is UPSTREAM_UNAVAILABLE.

    How much passed before does not matter.
    """
    facade = watched(**_limits(line.url, "send_stall_timeout_s"))
    for passed in (1, 100_000, 1_000_000):
        line.stops_after = passed
        came_to, took_s = _timed(facade.stub.AddImage.future(_add(large), timeout=20))
        assert DOWN == came_to, f"{passed} bytes have passed"
        assert NOT_EARLIER_S <= took_s < LONG_S / 2
    assert 0 == sum(_is_whole(call) for call in upstream.calls)
    line.end()  # else connections with unsent data would outlive the event loop


def test_what_was_told_as_not_sent_never_arrives(
    watched: WatchedFactory,
    upstream: FakeUpstream,
    line: Line,
    large: v1.ImageSource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line stands still until the caller was told, then goes on: not all of the add arrives.

    Even if all of it was handed to the connection, as one piece.
    """
    monkeypatch.setattr(form_encoding, "_BLOCK_BYTES", 9_000_000)
    facade = watched(**_limits(line.url, "send_stall_timeout_s"))
    line.stops_after = 1
    came_to = outcome(facade.stub.AddImage.future(_add(large), timeout=20))
    line.go_on()
    until(lambda: upstream.calls)
    assert (DOWN, [False]) == (came_to, [_is_whole(call) for call in upstream.calls])
    line.end()


def test_reading_ends_by_its_own_limit(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """All was sent and no answer comes: an add is ADD_OUTCOME_UNKNOWN."""
    held = Held({})
    upstream.always("add", held)
    facade = watched(**_limits(upstream.url, "read_timeout_s"))
    came_to, took_s = _timed(facade.stub.AddImage.future(add(1), timeout=20))
    held.release()
    assert UNKNOWN == came_to
    assert NOT_EARLIER_S <= took_s < LONG_S / 2


def _ends(facade: Watched, request: v1.AddImageRequest, deadline_s: float) -> str:
    came_to, took_s = _timed(facade.stub.AddImage.future(request, timeout=deadline_s))
    assert took_s < LONG_S / 2
    until(lambda: facade.in_flight() == 0, seconds=1)
    return came_to


def test_the_deadline_is_over_all(
    watched: WatchedFactory,
    upstream: FakeUpstream,
    line: Line,
    large: v1.ImageSource,
) -> None:
    """While it reads, sends slowly, stands still, connects: the deadline ends it.

    The reason says whether the add can have been stored.
    """
    held = Held({})
    upstream.always("add", held)
    facade = watched(**_limits(line.url))
    for deadline_s in (0.45, 0.75):
        assert UNKNOWN == _ends(facade, add(1), deadline_s)
        line.bytes_per_s, line.stops_after = 500_000, None
        assert DOWN == _ends(facade, _add(large), deadline_s)
        line.bytes_per_s, line.stops_after = None, 1
        assert DOWN == _ends(facade, _add(large), deadline_s)
        line.stops_after = None
    line.connect_no_more()
    assert DOWN == _ends(facade, add(1), deadline_s)
    held.release()
    assert 2 == sum(_is_whole(call) for call in upstream.calls)
