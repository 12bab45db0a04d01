"""A time limit ends what is awaited in it, at its time and for no other reason."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_service.time_limit import TimeLimit

MS = st.integers(0, 20)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(MS, st.none() | MS), min_size=1, max_size=20))
def test_each_limit_ends_at_its_own_time(limits: list[tuple[int, int | None]]) -> None:
    """In any number and order, moved to an earlier or later time or not: never before it."""

    async def ended(first_ms: int, moved_ms: int | None) -> bool:
        ends_s = time.monotonic() + (first_ms if moved_ms is None else moved_ms) / 1000
        try:
            with TimeLimit(first_ms / 1000) as limit:
                if moved_ms is not None:
                    limit.allow(moved_ms / 1000)
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        return limit.expired and time.monotonic() >= ends_s

    async def run() -> list[bool]:
        return await asyncio.wait_for(asyncio.gather(*(ended(*each) for each in limits)), 10)

    assert [True] * len(limits) == asyncio.run(run())


def test_who_is_cancelled_is_not_told_of_a_timeout() -> None:
    """Cancelled from outside, a task is cancelled, and its limit is not reached."""

    async def run() -> None:
        limit, begun = TimeLimit(10), asyncio.Event()

        async def work() -> None:
            with limit:
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not limit.expired

    asyncio.run(run())


def test_what_ends_in_time_leaves_nothing() -> None:
    """A limit that is over ends nothing that is awaited later."""

    async def run() -> None:
        for _ in range(100):
            with TimeLimit(0.001) as limit:
                pass
            assert not limit.expired
        await asyncio.sleep(0.01)
        assert not limit.expired

    asyncio.run(run())
