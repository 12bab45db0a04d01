"""Bulk streams that say nothing, or carry much, take nothing from the others for long."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch_service import limits
from tests.calls.silent import (
    CALLERS,
    Silence,
    admission_of,
    calls_of_grpc,
    connected,
    policy_file,
)
from tests.calls.silent import token_of as token
from tests.calls.watching import Held, outcome, until
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream
from tests.pictures import noise_jpeg, numbered_jpeg

PLACES = limits.BULK_STREAMS_MAX
OWN = int(PLACES * (1 - limits.OTHERS_SHARE))
LARGE = 5_800_000
SMALL_WINDOW = ("grpc.http2.bdp_probe", 0)
PATIENCE_S = 20


@pytest.fixture
def facade_of(server: ServerFactory, tmp_path: Path) -> ServerFactory:
    """Return a function that starts a facade with a policy."""

    def start(**settings: Any) -> Server:
        return server(policy_file=policy_file(tmp_path), **settings)

    return start


def item(number: int, size: int = 0) -> v1.BulkAddImagesRequest:
    """Return an item; with ``size``, one that the upstream's limit does not allow."""
    content = noise_jpeg(size, number)[:size] if size else numbered_jpeg(number)
    image = v1.NewImage(image=v1.ImageSource(content=content), brief=str(number))
    return v1.BulkAddImagesRequest(item=v1.BulkAddImagesRequest.Item(key="k", new_image=image))


def open_streams(server: Server) -> int:
    """Return how many bulk streams have a place."""
    return admission_of(server).streams.in_flight


def added(server: Server, caller: str, items: int = 2) -> str:
    """Return what a whole bulk stream of a caller comes to."""
    with connected(server) as channel:
        call = v1.ProductSearchStub(channel).BulkAddImages(
            iter([item(number) for number in range(items)]),
            metadata=token(caller),
            timeout=PATIENCE_S,
        )
        try:
            *results, last = call
        except grpc.RpcError as error:
            return outcome(error)
    assert items == len(results) == last.summary.added_count
    return "OK"


def test_a_stream_that_no_rule_allows_is_denied_before_it_says_anything(
    facade_of: ServerFactory,
) -> None:
    """Silent or empty, of a stranger or of a caller that may only search: denied, no place."""
    running = facade_of()
    with connected(running) as channel, Silence(channel) as silence:
        for caller, refused in (("", "CALLER_UNAUTHENTICATED"), ("reader", "CALLER_FORBIDDEN")):
            calls = silence.streams(caller, 2 * PLACES)
            assert {refused} == {outcome(call) for call in calls}
            empty = v1.ProductSearchStub(channel).BulkAddImages(iter(()), metadata=token(caller))
            assert refused == outcome(empty)
        assert 0 == open_streams(running)
        assert "OK" == added(running, "one")


def test_one_caller_never_has_all_streams(facade_of: ServerFactory) -> None:
    """Of 16 silent streams of one caller 12 get a place, and another caller's work goes on."""
    running = facade_of()
    with connected(running) as channel, Silence(channel) as silence:
        calls = silence.streams("one", PLACES)
        until(lambda: sum(call.done() for call in calls) == PLACES - OWN)
        refused = {outcome(call) for call in calls if call.done()}
        assert ({"SERVER_OVERLOADED"}, OWN) == (refused, open_streams(running))
        assert "OK" == added(running, "two")
    until(lambda: open_streams(running) == 0)


def fill(running: Server, silence: Silence) -> list[Any]:
    """Take every place with silent streams of two callers; return the calls, oldest first."""
    calls = silence.streams("one", OWN)
    until(lambda: open_streams(running) == OWN)
    calls += silence.streams("two", PLACES - OWN)
    until(lambda: open_streams(running) == PLACES)
    return calls


def test_a_silent_stream_gives_way_when_places_are_short(facade_of: ServerFactory) -> None:
    """After the time of silence a new stream gets the place of the one silent for longest."""
    running = facade_of(bulk_silence_s=0.5)
    with connected(running) as channel, Silence(channel) as silence:
        calls = fill(running, silence)
        until(lambda: "OK" == added(running, "three"))
        until(lambda: sum(call.done() for call in calls) == 1)
        (ended,) = (call for call in calls if call.done())
        assert "SERVER_OVERLOADED" == outcome(ended)
        assert "no message came or went for 0.5 s" in ended.details()
        assert ended in calls[:OWN]
        assert PLACES - 1 == open_streams(running)
        assert "OK" == added(running, "three")  # there is room: nobody has to go
        assert 1 == sum(call.done() for call in calls)


def test_a_silent_stream_stays_before_its_time(facade_of: ServerFactory) -> None:
    """While nobody was silent for long enough, the new stream is refused and all others stay."""
    running = facade_of()
    with connected(running) as channel, Silence(channel) as silence:
        calls = fill(running, silence)
        assert {"SERVER_OVERLOADED"} == {added(running, "three") for _ in range(5)}
        assert 0 == sum(call.done() for call in calls)


def test_a_caller_with_its_share_takes_no_place_of_others(facade_of: ServerFactory) -> None:
    """However long others were silent, of its own streams alone one gives way."""
    running = facade_of(bulk_silence_s=0.3)
    with connected(running) as channel, Silence(channel) as silence:
        others = silence.streams("two", PLACES - OWN)
        until(lambda: open_streams(running) == PLACES - OWN)
        own = silence.streams("one", OWN)
        until(lambda: open_streams(running) == PLACES)
        while sum(call.done() for call in own) < 3:
            until(lambda: "OK" == added(running, "one"))
            silence.streams("one")
        assert 0 == sum(call.done() for call in others)
        until(lambda: open_streams(running) == PLACES)


def test_streams_that_say_a_word_now_and_then_leave_others_a_place(
    facade_of: ServerFactory,
) -> None:
    """Two callers have all places and are never silent: a caller that has none gets one of those of
    the caller that has the most.
    """
    running = facade_of(bulk_silence_s=0.5)
    over = threading.Event()

    def words() -> Iterator[v1.BulkAddImagesRequest]:
        while not over.wait(0.1):
            yield v1.BulkAddImagesRequest(item=v1.BulkAddImagesRequest.Item(key="k"))

    def read(call: Any) -> None:
        with suppress(grpc.RpcError):
            deque(call, 0)

    def begun(stub: v1.ProductSearchStub, caller: str) -> Any:
        call = stub.BulkAddImages(words(), metadata=token(caller))
        threading.Thread(target=read, args=(call,), daemon=True).start()
        return call

    with connected(running) as channel:
        stub = v1.ProductSearchStub(channel)
        calls = [begun(stub, "one") for _ in range(OWN)]
        until(lambda: open_streams(running) == OWN)
        calls += [begun(stub, "two") for _ in range(PLACES - OWN)]
        until(lambda: open_streams(running) == PLACES)
        try:
            until(lambda: "OK" == added(running, "three"))
            until(lambda: any(call.done() for call in calls))
            ended = [number for number, call in enumerate(calls) if call.done()]
            assert ended
            assert max(ended) < OWN
            assert {"SERVER_OVERLOADED"} == {outcome(calls[number]) for number in ended}
        finally:
            over.set()
            for call in calls:
                call.cancel()


def test_a_stream_whose_item_is_at_work_is_not_silent(
    facade_of: ServerFactory, upstream: FakeUpstream
) -> None:
    """However long the upstream holds its item: it is this side that is slow, and others go."""
    held = Held({"log_id": 1, "cont_sign": "1,2"})
    good = {"log_id": 1, "cont_sign": "1,2"}
    upstream.always("add", lambda request: good if held.arrived else held(request))
    running = facade_of(bulk_silence_s=0.3)
    with connected(running) as channel, Silence(channel) as silence:
        (oldest,) = silence.streams("one", 1, item(1).SerializeToString())
        until(lambda: held.arrived)
        calls = silence.streams("one", OWN - 1) + silence.streams("two", PLACES - OWN)
        until(lambda: open_streams(running) == PLACES)
        time.sleep(0.5)
        silence.streams("three", 3)
        until(lambda: sum(call.done() for call in calls) == 3)
        assert not oldest.done()
        held.release()
        result = v1.BulkAddImagesResponse.FromString(next(oldest)).result
        assert "1,2" == result.added.cont_sign
        assert not oldest.done()


def test_bytes_of_bulk_items_are_bounded(facade_of: ServerFactory, upstream: FakeUpstream) -> None:
    """16 streams with items of 5.8 MB: under way are never more bytes than the bound."""
    running = facade_of()
    items = admission_of(running).items
    most, over = [0, 0], threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            most[:] = map(max, most, items.held)

    watcher = threading.Thread(target=watch)
    watcher.start()
    message = item(1, LARGE)

    def send(caller: str, channel: grpc.Channel) -> None:
        stub = v1.ProductSearchStub(channel)
        *results, last = stub.BulkAddImages(iter([message] * 3), metadata=token(caller))
        assert 3 == len(results) == last.summary.failed_count

    with connected(running) as channel:
        callers = [CALLERS[number % 3] for number in range(PLACES)]
        threads = [threading.Thread(target=send, args=(caller, channel)) for caller in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    over.set()
    watcher.join()
    assert LARGE <= most[1] <= limits.BULK_BYTES_MAX
    assert (0, 0) == items.held
    assert 0 == items.waiting


def test_a_silent_stream_keeps_no_item(facade_of: ServerFactory) -> None:
    """After its result a stream that says nothing more holds nothing of its last item."""
    running = facade_of()
    message = item(1, LARGE + 1).SerializeToString()
    with connected(running) as channel, Silence(channel) as silence:
        (call,) = silence.streams("one", 1, message)
        assert "k" == v1.BulkAddImagesResponse.FromString(next(call)).result.key
        until(lambda: len(message) not in request_sizes())


def request_sizes() -> set[int]:
    """Return the sizes of the bulk requests in the memory of this process, the facade's."""
    found = (each for each in gc.get_objects() if isinstance(each, v1.BulkAddImagesRequest))
    return {each.ByteSize() for each in found}


def unread(silence: Silence, count: int) -> list[Any]:
    """Begin streams whose results are more than their caller, who takes none, has room for."""
    bad = item(1)
    bad.item.new_image.image.content = b"none"
    bad.item.key = "k" * 200
    return silence.streams("one", count, *[bad.SerializeToString()] * 1500)


def test_a_stream_that_is_not_read_is_cut(
    facade_of: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that takes no results keeps no call alive once its stream gave way."""
    monkeypatch.setattr(limits, "BULK_UNREAD_S", 0.2)
    running = facade_of(bulk_silence_s=0.3)
    with connected(running, SMALL_WINDOW) as channel, Silence(channel) as silence:
        unread(silence, 2)
        until(lambda: stuck(running) == 2)
        silence.streams("one", OWN - 2)
        silence.streams("two", PLACES - OWN)
        until(lambda: open_streams(running) == PLACES)
        until(lambda: "OK" == added(running, "three"))
        until(lambda: calls_of_grpc(running) == PLACES - 1 == open_streams(running))


def test_a_stop_does_not_wait_for_streams_that_are_not_read(
    facade_of: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are cut, well before the grace: with results, or their ending alone, left to take."""
    monkeypatch.setattr(limits, "BULK_UNREAD_S", 0.2)
    running = facade_of(drain_delay_s=0, drain_grace_s=60)
    with connected(running, SMALL_WINDOW) as channel, Silence(channel) as silence:
        calls = unread(silence, 2)
        until(lambda: stuck(running) == 2)
        began_s = time.monotonic()
        running.stop()
        assert time.monotonic() - began_s < 30
        assert all("OK" != ended(call) for call in calls)


def ended(call: Any) -> str:
    """Return what a stream comes to once its results are taken after all."""
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return outcome(error)
    return "OK"


def stuck(server: Server) -> int:
    """Return how many streams have had a result for a while that their caller does not take."""
    return sum(stream.unread_s > 0.3 for stream in [*admission_of(server).streams._open])


def test_a_stop_does_not_wait_for_silent_streams(facade_of: ServerFactory) -> None:
    """Silent streams are told SERVER_DRAINING, well before the grace."""
    running = facade_of(drain_delay_s=0, drain_grace_s=60)
    with connected(running) as channel, Silence(channel) as silence:
        calls = fill(running, silence)
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        assert {"SERVER_DRAINING"} == {outcome(call) for call in calls}
        stopping.join(PATIENCE_S)
        assert not stopping.is_alive()
