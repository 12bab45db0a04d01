"""BulkAddImages answers each item once, holds senders back, and can be interrupted."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service import limits
from productsearch_service.errors import ServerDraining
from productsearch_service.rpc.admission import Turns
from productsearch_service.rpc.bulk import Pipeline
from productsearch_service.rpc.refusals import stopping
from productsearch_service.settings import Settings
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Fault, error
from tests.pictures import jpeg

IMAGE = v1.ImageSource(content=jpeg(1))
Request = v1.BulkAddImagesRequest


def item(key: str, image: v1.ImageSource = IMAGE) -> Request:
    """Return the message of one item."""
    return Request(item=Request.Item(key=key, new_image=v1.NewImage(image=image, brief=key)))


def test_a_thousand_items_are_answered_once_each(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """1,000 items, 10 % bad, 10 % duplicates: each key once, in any order, the summary right."""
    duplicates = {f"brief={n}".encode() for n in range(5, 1000, 10)}

    def answer(request: Any) -> Any:
        if request.body.rpartition(b"&")[2] in duplicates:
            return error(216681, cont_sign="9,9")
        return {"log_id": 1, "cont_sign": "1,2"}

    upstream.always("add", answer)
    bad = v1.ImageSource(content=b"bad")
    first = Request(
        settings=Request.Settings(
            duplicate_policy=v1.DuplicatePolicy.Value("DUPLICATE_POLICY_KEEP")
        )
    )
    messages = [first, *(item(str(n), bad if n % 10 == 0 else IMAGE) for n in range(1000))]
    *results, last = stub.BulkAddImages(iter(messages))
    keys = Counter(message.result.key for message in results)
    assert {str(n): 1 for n in range(1000)} == keys
    kept = v1.AddOutcome.ADD_OUTCOME_KEPT
    assert 100 == sum(message.result.added.outcome == kept for message in results)
    summary = last.summary
    assert (1000, 800, 100, 100) == (
        summary.received_count,
        summary.added_count,
        summary.duplicate_count,
        summary.failed_count,
    )


def test_an_empty_stream_has_an_empty_summary(stub: v1.ProductSearchStub) -> None:
    """No item: only the summary, all zero."""
    (last,) = stub.BulkAddImages(iter(()))
    assert v1.BulkAddImagesResponse.Summary() == last.summary
    assert last.HasField("summary")


def test_validate_only_sends_nothing(stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """With validate_only each item is checked and none is sent on."""
    first = Request(settings=Request.Settings(validate_only=True))
    *results, last = stub.BulkAddImages(iter([first, item("a"), item("b")]))
    validated = v1.AddOutcome.ADD_OUTCOME_VALIDATED
    assert [validated] * 2 == [message.result.added.outcome for message in results]
    assert (2, []) == (last.summary.added_count, upstream.received)


def test_an_item_fails_with_the_status_of_the_unary_call(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A duplicate item and a duplicate AddImage carry the very same status."""
    upstream.always("add", error(216681, "item has existed", cont_sign="7,8", log_id=3))
    with pytest.raises(grpc.RpcError) as caught:
        stub.AddImage(v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="k")))
    result, _ = stub.BulkAddImages(iter([item("k")]))
    assert v1.status_of(caught.value) == result.result.error
    assert "7,8" == v1.cont_sign_of(result.result.error)


class Sender:
    """A stream that is fed by the test and notes how far it was read."""

    def __init__(self) -> None:
        self.sent = 0
        self._messages: queue.SimpleQueue[Request | None] = queue.SimpleQueue()

    def put(self, *messages: Request | None) -> None:
        """Offer messages; None ends the stream."""
        for message in messages:
            self._messages.put(message)

    def __iter__(self) -> Iterator[Request]:
        while (message := self._messages.get()) is not None:
            self.sent += 1
            yield message


def _until(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Busy:
    """An answer that takes its time, and notes how many were under way at once."""

    def __init__(self, seconds: float) -> None:
        self.most = self._at_once = 0
        self._seconds = seconds
        self._lock = threading.Lock()

    def __call__(self, _: Any) -> Any:
        with self._lock:
            self._at_once += 1
            self.most = max(self.most, self._at_once)
        time.sleep(self._seconds)
        with self._lock:
            self._at_once -= 1
        return {"log_id": 1, "cont_sign": "1,2"}


def test_no_more_items_are_under_way_than_the_bound(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """With a slow upstream and 40 items offered, never more than the bound is sent on."""
    busy = Busy(seconds=0.05)
    upstream.always("add", busy)
    *results, _ = stub.BulkAddImages(item(str(n)) for n in range(40))
    assert (40, limits.BULK_AT_ONCE) == (len(results), busy.most)


def places_of(usable: int) -> Turns:
    """Return places of which one caller may have that many."""
    return Turns(2 * usable, waiting_max=16)


def pipeline_of(
    work: Callable[[int], Awaitable[int]], *, at_once: int, places: Turns
) -> Pipeline[int, int]:
    """Return a pipeline of one caller's numbers, a byte each."""
    return Pipeline(work, at_once=at_once, places=places, caller="one")


def never() -> asyncio.Future[Any]:
    """Return what ends a stream early: nothing yet."""
    return asyncio.get_running_loop().create_future()


@pytest.mark.asyncio
async def test_a_caller_who_does_not_read_is_not_served_ahead() -> None:
    """Results that nobody takes stop the reading of items, at the bound; each is answered once."""
    for at_once in (1, 2, 4, 8):
        read: list[int] = []
        worked: list[int] = []

        async def items(read: list[int] = read) -> AsyncIterator[tuple[int, int]]:
            for number in range(100):
                read.append(number)
                yield number, 1

        async def work(number: int, worked: list[int] = worked) -> int:
            worked.append(number)
            return number

        results = pipeline_of(work, at_once=at_once, places=places_of(at_once)).run(
            items(), never()
        )
        taken = [await anext(results)]
        for _ in range(100):  # as many turns of the loop as 100 items could use
            await asyncio.sleep(0)
        assert at_once + 1 == len(worked)
        assert at_once + 2 == len(read)  # one more is read, and waits for its place
        taken += [result async for result in results]
        assert [*range(100)] == sorted(taken)


@pytest.mark.asyncio
async def test_a_stream_that_is_left_ends_its_items_and_gives_its_places_back() -> None:
    """Closed after any number of results: no task of it is left, and all places are free."""
    for taken in range(4):
        places = places_of(3)

        async def items() -> AsyncIterator[tuple[int, int]]:
            for number in range(100):
                yield number, 1

        async def work(number: int) -> int:
            if number >= 3:
                await asyncio.Event().wait()
            return number

        before = asyncio.all_tasks()
        results = pipeline_of(work, at_once=8, places=places).run(items(), never())
        for _ in range(taken):
            await anext(results)
        await asyncio.sleep(0)
        await results.aclose()
        assert before == asyncio.all_tasks()
        assert (0, 0) == places.held
        assert 0 == places.waiting


@pytest.mark.asyncio
async def test_an_interrupted_stream_begins_no_item_and_answers_the_begun_ones() -> None:
    """Interrupted while any number of items is under way: these are answered, then the reason."""
    for under_way in range(1, 5):
        ending, go_on = never(), asyncio.Event()
        begun: list[int] = []

        async def items(under_way: int = under_way) -> AsyncIterator[tuple[int, int]]:
            for number in range(under_way):
                yield number, 1
            await asyncio.Event().wait()

        async def work(number: int, begun: list[int] = begun, go_on: Any = go_on) -> int:
            begun.append(number)
            await go_on.wait()
            return number

        results = pipeline_of(work, at_once=8, places=places_of(8)).run(items(), ending)
        taken: list[int] = []

        async def take(results: Any = results, taken: list[int] = taken) -> None:
            async for result in results:
                taken.append(result)

        taking = asyncio.create_task(take())
        while len(begun) < under_way:
            await asyncio.sleep(0)
        ending.set_result(stopping())
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(ServerDraining):
            await taking
        assert [*range(under_way)] == sorted(taken) == sorted(begun)


def test_a_key_that_is_too_long_is_told_in_part(stub: v1.ProductSearchStub) -> None:
    """Results wait for whoever does not read them: what is no key is not kept whole."""
    long = "k" * 1_000_000
    result, last = stub.BulkAddImages(iter([item(long)]))
    assert long[: limits.KEY_BYTES_MAX] == result.result.key
    assert R.FIELD_INVALID == v1.reason_of(result.result.error)
    assert 1 == last.summary.failed_count


def test_all_streams_together_work_on_a_bounded_number(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """Six streams at once: never more items at the upstream than all of them may have."""
    busy = Busy(seconds=0.1)
    upstream.always("add", busy)

    def one(_: int) -> int:
        *_, last = stub.BulkAddImages(item(str(n)) for n in range(20))
        return int(last.summary.added_count)

    with ThreadPoolExecutor(6) as pool:
        assert 120 == sum(pool.map(one, range(6)))
    assert limits.BULK_ITEMS_MAX // 2 == busy.most  # one caller never has all places


def test_a_drain_ends_the_stream_and_loses_no_answer(upstream: FakeUpstream) -> None:
    """Stopped in the middle: begun items are answered, then SERVER_DRAINING, the rest unsent."""
    library = {"base_url": upstream.url, "api_key": "k", "secret_key": "s", "quota_qps": 0}
    server = Server(
        Settings(
            listen="127.0.0.1:0", libraries={"default": library}, drain_delay_s=0, drain_grace_s=5
        )
    )
    server.start()
    upstream.always("add", Fault(seconds=0.3, body=b'{"log_id": 1, "cont_sign": "1,2"}'))
    with v1.connect(f"127.0.0.1:{server.port}") as channel:
        sender = Sender()
        stream = v1.ProductSearchStub(channel).BulkAddImages(iter(sender))
        sender.put(*(item(str(n)) for n in range(20)))
        _until(lambda: len(upstream.calls) >= limits.BULK_AT_ONCE)
        stopping = threading.Thread(target=server.stop, args=(threading.Event(),))
        stopping.start()
        keys = []
        with pytest.raises(grpc.RpcError) as caught:  # noqa: PT012 - the loop is what fails
            for message in stream:
                assert message.HasField("result")
                keys.append(message.result.key)
        assert R.SERVER_DRAINING == v1.reason_of(caught.value)
        assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
        assert v1.retry_delay_of(caught.value) is not None
        sender.put(None)
        stopping.join(10)
    sent_on = [call.body.rpartition(b"brief=")[2].decode() for call in upstream.calls]
    assert sorted(sent_on) == sorted(keys)
    assert limits.BULK_AT_ONCE <= len(keys) < 20


def test_a_drained_stream_ends_when_its_results_were_read(
    server: ServerFactory, upstream: FakeUpstream
) -> None:
    """gRPC closes the connection with its last call. A caller that sends for each result it reads
    would then meet a reset, and its transport would throw away what it has not read.
    """
    running = server(drain_delay_s=0, drain_grace_s=20)
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        sender = Sender()
        sender.put(item("1"))
        stream = v1.ProductSearchStub(channel).BulkAddImages(iter(sender))
        assert "1" == next(stream).result.key
        with mock.patch.object(limits, "DRAIN_READ_S", 1):
            stopping = threading.Thread(target=running.stop)
            stopping.start()
            _until(lambda: running.service._admission._draining)
            sender.put(item("2"))
            time.sleep(0.2)
            assert not stream.done()
            with pytest.raises(grpc.RpcError) as ended:
                next(stream)
        assert R.SERVER_DRAINING == v1.reason_of(ended.value)
        sender.put(None)
        stopping.join(20)


def test_a_cancelled_stream_leaves_nothing_behind(
    server: ServerFactory, upstream: FakeUpstream
) -> None:
    """After a cancel in the middle all tasks of the stream end, begun items' too."""
    running = server()
    upstream.then("add", {"log_id": 1, "cont_sign": "1,2"})
    upstream.always("add", Fault(seconds=3, body=b'{"log_id": 1, "cont_sign": "1,2"}'))

    async def bulk_tasks() -> list[str]:
        names = [task.get_name() for task in asyncio.all_tasks()]
        return [name for name in names if name.startswith("bulk")]

    with v1.connect(f"127.0.0.1:{running.port}") as channel:
        sender = Sender()
        stream = v1.ProductSearchStub(channel).BulkAddImages(iter(sender))
        sender.put(item("a"))
        next(stream)
        sender.put(item("b"), item("c"))
        _until(lambda: len(upstream.calls) == 3)
        assert {"bulk-read", "bulk-item"} == {*running.run(bulk_tasks())}
        stream.cancel()
        sender.put(None)
        _until(lambda: not running.run(bulk_tasks()), seconds=2)
    assert ["add"] * 3 == [call.method for call in upstream.calls]
