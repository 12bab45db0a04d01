"""An issuer that is down in every way it can be, with and without a token in hand."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final
from unittest.mock import patch

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.errors import ServiceError, UpstreamUnavailable
from productsearch_service.upstream.auth.token import Issued, TokenSource, TokenState
from tests.fakes.upstream import Fault, Received
from tests.soak.measures import Measure, at_least, at_most, equal
from tests.soak.token_rivals import (
    LIFETIME_S,
    PATIENCE_S,
    Clock,
    TokenEndpoint,
    herd_of_tasks,
)
from tests.soak.token_stage import Size, ask_once, ask_together, issuer_at, settle


def outages(size: Size) -> list[Measure]:
    """The issuer is down in each of its ways while the token is valid."""
    measures: list[Measure] = []
    for kind, answer in _OUTAGES.items():
        asked, errors, recovered = asyncio.run(_outage(size, kind, answer))
        measures += [
            equal(f"issuer {kind}: caller errors in {size.outage_s} s", errors, 0),
            at_least(f"issuer {kind}: token calls that met the outage", asked, 1),
            at_most(f"issuer {kind}: token calls", asked, size.outage_s / 30),
            equal(f"issuer {kind}: new token afterwards", recovered, 1),
        ]
    return measures


def outage_without_token(size: Size) -> list[Measure]:
    """The issuer fails, then hangs, and nobody has a token."""
    return asyncio.run(_outage_without_token(size))


async def _outage_without_token(size: Size) -> list[Measure]:
    steps = 10
    clock, chance = Clock(), random.Random(size.seed)
    asked_in_step, asked_behind_gate, untyped = [], 0, 0
    with TokenEndpoint() as endpoint, issuer_at(endpoint.url) as issuer:
        endpoint.always("token", Fault(status=500, body=b"out of service"))
        source = TokenSource(issuer, clock=clock, chance=chance.uniform)
        for step in range(steps):
            before = endpoint.tokens_asked
            outcomes = await ask_together(source, size.callers)
            await settle()
            asked_in_step.append(endpoint.tokens_asked - before)
            outcomes += await ask_together(source, size.callers)
            asked_behind_gate += endpoint.tokens_asked - before - asked_in_step[-1]
            untyped += sum(type(one.error) is not UpstreamUnavailable for one in outcomes)
            clock.now_s += 1.2 * min(limits.TOKEN_GATE_FIRST_S * 2**step, limits.TOKEN_GATE_MAX_S)
            clock.now_s += 0.001
    measures = [
        equal("no token: most token calls in a back-off step", max(asked_in_step), 1),
        equal("no token: least token calls in a back-off step", min(asked_in_step), 1),
        equal("no token: token calls behind the gate", asked_behind_gate, 0),
        equal("no token: callers without their one typed error", untyped, 0),
    ]
    if size.timed:
        late_s = await _late(size)
        measures.append(at_most("issuer hangs: latest past min(deadline, 5 s), s", late_s, 1))
    return measures


class _Switched:
    """An issuer that is asked through whatever ``ask`` is at the time; counts the requests."""

    def __init__(self, ask: Callable[[], Awaitable[Issued]]) -> None:
        self.ask = ask
        self.asked = 0

    async def __call__(self) -> Issued:
        self.asked += 1
        return await self.ask()


_STALL: Final = Fault(kind="stall", seconds=0.3)
_OUTAGES: Final[dict[str, Any]] = {
    "refused": None,
    "timeout": _STALL,
    "500": Fault(status=500, body=b'{"error": "server_error"}'),
    "429": Fault(status=429, body=b"slow down"),
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "empty": b"",
    "cut": Fault(kind="cut", body=b'{"access_token": "24.cut", "expires_'),
    "expires_in huge": {"access_token": "24.huge", "expires_in": 10**12},
    "expires_in 0": {"access_token": "24.zero", "expires_in": 0},
    "expires_in missing": {"access_token": "24.missing"},
}


async def _outage(size: Size, kind: str, answer: Any) -> tuple[int, int, int]:
    """Return token calls and caller errors during the outage, and whether it ended well."""
    clock, chance = Clock(), random.Random(size.seed)
    with (
        TokenEndpoint() as endpoint,
        issuer_at(endpoint.url) as working,
        _closed_port() as closed_url,
        issuer_at(closed_url) as refused,
    ):
        issuer = _Switched(working)
        source = TokenSource(issuer, clock=clock, chance=chance.uniform)
        first = await source.get(Deadline.after(PATIENCE_S))
        clock.now_s += LIFETIME_S * limits.TOKEN_STALE_TO + 1
        endpoint.always("token", answer)
        issuer.ask = refused if kind == "refused" else working
        errors = 0
        with patch.object(limits, "TOKEN_FETCH_TIMEOUT_S", 0.1):
            for _ in range(size.outage_s):
                errors += await ask_once(source) != first.value
                await settle()
                clock.now_s += 1
        asked = issuer.asked - 1
        endpoint.always("token", None)
        issuer.ask = working
        clock.now_s += limits.TOKEN_GATE_MAX_S * 1.2
        await ask_once(source)
        await settle()
        recovered = source.state is TokenState.FRESH and await ask_once(source) != first.value
    return asked, errors, int(recovered)


async def _late(size: Size) -> float:
    """Return by how much the latest caller of a hanging issuer came back past its bound."""
    chance = random.Random(size.seed)
    patience_s = [chance.uniform(0.05, 8) for _ in range(size.callers)]
    numbers = iter(patience_s)
    over = threading.Event()
    late_s: list[float] = []

    async def get() -> None:
        own_s = next(numbers)
        began_s = time.monotonic()
        with contextlib.suppress(ServiceError):
            await source.get(Deadline.after(own_s))
        late_s.append(time.monotonic() - began_s - min(own_s, limits.TOKEN_WAIT_MAX_S))

    def hang(_: Received) -> bytes:
        over.wait(PATIENCE_S)
        return b""

    with TokenEndpoint() as endpoint, issuer_at(endpoint.url) as issuer:
        endpoint.always("token", hang)
        source = TokenSource(issuer)
        await herd_of_tasks(size.callers, get)
        over.set()
        await settle()
    return max(late_s)


@contextlib.contextmanager
def _closed_port() -> Iterator[str]:
    """Hold a port that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
