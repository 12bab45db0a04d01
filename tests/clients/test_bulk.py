"""Bulk adding with the Python client, sync and asyncio: nothing lost, nothing piled up."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason, aio
from tests.clients.serving import (
    BulkHandler,
    Request,
    Response,
    added,
    answer_all,
    drain,
    item,
    serving,
    summary,
)

Item = Request.Item


@dataclass
class Run:
    """What came out of a bulk stream."""

    keys: list[str] = field(default_factory=list)
    summary: Response.Summary | None = None
    error: Exception | None = None


Runner = Callable[..., Run]


def run_sync(bulk: BulkHandler, items: Iterable[Item], **keywords: Any) -> Run:
    """Send ``items`` with the sync client."""
    run = Run()
    with serving(bulk) as address, v1.connect(address) as channel:
        stream = v1.bulk_add(v1.ProductSearchStub(channel), items, **keywords)
        try:
            for result in stream:
                run.keys.append(result.key)
        except Exception as error:  # noqa: BLE001 - what came out is looked at
            run.error = error
        run.summary = stream.summary
    return run


def run_aio(bulk: BulkHandler, items: Iterable[Item], **keywords: Any) -> Run:
    """Send ``items`` with the asyncio client."""

    async def send(address: str) -> Run:
        run = Run()
        async with aio.connect(address) as channel:
            stream = aio.bulk_add(v1.ProductSearchStub(channel), items, **keywords)
            try:
                async for result in stream:
                    run.keys.append(result.key)
            except Exception as error:  # noqa: BLE001 - what came out is looked at
                run.error = error
            run.summary = stream.summary
        return run

    with serving(bulk) as address:
        return asyncio.run(send(address))


@pytest.fixture(params=[run_sync, run_aio], ids=["sync", "asyncio"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Return a function that sends items to a server with this handler."""
    runner: Runner = request.param
    return runner


def items(count: int) -> Iterator[Item]:
    """Yield items with the keys 0, 1, ..."""
    return (item(str(number)) for number in range(count))


def test_results_then_the_summary(run: Runner) -> None:
    """Each item has its result, in the order of completion; then comes the summary."""

    def backwards(requests: Iterator[Request], _: grpc.ServicerContext) -> Iterator[Response]:
        keys = [request.item.key for request in requests]
        yield from map(added, reversed(keys))
        yield summary(len(keys))

    came = run(backwards, items(50))
    assert (None, [str(n) for n in range(49, -1, -1)]) == (came.error, came.keys)
    assert summary(50).summary == came.summary


def test_settings_come_first_and_nothing_is_needed(run: Runner) -> None:
    """Settings are the first message if there are any; no items at all is a stream as well."""
    sent: list[str | None] = []

    def note(requests: Iterator[Request], _: grpc.ServicerContext) -> Iterator[Response]:
        sent.extend(request.WhichOneof("part") for request in requests)
        yield from map(added, ["0"] * sent.count("item"))
        yield summary(0)

    run(note, items(1), settings=Request.Settings(library="shoes"))
    run(note, [])
    assert ["settings", "item"] == sent


@pytest.mark.parametrize("unanswered_max", [1, 64])
def test_no_more_items_are_out_than_allowed(run: Runner, unanswered_max: int) -> None:
    """The server never holds more items than that, and does get to hold that many."""
    most = 0

    def hold(requests: Iterator[Request], _: grpc.ServicerContext) -> Iterator[Response]:
        nonlocal most
        held: list[str] = []
        for count, request in enumerate(requests, 1):
            held.append(request.item.key)
            most = max(most, len(held))
            if len(held) == unanswered_max or count == 200:
                yield from map(added, [held.pop() for _ in range(-(-len(held) // 2))])
        yield from map(added, held)
        yield summary(200)

    came = run(hold, items(200), unanswered_max=unanswered_max)
    assert (None, 200, unanswered_max) == (came.error, len({*came.keys}), most)


def test_unanswered_max_has_to_be_one_at_least(run: Runner) -> None:
    """0 would wait for ever: refused with a ValueError that says what would be right."""
    with pytest.raises(ValueError, match="unanswered_max is 0; use 1 or more"):
        run(answer_all, items(1), unanswered_max=0)


def test_an_interruption_names_what_to_send_again(run: Runner) -> None:
    """Results and unanswered items together are all that was taken; the rest is untouched."""

    def stop(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        for number, request in enumerate(requests):
            if number == 30:
                drain(context)
            if number % 3:
                yield added(request.item.key)

    source = items(1000)
    came = run(stop, source)
    assert isinstance(came.error, v1.BulkInterrupted)
    assert came.summary is None
    assert grpc.StatusCode.UNAVAILABLE == came.error.code()
    assert ErrorReason.SERVER_DRAINING == v1.reason_of(came.error)
    assert 1.0 == v1.retry_delay_of(came.error)
    assert "stopping" in str(came.error)
    unanswered = [left.key for left in came.error.unanswered]
    assert sorted(unanswered, key=int) == unanswered
    taken = len(came.keys) + len(unanswered)
    assert 31 <= taken <= 30 + 64
    again = run(answer_all, itertools.chain(came.error.unanswered, source))
    assert again.error is None
    keys = [*came.keys, *again.keys]
    assert sorted(map(str, range(1000))) == sorted(keys)


def test_a_stream_without_a_summary_was_interrupted(run: Runner) -> None:
    """An end without error and without summary is BulkInterrupted too, with no reason."""

    def leave(requests: Iterator[Request], _: grpc.ServicerContext) -> Iterator[Response]:
        yield added(next(requests).item.key)

    came = run(leave, items(3))
    assert isinstance(came.error, v1.BulkInterrupted)
    assert (grpc.StatusCode.UNKNOWN, None) == (came.error.code(), v1.reason_of(came.error))
    assert {"0", "1", "2"} >= {"0", *(left.key for left in came.error.unanswered)}
    assert "0" not in [left.key for left in came.error.unanswered]


def test_a_summary_that_forgets_items_is_not_believed(run: Runner) -> None:
    """A summary while items have no result is an interruption: they must be sent again."""

    def forget(requests: Iterator[Request], _: grpc.ServicerContext) -> Iterator[Response]:
        keys = [request.item.key for request in requests]
        yield from map(added, keys[1:])
        yield summary(len(keys))

    came = run(forget, items(5))
    assert isinstance(came.error, v1.BulkInterrupted)
    assert ["0"] == [left.key for left in came.error.unanswered]


def test_a_refused_stream_says_why(run: Runner) -> None:
    """A stream refused as a whole is BulkInterrupted with the code and message of the refusal."""

    def refuse(_: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
        yield Response()

    came = run(refuse, items(3))
    assert isinstance(came.error, v1.BulkInterrupted)
    assert grpc.StatusCode.PERMISSION_DENIED == came.error.code()
    assert "not you" == came.error.details()


def test_what_the_iterable_raises_comes_out_in_the_end(run: Runner) -> None:
    """The items before it are answered first; then its own exception is raised."""

    def broken() -> Iterator[Item]:
        yield from items(3)
        raise KeyError("the caller's own")

    came = run(answer_all, broken())
    assert ["0", "1", "2"] == came.keys
    assert isinstance(came.error, KeyError)


def test_a_key_that_is_out_already_is_refused(run: Runner) -> None:
    """Two items of one key could not be told apart: a ValueError that names the key."""

    def at_the_end(requests: Iterator[Request], _: grpc.ServicerContext) -> Iterator[Response]:
        keys = [request.item.key for request in requests]
        yield from map(added, keys)
        yield summary(len(keys))

    came = run(at_the_end, [item("a"), item("b"), item("a")])
    assert ["a", "b"] == came.keys
    assert isinstance(came.error, ValueError)
    assert "'a'" in str(came.error)


def test_a_deadline_of_the_stream_is_an_interruption(run: Runner) -> None:
    """``timeout`` holds for the whole stream; what is out then is named."""

    def never(_: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        over = threading.Event()
        context.add_callback(over.set)
        over.wait()
        yield Response()

    came = run(never, items(2), timeout=0.5)
    assert isinstance(came.error, v1.BulkInterrupted)
    assert grpc.StatusCode.DEADLINE_EXCEEDED == came.error.code()


def test_an_item_that_is_being_read_is_not_lost(run: Runner) -> None:
    """An interruption waits for the item that the iterable is about to give, and names it."""
    reading, ended = threading.Event(), threading.Event()

    def slowly() -> Iterator[Item]:
        yield item("0")
        reading.set()
        ended.wait()
        yield item("1")

    def leave(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        next(requests)
        reading.wait()
        context.add_callback(ended.set)
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield Response()

    if run is run_aio:
        source: Any = _in_a_thread(slowly())
    else:
        source = slowly()
    came = run(leave, source)
    assert isinstance(came.error, v1.BulkInterrupted)
    assert ["0", "1"] == [left.key for left in came.error.unanswered]


async def _in_a_thread(source: Iterator[Item]) -> AsyncIterator[Item]:
    """Yield from a blocking iterator without blocking the loop."""
    while (one := await asyncio.to_thread(next, source, None)) is not None:
        yield one


class _Watched:
    """A handler that answers ``answers`` items and then waits until the caller is gone."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self.left = threading.Event()

    def __call__(
        self, requests: Iterator[Request], context: grpc.ServicerContext
    ) -> Iterator[Response]:
        context.add_callback(self.left.set)
        for request in itertools.islice(requests, self._answers):
            yield added(request.item.key)
        self.left.wait()


class _Endless:
    """Items without end; ``released`` once nobody holds them any more."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def items(self) -> Iterator[Item]:
        """Yield items."""
        try:
            for number in itertools.count():
                yield item(str(number))
        finally:
            self.released.set()


@pytest.mark.parametrize("how", ["context", "close", "drop"])
def test_leaving_early_cancels(how: str) -> None:
    """Leaving the block, closing, or dropping the iterator ends the stream and its thread."""
    server, endless = _Watched(3), _Endless()
    with serving(server) as address, v1.connect(address) as channel:
        stream = v1.bulk_add(v1.ProductSearchStub(channel), endless.items())
        if how == "context":
            with stream:
                assert ["0", "1", "2"] == [result.key for result in itertools.islice(stream, 3)]
        else:
            assert ["0", "1", "2"] == [result.key for result in itertools.islice(stream, 3)]
        if how == "close":
            stream.close()
        del stream
        gc.collect()
        assert server.left.wait(10)
        assert endless.released.wait(10)


@pytest.mark.parametrize("how", ["context", "close", "drop"])
def test_leaving_early_cancels_with_asyncio(how: str) -> None:
    """Leaving the block, closing, or dropping the iterator ends the stream and its task."""
    server = _Watched(3)

    async def leave(address: str) -> None:
        async with aio.connect(address) as channel:
            stream = aio.bulk_add(v1.ProductSearchStub(channel), _Endless().items())
            if how == "context":
                async with stream:
                    assert ["0", "1", "2"] == [(await anext(stream)).key for _ in range(3)]
            else:
                assert ["0", "1", "2"] == [(await anext(stream)).key for _ in range(3)]
            if how == "close":
                stream.close()
                with pytest.raises(v1.BulkInterrupted) as caught:
                    await anext(stream)
                assert grpc.StatusCode.CANCELLED == caught.value.code()
                del caught
            del stream
            gc.collect()
            assert await asyncio.to_thread(server.left.wait, 10)
            others = {task for task in asyncio.all_tasks() if task.get_name() == "bulk-send"}
            if others:
                await asyncio.wait(others, timeout=10)
            assert all(task.done() for task in others)

    with serving(server) as address:
        asyncio.run(leave(address))


def test_cancelling_the_reader_cancels_the_stream() -> None:
    """A task that is cancelled while it waits for a result takes the stream with it."""
    server = _Watched(1)

    async def leave(address: str) -> None:
        async with aio.connect(address) as channel:

            async def read() -> None:
                async for _ in aio.bulk_add(v1.ProductSearchStub(channel), items(5)):
                    began.set()

            began = asyncio.Event()
            reader = asyncio.create_task(read())
            await began.wait()
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            assert await asyncio.to_thread(server.left.wait, 10)

    with serving(server) as address:
        asyncio.run(leave(address))


def test_asyncio_takes_an_asynchronous_iterable() -> None:
    """Items can come from an async generator."""

    async def generate() -> AsyncIterator[Item]:
        for number in range(3):
            await asyncio.sleep(0)
            yield item(str(number))

    came = run_aio(answer_all, generate())  # type: ignore[arg-type]
    assert (None, ["0", "1", "2"]) == (came.error, came.keys)
