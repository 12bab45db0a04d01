"""``fit`` of a call that has ended holds no place and no process."""

from __future__ import annotations

from productsearch import v1
from productsearch_service import limits
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import outcome, until
from tests.fakes.upstream import FakeUpstream
from tests.images.workers import gone, stop_workers, worker_processes
from tests.pictures import draw, encode


def _add(content: bytes, *, fit: bool = True) -> v1.AddImageRequest:
    image = v1.ImageSource(content=content, fit=fit)
    return v1.AddImageRequest(new_image=v1.NewImage(image=image, brief="b"))


def test_places_are_free_when_their_callers_have_left(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Ten images in a decoder that never ends, whose deadlines end or that are cancelled: the
    processes are killed, no place is held, and the next calls are served.
    """
    facade = watched()
    request = _add(encode(draw(1, 200, 200), "PNG"))
    assert "OK" == outcome(facade.stub.AddImage.future(request, timeout=60))
    stopped = stop_workers()
    assert 1 == len(stopped)
    calls = [facade.stub.AddImage.future(request, timeout=60) for _ in range(5)]
    calls += [facade.stub.AddImage.future(request, timeout=1) for _ in range(5)]
    until(lambda: facade.in_flight() >= 1)
    small = encode(draw(2), quality=80)
    assert "OK" == outcome(facade.stub.AddImage.future(_add(small, fit=False), timeout=60))
    for call in calls[:5]:
        call.cancel()
    assert {outcome(call) for call in calls[5:]} <= {"DEADLINE_TOO_SHORT", "OK"}
    until(lambda: facade.in_flight() == 0)
    until(lambda: gone(stopped))
    assert "OK" == outcome(facade.stub.AddImage.future(_add(small), timeout=60))
    assert len(worker_processes()) <= limits.FIT_AT_ONCE
    assert {} == facade.by_label("caller_rpcs_total", "code", code="INTERNAL")


def test_the_deadline_ends_a_decoder_that_does_not(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """The caller is told that its deadline was too short, and that nothing was begun."""
    facade = watched()
    request = _add(encode(draw(1, 200, 200), "PNG"))
    assert "OK" == outcome(facade.stub.AddImage.future(request, timeout=60))
    stopped = stop_workers()
    assert "DEADLINE_TOO_SHORT" == outcome(facade.stub.AddImage.future(request, timeout=1))
    assert gone(stopped)
    assert 1 == len(upstream.calls)
