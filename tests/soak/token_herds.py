"""Herds of callers on one token source, and on the libraries that people use instead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from productsearch_service import limits
from productsearch_service.upstream.auth.token import TokenSource
from tests.fakes.upstream import Received
from tests.soak import token_rivals
from tests.soak.measures import Measure, equal
from tests.soak.token_rivals import LIFETIME_S, PATIENCE_S, Clock, Outcome, TokenEndpoint
from tests.soak.token_stage import Size, ask_together, issuer_at, settle


def herds(size: Size) -> list[Measure]:
    """Callers in tasks of one event loop."""
    return asyncio.run(_herds(size))


async def _herds(size: Size) -> list[Measure]:
    """A herd on an empty cache, on a stale token whose refresh hangs, and on an expired one."""
    answered = threading.Event()

    def hanging(_: Received) -> dict[str, Any]:
        answered.wait(PATIENCE_S)
        return {"access_token": "24.second", "expires_in": LIFETIME_S}

    with TokenEndpoint(answer_s=0.05) as endpoint, issuer_at(endpoint.url) as issuer:
        clock = Clock()
        source = TokenSource(issuer, clock=clock)
        empty = await ask_together(source, size.herd)
        calls_empty = endpoint.tokens_asked
        clock.now_s += LIFETIME_S * limits.TOKEN_STALE_TO + 1
        endpoint.always("token", hanging)
        stale = await ask_together(source, size.herd)
        answered.set()
        await settle()
        calls_stale = endpoint.tokens_asked - calls_empty
        endpoint.always("token", None)
        clock.now_s += LIFETIME_S
        expired = await ask_together(source, size.herd)
        calls_expired = endpoint.tokens_asked - calls_empty - calls_stale
    # Whoever waited for the hanging refresh waited as long as anybody may.
    blocked = sum(outcome.waited_s >= limits.TOKEN_WAIT_MAX_S for outcome in stale)
    outcomes = (*empty, *stale, *expired)
    return [
        equal(f"token calls, {size.herd} callers on an empty cache", calls_empty, 1),
        equal(f"token calls, {size.herd} callers on a stale token", calls_stale, 1),
        equal("callers blocked on a stale token whose refresh hangs", blocked, 0),
        equal("old token served while stale, callers", _served(stale, empty), size.herd),
        equal(f"token calls, {size.herd} callers on an expired token", calls_expired, 1),
        equal("failures of the three herds", _failed(outcomes), 0),
    ]


def side_by_side(size: Size) -> list[Measure]:
    """The herd against ours and the rivals; bars are ours alone."""
    rows = token_rivals.compare(size.rival_callers, size.rival_answer_s, size.rival_failure_s)
    print(token_rivals.table(rows, size.rival_callers), flush=True)
    ours = rows[0]
    return [
        equal("side by side: token calls on an empty cache", ours.calls_empty, 1),
        equal("side by side: token calls at expiry", ours.calls_expired, 1),
        equal("side by side: errors of callers", ours.errors, 0),
        equal("side by side: token calls of a failing issuer", ours.calls_failing, 1),
    ]


def _served(later: Sequence[Outcome], earlier: Sequence[Outcome]) -> int:
    """Return how many of the later callers got the token of the earlier ones."""
    values = {outcome.value for outcome in earlier}
    return sum(outcome.value in values for outcome in later) if len(values) == 1 else 0


def _failed(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.error is not None for outcome in outcomes)
