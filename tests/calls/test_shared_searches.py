"""A shared search is nobody's own: whoever leaves, the others are answered."""

from __future__ import annotations

import ast
import asyncio
import inspect
from typing import Any

import pytest

from productsearch_service import settings_library
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import Held, Watched, connections_to, late, outcome, search, until
from tests.fakes.upstream import FakeUpstream, search_answer

CALLERS = 9
ANSWER = search_answer(("1,2", 0.9, "a brief"))


def test_who_leaves_fails_nobody(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """The leader of a search leaves, and any number of others: the rest share its one answer."""
    facade = watched()
    for leaving in range(1, CALLERS):
        held = Held(ANSWER)
        upstream.always("search", held)
        leader = facade.stub.SearchImages.future(search(leaving))
        until(lambda held=held: held.arrived == 1)  # type: ignore[misc]
        _leave_and_be_answered(facade, leaving, leader, held)
        assert leaving == len(upstream.calls)
    _nobody_failed(facade)


def test_who_leaves_the_queue_fails_nobody(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """The same while the leader waits for a slot of the quota: the search keeps its slot."""
    facade = watched(quota_qps=2.5)
    for leaving in (1, CALLERS // 2, CALLERS - 1):
        other = facade.stub.SearchImages.future(search(100 + leaving))
        assert "OK" == outcome(other)
        held = Held(ANSWER)
        upstream.always("search", held)
        leader = facade.stub.SearchImages.future(search(leaving))
        until(lambda: facade.metric("pacer_waiting") == 1)
        _leave_and_be_answered(facade, leaving, leader, held)
    assert 6 == len(upstream.calls)
    _nobody_failed(facade)


def _leave_and_be_answered(facade: Watched, leaving: int, leader: Any, held: Held) -> None:
    twins = [facade.stub.SearchImages.future(search(leaving)) for _ in range(CALLERS - 1)]
    until(lambda: facade.in_flight() == CALLERS)
    for call in [leader, *twins][:leaving]:
        call.cancel()
    until(lambda: facade.in_flight() == CALLERS - leaving)
    held.release()
    assert ["OK"] * (CALLERS - leaving) == [outcome(call) for call in twins[leaving - 1 :]]


def _nobody_failed(facade: Watched) -> None:
    assert {"CANCELLED", "OK"} == facade.by_label("caller_rpcs_total", "code").keys()


def test_who_has_more_time_searches_again(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """Each leader that runs out of time is followed by one of its twins, until one is answered."""
    upstream.then("search", late(2, ANSWER), late(2, ANSWER), ANSWER)
    facade = watched()
    first = facade.stub.SearchImages.future(search(1), timeout=0.3)
    until(lambda: len(upstream.calls) == 1)
    second = facade.stub.SearchImages.future(search(1), timeout=0.8)
    until(lambda: facade.in_flight() == 2)
    patient = [facade.stub.SearchImages.future(search(1), timeout=10) for _ in range(5)]
    outcomes = [outcome(call) for call in patient]
    assert "OK" not in (outcome(first), outcome(second)[:2])
    assert ["OK"] * 5 == outcomes
    assert len(upstream.calls) in (2, 3)


def test_a_search_without_callers_ends(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """Once all callers have left, the call of the upstream is cancelled, not waited for."""
    held = Held(ANSWER)
    upstream.always("search", held)
    facade = watched()
    calls = [facade.stub.SearchImages.future(search(1)) for _ in range(CALLERS)]
    until(lambda: held.arrived == 1 and facade.in_flight() == CALLERS)
    for left, call in enumerate(calls, 1):
        assert 1 == connections_to(upstream.url), f"{left - 1} of {CALLERS} have left"
        call.cancel()
        until(lambda left=left: facade.in_flight() == CALLERS - left)  # type: ignore[misc]
    until(lambda: connections_to(upstream.url) == 0)
    held.release()
    assert "OK" == outcome(facade.stub.SearchImages.future(search(1)))
    assert 2 == len(upstream.calls)


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", range(6))
async def test_a_cancelled_search_is_not_joined(turns: int) -> None:
    """A search that begins however soon after the last caller of its twin left is a new one."""
    from productsearch_service.call_context import CallContext, Caller
    from productsearch_service.library.search_cache import SearchCache
    from productsearch_service.upstream.answers import Page

    def context() -> CallContext:
        return CallContext.begin(Caller("shop"), None)

    cache = SearchCache()
    begun = 0

    async def answer() -> Page:
        nonlocal begun
        begun += 1
        try:
            await asyncio.sleep(0.05)
        finally:
            await asyncio.sleep(0)  # as a transport that closes its connection may
        return Page((), False, 7)

    first = asyncio.create_task(cache.answer("key", answer, context()))
    await asyncio.sleep(0.01)
    first.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    assert 7 == (await cache.answer("key", answer, context())).log_id
    assert (1 if turns == 0 else 2) == begun
    await asyncio.gather(first, return_exceptions=True)


def test_the_setting_says_what_other_replicas_show() -> None:
    """Whoever turns the cache on reads that a write empties it on its own replica alone."""
    described = _described(settings_library.LibrarySettings)["search_cache_ttl_s"]
    assert "the replica that made it" in described
    assert "other replicas show" in described
    assert "until these seconds end" in described


def _described(model: Any) -> dict[str, str]:
    """Return the descriptions of a model's settings: the strings below them in its source."""
    (tree,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(tree, ast.ClassDef)
    described = {}
    for setting, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(setting, ast.AnnAssign) and isinstance(below, ast.Expr):
            text = ast.literal_eval(below.value)
            described[ast.unparse(setting.target)] = " ".join(text.split())
    return described
