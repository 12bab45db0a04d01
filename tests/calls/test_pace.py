"""Work on large messages leaves the event loop to others between any two of its steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from productsearch import v1
from productsearch_service import limits, turns
from productsearch_service.turns import InTurn, Pace
from tests.calls.silent import admission_of, connected, policy_file, token_of
from tests.calls.watching import until
from tests.conftest import ServerFactory
from tests.pictures import jpeg

HEALTH = "grpc.health.v1.Health/Check"
LARGE = limits.PACED_BYTES + 1


class Message:
    """A message that has come, as ``read()`` of gRPC's context gives it: put together at its end.

    ``size`` is what it turns out to have; ``done`` is told of that step.
    """

    def __init__(self, size: int, done: Callable[[str], None] = lambda _: None) -> None:
        self._size = size
        self._done = done

    async def read(self) -> bytes:
        """Wait for it, as gRPC does, for one future."""
        came = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(came.set_result, None)
        await came
        self._done("put together")
        return bytes(self._size)


async def _until_idle(pace: Pace) -> None:
    async with asyncio.timeout(20):
        while pace._turns.held[0] or pace._turns.waiting:
            await asyncio.sleep(0.001)


@pytest.mark.asyncio
async def test_no_two_steps_share_a_turn_of_the_loop() -> None:
    """Eight messages at once of a known sender of large ones: others run between any two steps."""
    pace, seen = Pace(), ["turn of the loop"]

    async def ticking() -> None:
        while True:
            await asyncio.sleep(0)
            if seen[-1] != "turn of the loop":
                seen.append("turn of the loop")

    async def receive() -> None:
        content = await pace.read("one", Message(LARGE, seen.append))
        await pace.next_step("one", len(content))
        seen.append("decode")
        await pace.next_step("one", len(content))
        seen.append("carry out")

    ticks = asyncio.create_task(ticking())
    await receive()  # the first one of a caller is large before anybody can know
    seen[1:] = []
    async with asyncio.timeout(30):
        await asyncio.gather(*(receive() for _ in range(8)))
    ticks.cancel()
    assert 24 == len([each for each in seen if each != "turn of the loop"])
    for one, other in pairwise(seen):
        assert "turn of the loop" in (one, other), f"{one} and {other} in one turn"
    await _until_idle(pace)


@pytest.mark.asyncio
async def test_who_sends_no_large_messages_waits_for_no_turn() -> None:
    """While one caller's turn lasts, another's messages are read, and its own wait."""
    pace = Pace()
    await pace.read("one", Message(LARGE))
    await _until_idle(pace)
    assert pace._turns.take_now("another")
    own = asyncio.create_task(pace.read("one", Message(10)))
    assert bytes(10) == await pace.read("two", Message(10))
    assert not own.done()
    pace._turns.give("another")
    assert bytes(10) == await own
    await _until_idle(pace)


@pytest.mark.asyncio
async def test_callers_take_turns() -> None:
    """One large message of a caller is not behind all that another one has sent."""
    pace, order = Pace(), []

    async def receive(caller: str) -> None:
        await pace.read(caller, Message(LARGE))
        order.append(caller)

    for caller in ("one", "two"):
        await receive(caller)
    order.clear()
    tasks = [asyncio.create_task(receive("one")) for _ in range(6)]
    tasks.append(asyncio.create_task(receive("two")))
    await asyncio.gather(*tasks)
    assert order.index("two") <= 2, order
    await _until_idle(pace)


@pytest.mark.asyncio
async def test_a_cancelled_wait_frees_what_came_and_leaves_no_turn_behind() -> None:
    """gRPC frees a message in the step that puts it together, so that one is done all the same."""
    pace, steps = Pace(), []
    await pace.read("one", Message(LARGE))
    await _until_idle(pace)
    assert pace._turns.take_now("another")
    waiting = asyncio.create_task(pace.read("one", Message(LARGE, steps.append)))
    while not pace._turns.waiting:
        await asyncio.sleep(0)
    assert [] == steps
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ["put together"] == steps
    pace._turns.give("another")
    await _until_idle(pace)


class Waiting:
    """A read of two steps: what each waits for, and what came of them."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.waits_for = [loop.create_future(), loop.create_future()]
        self.seen: list[str] = []

    async def read(self) -> bytes:
        try:
            for number, came in enumerate(self.waits_for):
                await came
                self.seen.append(f"step {number}")
        except BaseException as error:
            self.seen.append(type(error).__name__)
            raise
        return b"x"


def _no_turn() -> Awaitable[None] | None:
    return None


async def _read(waiting: Waiting) -> bytes:
    return await InTurn(waiting.read(), _no_turn)


@pytest.mark.asyncio
@pytest.mark.parametrize("came", [0, 1])
async def test_a_read_that_is_cancelled_takes_its_steps_for_nobody(came: int) -> None:
    """Its caller goes at once; each step is done when what it waits for has come."""
    waiting = Waiting()
    task = asyncio.create_task(_read(waiting))
    for each in waiting.waits_for[:came]:
        each.set_result(None)
    for _ in range(9):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert (True, came) == (task.cancelled(), len(waiting.seen))
    for each in waiting.waits_for[came:]:
        each.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert ["step 0", "step 1"] == waiting.seen


@pytest.mark.asyncio
@pytest.mark.parametrize("came", [0, 1])
async def test_a_read_whose_call_we_end_is_let_go(
    came: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC resets no stream whose read waits: it is cancelled soon after its caller is."""
    monkeypatch.setattr(turns, "_ENDED_WITHIN_S", 0.01)
    waiting = Waiting()
    task = asyncio.create_task(_read(waiting))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert [] == waiting.seen
    for each in waiting.waits_for[:came]:
        each.set_result(None)
    async with asyncio.timeout(20):
        while "CancelledError" not in waiting.seen:
            await asyncio.sleep(0.001)
    assert [*["step 0"][:came], "CancelledError"] == waiting.seen
    assert waiting.waits_for[came].cancelled()


@pytest.mark.asyncio
async def test_a_read_that_fails_ends_as_it_would_alone() -> None:
    """Its errors come out; after its caller is gone they are nobody's."""
    failing = Waiting()
    failing.waits_for[0].set_exception(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await _read(failing)
    late = Waiting()
    task = asyncio.create_task(_read(late))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    late.waits_for[0].set_exception(ValueError("broken"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert (["ValueError"], []) == (late.seen, told)


@pytest.mark.parametrize("method", ["productsearch.v1.ProductSearch/SearchImages", HEALTH])
def test_calls_that_are_cancelled_while_their_message_comes_leave_nothing(
    method: str, server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over gRPC: its read comes to its end, which frees what the library holds for it."""
    begun, cancelled, ended = [], [], []
    init = InTurn.__init__

    async def watched(work: Any) -> Any:
        begun.append(work)
        try:
            return await work
        except asyncio.CancelledError:
            cancelled.append(work)
            raise
        finally:
            ended.append(work)

    monkeypatch.setattr(
        InTurn, "__init__", lambda self, work, turn: init(self, watched(work), turn)
    )
    running = server()
    with connected(running) as channel:
        silent = channel.stream_unary(f"/{method}")
        ending = threading.Event()
        for _ in range(20):
            calls = [silent.future(_nothing(ending)) for _ in range(3)]
            until(lambda: len(begun) - len(ended) >= 3)  # the watchdog's calls come and go
            for call in calls:
                call.cancel()
            until(lambda: len(ended) == len(begun))
        ending.set()
    assert [] == cancelled


def _nothing(ending: threading.Event) -> Iterator[bytes]:
    ending.wait()
    yield from ()


@pytest.mark.asyncio
async def test_callers_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many callers send large messages, the last thousand are known."""
    monkeypatch.setattr(turns, "_CALLERS_MAX", 3)
    pace = Pace()
    for number in range(10):
        await pace.read(f"caller {number}", Message(LARGE))
    assert ["caller 7", "caller 8", "caller 9"] == [*pace._large_at_s]
    await _until_idle(pace)


def test_large_calls_and_items_wait_for_turns_and_small_ones_do_not(
    server: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over gRPC: a large message is put together in its turn; decoded and carried out, too, if its
    image could not be cut out of it. Another caller's calls have none.
    """
    waited: list[str] = []
    wait = Pace.turn

    async def counted(self: Pace, caller: str) -> None:
        waited.append(caller)
        await wait(self, caller)

    monkeypatch.setattr(Pace, "turn", counted)
    running = server(policy_file=policy_file(tmp_path))
    with connected(running) as channel:
        stub = v1.ProductSearchStub(channel)

        def search(content: bytes, caller: str) -> None:
            request = v1.SearchImagesRequest(image=v1.ImageSource(content=content, fit=True))
            stub.SearchImages(request, metadata=token_of(caller), timeout=60)

        large, small = jpeg(1).ljust(LARGE, b"\0"), jpeg(2)
        for _ in range(2):
            search(small, "two")
            search(large, "one")
        assert ["one"] == waited  # nobody knew of the first one before it was there
        waited.clear()
        merged = b"".join(
            v1.SearchImagesRequest(image=image).SerializeToString()
            for image in (v1.ImageSource(content=large), v1.ImageSource(fit=True))
        )
        raw = channel.unary_unary("/productsearch.v1.ProductSearch/SearchImages")
        raw(merged, metadata=token_of("one"), timeout=60)
        assert 3 * ["one"] == waited
        waited.clear()
        search(small, "two")
        assert [] == waited
        new = v1.NewImage(image=v1.ImageSource(content=large, fit=True), brief="b")
        items = [
            v1.BulkAddImagesRequest.Item(key=str(number), new_image=new) for number in range(3)
        ]
        requests = iter([v1.BulkAddImagesRequest(item=each) for each in items])
        answers = list(stub.BulkAddImages(requests, metadata=token_of("three"), timeout=60))
        assert 4 == len(answers)
        assert len(waited) in (2, 3)  # the end of the stream may have one as well
        assert {"three"} == set(waited)
    until(lambda: not admission_of(running).pace._turns.held[0])
