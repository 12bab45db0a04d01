"""Keeps one access token fresh: fetched once, shared by all, replaced before it expires.

States: FRESH (used as it is), STALE (used, while one flight in the background fetches the
next), EXPIRED (callers wait for the flight). There is never more than one flight; everyone
who waits shares its result or its error. After a failed flight a gate keeps the next one away
for a while, and callers without a token get the same error at once.

A token has a generation. Whoever was told that a token is no good says which generation that
was; only the current one is invalidated, so a thousand rejected calls cause one flight.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from productsearch_service import limits
from productsearch_service.deadline import Deadline
from productsearch_service.errors import ServiceError, UpstreamCredentialsRejected
from productsearch_service.errors import UpstreamUnavailable as Unavailable
from productsearch_service.operations.tally import Tally
from productsearch_service.operations.vitals import TokenVitals
from productsearch_service.redaction import hide

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_REJECTED_KEPT: Final = 16


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


class Issuer(Protocol):
    """Asks for a new token; raises a ServiceError if there is none to be had."""

    def __call__(self) -> Issued: ...


class TokenState(Enum):
    """How good the current token is."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


class _Flight:
    """One request for a token; ``done`` is set once ``error`` tells how it went."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: ServiceError | None = None
        self.superseded = False


class TokenSource:
    """The current token of one key pair. Thread-safe."""

    def __init__(
        self,
        issue: Issuer,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._issue = issue
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._generation = 0
        self._stale_at_s = 0.0
        self._expires_at_s = 0.0
        self._rejected: deque[str] = deque(maxlen=_REJECTED_KEPT)
        self._flight: _Flight | None = None
        self._failures = 0
        self._gate_until_s = 0.0
        self._last_error: ServiceError | None = None
        self._issued_at_s = 0.0
        self._refreshes: Tally[str] = Tally()

    @property
    def state(self) -> TokenState:
        """How good the current token is."""
        with self._lock:
            return self._state()

    @property
    def vitals(self) -> TokenVitals:
        """How the current token is doing."""
        with self._lock:
            state = self._state()
            age_s = None if self._token is None else self._clock() - self._issued_at_s
        usable = state is not TokenState.EXPIRED
        return TokenVitals(state.value, usable, age_s, self._refreshes.counts())

    def prepare(self) -> None:
        """Begin to fetch a token, if there is none or it is stale, and do not wait for it."""
        with self._lock:
            if self._state() is not TokenState.FRESH:
                self._begin_flight()

    def get(self, deadline: Deadline) -> Token:
        """Return a token; wait for one if there is none, at most until the deadline or 5 s.

        Raises UpstreamUnavailable or UpstreamCredentialsRejected if there is none to be had.
        """
        end = Deadline.after(min(deadline.remaining_s(), limits.TOKEN_WAIT_MAX_S))
        time_is_up = False
        while True:
            with self._lock:
                state = self._state()
                if state is not TokenState.FRESH:
                    self._begin_flight()
                if state is not TokenState.EXPIRED and self._token is not None:
                    return self._token
                flight, error = self._flight, self._last_error
            if flight is None:
                raise (error or _none_in_time()).again()
            if time_is_up:
                raise _none_in_time()
            flight.done.wait(end.remaining_s())
            # A rotation may have brought a token after the flight failed and before we woke.
            if flight.error is not None and self.state is TokenState.EXPIRED:
                raise flight.error.again()
            # Look once more: its token may be there, or may have been rejected before we woke.
            time_is_up = not end.remaining_s()

    def reject(self, token: Token) -> None:
        """Say that the upstream rejected ``token``; nothing happens if it was replaced since."""
        with self._lock:
            if self._token is not None and self._token.generation == token.generation:
                self._rejected.append(token.value)
                self._token = None

    def adopt(self, issued: Issued) -> None:
        """Take a token that was issued elsewhere: to a new key pair.

        A flight that began before was for the old pair; what it brings is dropped.
        """
        self._accept(issued, None)

    def _state(self) -> TokenState:
        now_s = self._clock()
        if self._token is None or now_s >= self._expires_at_s:
            return TokenState.EXPIRED
        return TokenState.STALE if now_s >= self._stale_at_s else TokenState.FRESH

    def _begin_flight(self) -> None:
        if self._flight is not None or self._clock() < self._gate_until_s:
            return
        flight = self._flight = _Flight()
        try:
            threading.Thread(target=self._fly, args=(flight,), name="token", daemon=True).start()
        except RuntimeError:  # no thread to be had
            self._land(flight, _none_in_time())

    def _fly(self, flight: _Flight) -> None:
        error: ServiceError | None = None
        try:
            self._accept(self._issue(), flight)
        except ServiceError as failure:
            error = failure
        except Exception:  # noqa: BLE001 - the thread's end: waiters must hear of it
            _log.error("the token request failed in an unforeseen way")
            error = _none_in_time()
        self._refreshes.add(error.reason if error is not None else "ok")
        with self._lock:
            self._land(flight, error)

    def _land(self, flight: _Flight, error: ServiceError | None) -> None:
        """End a flight; its error counts only if no other token was adopted meanwhile."""
        self._flight = None
        if error is not None and not flight.superseded:
            flight.error = error
            self._close_gate(error)
        flight.done.set()

    def _accept(self, issued: Issued, flight: _Flight | None) -> None:
        """Make a token the current one; ``flight`` brought it, or None: it was adopted."""
        hide(issued.value)
        lifetime_s = issued.expires_in_s
        latest_s = max(lifetime_s - limits.TOKEN_EXPIRY_MARGIN_S, lifetime_s / 2)
        stale_to_s = min(lifetime_s * limits.TOKEN_STALE_TO, latest_s)
        stale_from_s = stale_to_s - lifetime_s * limits.TOKEN_SPREAD
        stale_in_s = self._chance(stale_from_s, stale_to_s)
        with self._lock:
            if flight is None and self._flight is not None:
                self._flight.superseded = True
            elif flight is not None and flight.superseded:
                return
            if issued.value in self._rejected:
                raise Unavailable("the issuer gave the rejected token again", retry_after_s=1.0)
            now_s = self._clock()
            self._generation += 1
            self._token = Token(issued.value, self._generation)
            self._stale_at_s = now_s + stale_in_s
            self._expires_at_s = now_s + lifetime_s
            self._issued_at_s = now_s
            self._failures = 0
            self._gate_until_s = 0.0
            self._last_error = None

    def _close_gate(self, error: ServiceError) -> None:
        """Keep the next flight away: 1 s, doubling to 5 min; 5 min at once if it is hopeless."""
        longest_s = limits.TOKEN_GATE_MAX_S
        if isinstance(error, UpstreamCredentialsRejected):
            wait_s = longest_s
        else:
            doubled_s = limits.TOKEN_GATE_FIRST_S * 2 ** min(self._failures, 10)
            wait_s = min(doubled_s * self._chance(0.8, 1.2), longest_s)
        self._failures += 1
        self._gate_until_s = self._clock() + wait_s
        self._last_error = error
        _log.warning("no new token: %s; asking again in %.0f s", error.message, wait_s)


def _none_in_time() -> ServiceError:
    return Unavailable("no token was received in time", retry_after_s=limits.UPSTREAM_RETRY_S)
