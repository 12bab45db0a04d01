"""Places that calls wait for: never too many, nobody has all, and nobody who waits is forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_service.call_context import Caller
from productsearch_service.errors import ServerOverloaded
from productsearch_service.rpc.streams import Stream, Streams
from productsearch_service.turns import Turns

PLACES, WAITING, BYTES = 3, 6, 10

STEP = st.one_of(
    st.tuples(st.just("take"), st.sampled_from("ab"), st.integers(0, BYTES)),
    st.tuples(st.just("cancel"), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("give"), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("turn"), st.just(0), st.just(0)),
)


@dataclass
class Call:
    """A call that takes a place and keeps it until told."""

    caller: str
    size: int
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    has_place: bool = False
    task: asyncio.Task[None] | None = None


class Model:
    """Calls over one Turns; what is true of them is looked at whenever one gets a place."""

    def __init__(self) -> None:
        self.turns = Turns(PLACES, waiting_max=WAITING, bytes_max=BYTES)
        self.calls: list[Call] = []
        self._granted = self.turns._taken
        self.turns._taken = self._watched  # type: ignore[method-assign]

    def _watched(self, caller: str, size_bytes: int) -> bool:
        if not self._granted(caller, size_bytes):
            return False
        held, held_bytes = self.turns.held
        own, own_bytes = (
            each.get(caller, 0) for each in (self.turns._held, self.turns._held_bytes)
        )
        assert held <= PLACES
        assert own <= PLACES - held + 1, "more places than it left free"
        assert own == 1 or own_bytes <= BYTES - held_bytes, "more bytes than it left free"
        assert held_bytes <= BYTES or held_bytes == size_bytes
        return True

    def take(self, caller: str, size: int) -> None:
        call = Call(caller, size)
        call.task = asyncio.create_task(self._run(call))
        self.calls.append(call)

    async def _run(self, call: Call) -> None:
        if not self.turns.take_now(call.caller, call.size):
            await self.turns.take(call.caller, call.size)
        call.has_place = True
        try:
            await call.leave.wait()
        finally:
            call.has_place = False
            self.turns.give(call.caller, call.size)

    def check(self) -> None:
        """Compare what is counted with what calls have; nobody waits who could be served."""
        holding = [call for call in self.calls if call.has_place]
        granted = self.turns.held[0]
        assert len(holding) <= granted <= PLACES
        assert 0 <= self.turns.waiting <= WAITING
        assert self.turns.waiting == sum(len(each) for each in self.turns._waiting.values())
        if granted == 0:
            assert all(waiting[0][0].cancelled() for waiting in self.turns._waiting.values())
        for caller, waiting in self.turns._waiting.items():
            turn, size = waiting[0]
            if turn.cancelled():
                continue
            assert not self._may(caller, size)
            if caller not in self.turns._held:
                return  # what is free next is for this one, and for nobody behind it

    def _may(self, caller: str, size: int) -> bool:
        held, held_bytes = self.turns.held
        own, own_bytes = (
            each.get(caller, 0) for each in (self.turns._held, self.turns._held_bytes)
        )
        free, free_bytes = PLACES - held, BYTES - held_bytes
        if not own:
            return free > 0 and (size <= free_bytes or not held)
        return own < free and own_bytes + size <= free_bytes - size


@settings(max_examples=80)
@given(st.lists(STEP, min_size=10, max_size=40))
def test_turns_keep_their_promises(steps: list[tuple[str, Any, int]]) -> None:
    """Taken, given and cancelled in any order, at any moment between two turns of the loop."""
    asyncio.run(_keep_promises(steps))


async def _keep_promises(steps: list[tuple[str, Any, int]]) -> None:
    model = Model()
    for step, which, size in steps:
        if step == "take":
            model.take(which, size)
        elif step == "turn":
            await asyncio.sleep(0)
            model.check()
        elif model.calls:
            call = model.calls[which % len(model.calls)]
            assert call.task is not None
            call.leave.set() if step == "give" else call.task.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    model.check()
    for call in model.calls:
        call.leave.set()
    tasks = [call.task for call in model.calls if call.task is not None]
    done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    kinds = Counter(type(each) for each in done)
    assert kinds.keys() <= {type(None), asyncio.CancelledError, ServerOverloaded}
    assert ((0, 0), 0) == (model.turns.held, model.turns.waiting)
    assert not model.turns._waiting
    assert PLACES == model.turns._free


@pytest.mark.asyncio
async def test_callers_are_served_in_turn() -> None:
    """One caller with a long line does not hold up another who comes later."""
    turns = Turns(2, waiting_max=100)
    assert turns.take_now("greedy")
    served: list[str] = []

    async def call(caller: str) -> None:
        await turns.take(caller)
        served.append(caller)
        await asyncio.sleep(0)
        turns.give(caller)

    calls = [asyncio.create_task(call("greedy")) for _ in range(20)]
    await asyncio.sleep(0)
    calls.append(asyncio.create_task(call("polite")))
    await asyncio.sleep(0)
    turns.give("greedy")
    await asyncio.gather(*calls)
    assert served.index("polite") <= 1


@pytest.mark.asyncio
async def test_a_caller_that_always_waits_takes_no_turn_of_others() -> None:
    """Whenever a place comes back it is another's turn, however long the first one's line is."""
    turns = Turns(2, waiting_max=100)
    served: list[str] = []
    go_on = asyncio.Semaphore(0)

    async def call(caller: str) -> None:
        await turns.take(caller)
        served.append(caller)
        await go_on.acquire()
        turns.give(caller)

    calls = [asyncio.create_task(call(caller)) for caller in "aaaaaaaabbbbcccc"]
    for _ in calls:
        await asyncio.sleep(0.001)
        go_on.release()
    await asyncio.gather(*calls)
    assert "abcabcabc" == "".join(served[2:11])


@pytest.mark.asyncio
async def test_a_large_one_is_not_passed_by_small_ones_for_ever() -> None:
    """Two callers keep small ones coming; a third one's large one is next once they have ended."""
    turns = Turns(20, waiting_max=100, bytes_max=BYTES)
    served: list[str] = []

    async def small(caller: str) -> None:
        while "large" not in served and len(served) < 200:
            await turns.take(caller, 2)
            served.append(caller)
            await asyncio.sleep(0.001)
            turns.give(caller, 2)

    async def large() -> None:
        await asyncio.sleep(0.003)
        await turns.take("three", BYTES - 1)
        served.append("large")
        turns.give("three", BYTES - 1)

    calls = [small("one"), small("one"), small("two"), small("two"), large()]
    await asyncio.wait_for(asyncio.gather(*calls), 30)
    assert "large" in served
    assert len(served) < 100


@pytest.mark.asyncio
async def test_one_callers_large_ones_leave_bytes_to_others() -> None:
    """Places are many and bytes are short: a caller gets half of them, the next one half."""
    turns = Turns(1000, waiting_max=100, bytes_max=16)
    counts = [sum(turns.take_now(caller, 2) for _ in range(20)) for caller in "abcd"]
    assert [4, 2, 1, 1] == counts


@given(
    st.lists(
        st.tuples(st.sampled_from(("open", "close", "progress")), st.sampled_from("abc")),
        max_size=80,
    ),
    st.sampled_from((0.0, 60.0)),
)
def test_streams_keep_their_promises(steps: list[tuple[str, str]], silence_s: float) -> None:
    """Never more streams than places, nobody has all, and only the silent give way."""
    asyncio.run(_streams_keep_promises(steps, silence_s))


async def _streams_keep_promises(steps: list[tuple[str, str]], silence_s: float) -> None:
    streams = Streams(streams_max=4, others_share=0.25, silence_s=silence_s)
    open_: list[Stream] = []

    async def call(caller: str) -> None:
        open_.append(streams.open(Caller(caller)))
        await asyncio.Event().wait()

    for step, caller in steps:
        mine = [stream for stream in open_ if stream.caller.name == caller]
        if step == "open":
            task = asyncio.create_task(call(caller))
            await asyncio.sleep(0)
            if task.done():
                assert isinstance(task.exception(), ServerOverloaded)
                assert silence_s or len(open_) == 4 or len(mine) == 3
            gone = [stream for stream in open_ if stream.ending.done()]
            assert len(gone) <= (not silence_s)
            assert all(stream in mine for stream in gone) or len(mine) < 3
            open_ = [stream for stream in open_ if stream not in gone]
        elif mine and step == "close":
            mine[0].call.cancel()
            await asyncio.wait([mine[0].call])
            await asyncio.sleep(0)
            open_.remove(mine[0])
        elif mine:
            mine[0].came(is_item=False)
        assert streams.in_flight == len(open_) <= 4
        assert max(Counter(stream.caller.name for stream in open_).values(), default=0) <= 3


@pytest.mark.asyncio
async def test_a_small_one_behind_a_large_one_that_leaves_is_served() -> None:
    """A waiter that is cancelled lets go whoever waited behind it."""
    turns = Turns(PLACES, waiting_max=WAITING, bytes_max=BYTES)
    assert turns.take_now("one", 2)
    large = asyncio.create_task(turns.take("one", BYTES))
    small = asyncio.create_task(turns.take("one", 1))
    await asyncio.sleep(0)
    assert 2 == turns.waiting
    large.cancel()
    await asyncio.wait_for(small, 5)
    assert ((2, 3), 0) == (turns.held, turns.waiting)
