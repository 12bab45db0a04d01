"""What all families of the token soak share: sizes, and how a token source is asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from productsearch_service.deadline import Deadline
from productsearch_service.errors import ServiceError
from productsearch_service.upstream.credentials import FixedCredentials
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.token import TokenSource
from productsearch_service.upstream.transport import Transport
from tests.soak.token_rivals import PAIR, PATIENCE_S, Outcome
from tests.soak.token_rivals import herd as herd_of

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything; ``timed``: also measure in seconds of this machine's clock."""

    seed: int
    threads: int
    callers: int
    revocations: int
    outage_s: int
    replicas: int
    swaps: int
    calls_per_step: int
    rival_threads: int
    rival_answer_s: float
    rival_failure_s: float
    orders: int
    timed: bool


FULL: Final = Size(
    seed=20250722,
    threads=1000,
    callers=200,
    revocations=100,
    outage_s=HOUR_S,
    replicas=100,
    swaps=1000,
    calls_per_step=1000,
    rival_threads=1000,
    rival_answer_s=0.5,
    rival_failure_s=0.02,
    orders=3000,
    timed=True,
)
SMALL: Final = Size(
    seed=20250722,
    threads=200,
    callers=50,
    revocations=5,
    outage_s=HOUR_S,
    replicas=100,
    swaps=60,
    calls_per_step=100,
    rival_threads=50,
    rival_answer_s=0.1,
    rival_failure_s=0.005,
    orders=50,
    timed=False,
)


def issuer_at(url: str) -> TokenIssuer:
    """Return the service's own issuer, for a token endpoint at ``url``."""
    return TokenIssuer(Transport(url), FixedCredentials(PAIR))


def ask_together(size: Size, source: TokenSource, threads: int = 0) -> list[Outcome]:
    """Ask for a token from as many threads at once, or from ``size.threads``."""
    return herd_of(threads or size.threads, lambda: source.get(Deadline.after(PATIENCE_S)).value)


def ask_once(source: TokenSource) -> object:
    """Return the token's value or the error."""
    try:
        return source.get(Deadline.after(PATIENCE_S)).value
    except ServiceError as failure:
        return failure


def settle() -> None:
    """Wait until no flight is under way."""
    for thread in threading.enumerate():
        if thread.name == "token":
            thread.join(PATIENCE_S)
