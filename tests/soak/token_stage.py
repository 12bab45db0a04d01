"""What all families of the token soak share: sizes, and how a token source is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from productsearch_service.call_context import Deadline
from productsearch_service.errors import ServiceError
from productsearch_service.upstream.auth.credentials import FixedCredentials
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import TokenSource
from tests.soak.token_rivals import PAIR, PATIENCE_S, Outcome, herd_of_tasks

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything; ``timed``: also measure in seconds of this machine's clock."""

    seed: int
    herd: int
    callers: int
    revocations: int
    outage_s: int
    replicas: int
    swaps: int
    calls_per_step: int
    rival_callers: int
    rival_answer_s: float
    rival_failure_s: float
    orders: int
    timed: bool


FULL: Final = Size(
    seed=20250722,
    herd=1000,
    callers=200,
    revocations=100,
    outage_s=HOUR_S,
    replicas=100,
    swaps=1000,
    calls_per_step=1000,
    rival_callers=1000,
    rival_answer_s=0.5,
    rival_failure_s=0.02,
    orders=3000,
    timed=True,
)
SMALL: Final = Size(
    seed=20250722,
    herd=200,
    callers=50,
    revocations=5,
    outage_s=HOUR_S,
    replicas=100,
    swaps=60,
    calls_per_step=100,
    rival_callers=50,
    rival_answer_s=0.1,
    rival_failure_s=0.005,
    orders=50,
    timed=False,
)


@contextmanager
def issuer_at(url: str) -> Iterator[TokenIssuer]:
    """Return the service's own issuer, for a token endpoint at ``url``."""
    issuer = TokenIssuer(url, None, FixedCredentials(PAIR))
    yield issuer
    issuer.close()


async def ask_together(source: TokenSource, callers: int) -> list[Outcome]:
    """Ask for a token from as many tasks at once."""

    async def get() -> str:
        return (await source.get(Deadline.after(PATIENCE_S))).value

    return await herd_of_tasks(callers, get)


async def ask_once(source: TokenSource) -> object:
    """Return the token's value or the error."""
    try:
        return (await source.get(Deadline.after(PATIENCE_S))).value
    except ServiceError as failure:
        return failure


async def settle() -> None:
    """Wait until no flight is under way."""
    flights = [task for task in asyncio.all_tasks() if task.get_name() == "token"]
    if flights:
        await asyncio.wait(flights, timeout=PATIENCE_S)
