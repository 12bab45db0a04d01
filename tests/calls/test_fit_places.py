"""``fit`` of a call that has ended holds no place and no process."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from productsearch import v1
from productsearch_service import limits
from tests.calls.conftest import WatchedFactory
from tests.calls.silent import admission_of, policy_file, token_of
from tests.calls.test_silence import searched
from tests.calls.watching import outcome, until
from tests.conftest import ServerFactory
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


def test_images_that_wait_for_a_process_leave_places_to_others(
    server: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many callers send them: calls that need no process are served."""
    monkeypatch.setattr(limits, "FIT_LOOK_S", 3600.0)  # what stands still is not replaced
    running = server(policy_file=policy_file(tmp_path))
    request = _add(encode(draw(1, 200, 200), "PNG"))
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        add = v1.ProductSearchStub(channel).AddImage
        add(request, timeout=60, metadata=token_of("one"))
        stop_workers()
        calls = [
            add.future(request, timeout=60, metadata=token_of(caller))
            for caller in ("one", "three")
            for _ in range(limits.RPCS_IN_FLIGHT_MAX)
        ]
        until(lambda: admission_of(running).fit.in_flight[0] == limits.FIT_CALLS_MAX, seconds=60)
        assert {"OK"} == searched(running, "two", 5)
        for call in calls:
            call.cancel()
        until(lambda: admission_of(running).fit.in_flight == (0, 0), seconds=60)
