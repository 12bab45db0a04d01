"""Token sources over time: wall clocks that jump, replicas that refresh apart."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any
from unittest.mock import patch

from productsearch_service.call_context import Deadline
from productsearch_service.errors import ServiceError
from productsearch_service.upstream.auth import token as token_module
from productsearch_service.upstream.auth.token import Issued, TokenSource, TokenState
from tests.soak.measures import Measure, at_least, at_most, equal
from tests.soak.token_rivals import LIFETIME_S, PATIENCE_S, Clock, TokenEndpoint
from tests.soak.token_stage import DAY_S, HOUR_S, Size, ask_once, issuer_at, settle


def wall_clock_steps(size: Size) -> list[Measure]:
    """The wall clock jumps under a token source with its own clock."""
    return asyncio.run(_wall_clock_steps(size))


async def _wall_clock_steps(size: Size) -> list[Measure]:
    ahead_s = 0.0
    wall = time.time
    failed = 0
    with (
        TokenEndpoint() as endpoint,
        issuer_at(endpoint.url) as issuer,
        patch("time.time", lambda: wall() + ahead_s),
    ):
        source = _read_anew(token_module).TokenSource(issuer)
        for ahead_s in (0, HOUR_S, -HOUR_S, 31 * DAY_S, -31 * DAY_S):  # noqa: B007 - the lambda's
            for _ in range(size.calls_per_step):
                failed += isinstance(await ask_once(source), ServiceError)
            await settle()
        asked = endpoint.tokens_asked
    return [
        equal("refreshes when the wall clock jumps 1 h and 31 d, both ways", asked - 1, 0),
        equal("failures when the wall clock jumps", failed, 0),
    ]


def replicas(size: Size, lifetime_s: int = LIFETIME_S) -> list[Measure]:
    """Replicas that start together refresh apart.

    What refreshes can fall on is the whole window; a hundred drawn from it span a little less.
    """
    earliest, latest = (asyncio.run(_refreshes(lifetime_s, [end]))[0] for end in (min, max))
    chance = random.Random(size.seed)
    parts = sorted(asyncio.run(_refreshes(lifetime_s, [chance.uniform] * size.replicas)))
    window, span = (round(100 * part, 6) for part in (latest - earliest, parts[-1] - parts[0]))
    busiest = max(Counter(int(part * 100) for part in parts).values())
    return [
        at_least("refreshes can fall on, % of the lifetime", window, 10),
        at_least(f"{size.replicas} replicas' refreshes span, % of the lifetime", span, 9),
        at_most("refreshes in the busiest 1 % of the lifetime", busiest, size.replicas / 5),
    ]


async def _refreshes(lifetime_s: int, chances: Sequence[Callable[..., float]]) -> list[float]:
    """Return at what part of its token's lifetime each replica asks for the second one."""
    step_s = lifetime_s / 10_000
    parts = []
    for chance in chances:
        clock = Clock()
        began_s = clock.now_s
        asked_at_s: list[float] = []

        async def issue(asked_at_s: list[float] = asked_at_s, clock: Clock = clock) -> Issued:
            asked_at_s.append(clock.now_s)
            return Issued(f"token-{len(asked_at_s)}", lifetime_s)

        source = TokenSource(issue, clock=clock, chance=chance)
        await source.get(Deadline.after(PATIENCE_S))
        await settle()
        while len(asked_at_s) == 1:
            clock.now_s += step_s
            if source.state is not TokenState.FRESH:
                await source.get(Deadline.after(PATIENCE_S))
                await settle()
        parts.append((asked_at_s[1] - began_s) / lifetime_s)
    return parts


def _read_anew(module: ModuleType) -> Any:
    """Return the module as it is when it is imported now: with the clocks as they are now."""
    spec = importlib.util.spec_from_file_location("token_read_anew", module.__file__)
    if spec is None or spec.loader is None:
        raise ImportError(module.__name__)
    anew = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {spec.name: anew}):
        spec.loader.exec_module(anew)
    return anew
