"""Keeps one access token fresh: fetched once, shared by all, replaced before it expires.

States: FRESH (used as it is), STALE (used, while one flight in the background fetches the
next), EXPIRED (callers wait for the flight). A flight is one request for a token, in a task of
its own; there is never more than one (single flight). All who wait for it share its result or
its error. A waiter that is cancelled, or whose deadline ends, ends alone: the flight goes on for
the others. After a failed flight a gate keeps the next one away for a while (back-off), and
callers without a token get the same error immediately.

A token has a generation. Whoever was told that a token is no good says which generation that
was; only the current one is invalidated, so a thousand rejected calls cause one flight.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.errors import (
    DeadlineTooShort,
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.redaction import register_secret
from productsearch_service.upstream.stats import TokenStats

_log = logging.getLogger(__name__)

_REJECTED_KEPT: Final = 16
_STORM_PAUSE_S: Final = 10.0
"""Between two requests for a token, while the upstream rejects each one that it is sent."""
_GATE_SPREAD: Final = 1.2
_USUAL_S: Final = 1.0
"""Within which a token usually comes."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What the issuer gave: the token and its lifetime in seconds."""

    value: str = field(repr=False)
    expires_in_s: int


@dataclass(frozen=True, slots=True)
class Token:
    """A token and which one it is."""

    value: str = field(repr=False)
    generation: int


class TokenState(Enum):
    """How good the current token is."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


class _Flight:
    """One request for a token: its task, and the error that its waiters share.

    They wait for ``over``. A task shows what it waits for itself: an error there quotes what the
    issuer answered, which may be the key pair, and a tracker of errors would send it.
    """

    task: asyncio.Task[None]
    over: asyncio.Future[None]

    def __init__(self, ends_by_s: float) -> None:
        self.ends_by_s = ends_by_s
        self.error: ServiceError | None = None
        self.superseded = False


class TokenSource:
    """The current token of one key pair.

    ``issue`` asks for a new token and raises a ServiceError if there is none to be had. ``count``
    is told the outcome of each flight: ``ok``, or the reason of its error. ``where`` is the library
    and its URL, for the log.
    """

    def __init__(
        self,
        issue: Callable[[], Awaitable[Issued]],
        *,
        count: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
        where: str = "",
    ) -> None:
        self.in_doubt = False
        """Whether the upstream has rejected a token since it accepted one."""
        self._where = where
        self._rejections = 0
        """Tokens in a row that it rejected without having accepted them."""
        self._issue = issue
        self._count = count
        self._clock = clock
        self._chance = chance
        self._token: Token | None = None
        self._generation = 0
        self._issued_at_s = 0.0
        self._stale_at_s = 0.0
        self._expires_at_s = 0.0
        self._accepted_generation = 0
        """One that the upstream is known to have accepted since it last rejected it or another."""
        self._rejected_at_s = -math.inf
        self._rejected: deque[str] = deque(maxlen=_REJECTED_KEPT)
        self._flight: _Flight | None = None
        self._failures = 0
        self._gate_until_s = 0.0
        self._last_error: ServiceError | None = None
        self._closed = False
        self.new_pair_refused = False
        """Whether the rotation found a pair that cannot be used; the tokens are the old one's."""

    @property
    def state(self) -> TokenState:
        """How good the current token is."""
        now_s = self._clock()
        if self._token is None or now_s >= self._expires_at_s:
            return TokenState.EXPIRED
        return TokenState.STALE if now_s >= self._stale_at_s else TokenState.FRESH

    @property
    def stats(self) -> TokenStats:
        """The state, the age and the rest of the current token."""
        state = self.state
        if self._token is None:
            return TokenStats(
                state.value, usable=False, age_s=None, new_pair_refused=self.new_pair_refused
            )
        now_s = self._clock()
        usable = state is not TokenState.EXPIRED
        left_s = max(0.0, self._expires_at_s - now_s)
        age_s = now_s - self._issued_at_s
        return TokenStats(state.value, usable, age_s, left_s, self.new_pair_refused)

    def prepare(self) -> None:
        """Begin to fetch a token if there is none or it is stale, and do not wait for it."""
        if self.state is not TokenState.FRESH:
            self._begin_flight()

    def fresh(self) -> Token | None:
        """Return the token if there is nothing to do about it, as is usual."""
        return self._token if self._clock() < self._stale_at_s else None

    async def get(self, deadline: Deadline) -> Token:
        """Return a token; wait for one if there is none, at most until the deadline or 5 s.

        Where there is a valid token, nothing is awaited. Raises UpstreamUnavailable or
        UpstreamCredentialsRejected if there is none to be had, and DeadlineTooShort where the
        deadline left less time than issuers usually take.
        """
        end = deadline.capped(limits.TOKEN_WAIT_MAX_S)
        is_short = deadline.remaining_s() < _USUAL_S
        time_is_up = False
        while True:
            token = self._usable()
            if token is not None:
                return token
            flight = self._flight
            if flight is None:
                raise self._refusal(self._last_error or _none_in_time())
            if time_is_up and is_short:
                raise DeadlineTooShort(
                    "the deadline ended while the first token was asked for; "
                    f"set one of at least {_USUAL_S:.0f} s"
                )
            if time_is_up:
                raise self._refusal(_none_in_time())
            # A shield: neither the end of this wait nor its cancellation reaches the flight.
            await asyncio.wait({flight.over}, timeout=end.remaining_s())
            # A rotation may have brought a token after the flight failed and before we woke.
            if flight.error is not None and self.state is TokenState.EXPIRED:
                raise self._refusal(flight.error)
            # Look once more: its token may be there, or may have been rejected before we woke.
            time_is_up = not end.remaining_s()

    def reject(self, token: Token) -> None:
        """Say that the upstream rejected ``token``; nothing happens if it was replaced since.

        Soon after one was rejected, the next one that was accepted needs two rejections in a row:
        an upstream that accepts and rejects by turns would treat another token no better.
        """
        if self._token is not None and self._token.generation == token.generation:
            self.in_doubt = True
            since_s = self._clock() - self._rejected_at_s
            was_accepted, self._accepted_generation = self._accepted_generation, 0
            if was_accepted == token.generation and since_s < _STORM_PAUSE_S:
                return
            self._rejected_at_s = self._clock()
            self._rejected.append(token.value)
            self._token = None
            self._rejections += 1
            _log.warning("%s: the upstream rejected the token; asking for a new one", self._where)
            if self._rejections > 1:  # else each call of each caller would ask for a token
                self._gate_until_s = self._clock() + _STORM_PAUSE_S
                self._last_error = UpstreamCredentialsRejected(
                    "the upstream rejects each token that the token endpoint gives; "
                    f"another one is asked for every {_STORM_PAUSE_S:.0f} s"
                )

    def accepted(self, token: Token) -> None:
        """Say that the upstream accepted ``token``."""
        if token.generation == self._generation:
            self._accepted_generation = token.generation
            self._rejections = 0
            self.in_doubt = False

    def adopt(self, issued: Issued) -> None:
        """Take a token that was issued elsewhere: to a new key pair.

        A flight that began before was for the old pair; what it brings is dropped. Raises
        UpstreamUnavailable if the token is one that the upstream rejected.
        """
        if self._flight is not None:
            self._flight.superseded = True
        self._accept(issued)
        self._rejections = 0
        self._rejected_at_s = -math.inf

    async def close(self) -> None:
        """Cancel the flight. Its waiters get an error, and there is no other flight after it."""
        self._closed = True
        flight = self._flight
        if flight is not None:
            self._cancelled(flight)  # a task that has not begun cannot do it itself
            flight.task.cancel()
            await asyncio.wait({flight.over})

    def _refusal(self, error: ServiceError) -> ServiceError:
        """Return an error of a caller's own, which says when the next token is asked for."""
        refusal = error.copy()
        if refusal.retry_after_s is not None:
            refusal.retry_after_s = max(self._next_flight_s(), refusal.retry_after_s)
        return refusal

    def _next_flight_s(self) -> float:
        """Return the seconds until the next flight, at the latest: this one's may fail, too."""
        if self._flight is None:
            return self._gate_until_s - self._clock()
        return self._flight.ends_by_s - self._clock() + self._gate_s(_GATE_SPREAD)

    def _usable(self) -> Token | None:
        """Return the token if it is valid; begin a flight unless it is fresh."""
        state = self.state
        if state is not TokenState.FRESH:
            self._begin_flight()
        return None if state is TokenState.EXPIRED else self._token

    def _begin_flight(self) -> None:
        if self._flight is None and not self._closed and self._clock() >= self._gate_until_s:
            self._flight = flight = _Flight(self._clock() + limits.TOKEN_FETCH_TIMEOUT_S)
            flight.over = asyncio.get_running_loop().create_future()
            flight.task = asyncio.create_task(self._fly(flight), name="token")
            flight.task.add_done_callback(lambda _: flight.over.set_result(None))

    async def _fly(self, flight: _Flight) -> None:
        error: ServiceError | None = None
        try:
            issued = await self._issue()
            if not flight.superseded:
                self._accept(issued)
        except ServiceError as failure:
            error = failure
        except asyncio.CancelledError:
            self._cancelled(flight)
            raise
        except Exception:  # noqa: BLE001 - the task's end: the waiters must hear of it
            # Without the exception: a key pair or a token may be among its locals.
            _log.error("%s: the token request failed in an unforeseen way", self._where)
            error = _none_in_time()
        self._flight = None
        self._count("ok" if error is None else error.reason)
        if error is not None and not flight.superseded:
            flight.error = error
            self._close_gate(error)

    def _cancelled(self, flight: _Flight) -> None:
        """End a flight without an outcome; that says nothing of the issuer."""
        flight.error = _none_in_time()
        self._flight = None

    def _accept(self, issued: Issued) -> None:
        """Make a token the current one, unless it is known to be rejected."""
        register_secret(issued.value, f"{self._where}: token")
        if issued.value in self._rejected:
            raise UpstreamUnavailable("the issuer gave the rejected token again", retry_after_s=1.0)
        lifetime_s = issued.expires_in_s
        latest_s = max(lifetime_s - limits.TOKEN_EXPIRY_MARGIN_S, lifetime_s / 2)
        stale_to_s = min(lifetime_s * limits.TOKEN_STALE_TO, latest_s)
        stale_from_s = stale_to_s - lifetime_s * limits.TOKEN_SPREAD
        now_s = self._clock()
        self._generation += 1
        self._token = Token(issued.value, self._generation)
        self._issued_at_s = now_s
        self._stale_at_s = now_s + self._chance(stale_from_s, stale_to_s)
        self._expires_at_s = now_s + lifetime_s
        if self._failures:
            told = "%s: a token was received again, after %d failures"
            _log.info(told, self._where, self._failures)
        self._failures = 0
        self._gate_until_s = 0.0
        self._last_error = None

    def _close_gate(self, error: ServiceError) -> None:
        """Keep the next flight away: 1 s, doubling to 5 min; 5 min at once if it is hopeless."""
        if isinstance(error, UpstreamCredentialsRejected):
            wait_s = limits.TOKEN_GATE_MAX_S
        else:
            wait_s = self._gate_s(self._chance(0.8, _GATE_SPREAD))
        self._failures += 1
        self._gate_until_s = self._clock() + wait_s
        self._last_error = error
        why = f"{error.message} ({error.cause})" if error.cause else error.message
        _log.warning("%s: no new token: %s; asking again in %.0f s", self._where, why, wait_s)

    def _gate_s(self, spread: float) -> float:
        doubled_s: float = limits.TOKEN_GATE_FIRST_S * 2 ** min(self._failures, 10)
        return min(doubled_s * spread, limits.TOKEN_GATE_MAX_S)


def _none_in_time() -> ServiceError:
    return UpstreamUnavailable(
        "no token was received in time", retry_after_s=limits.UPSTREAM_RETRY_S
    )
