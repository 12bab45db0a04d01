"""The same herd against our token source and against what others use in its place, in one table.

Every candidate asks one token endpoint on loopback and is driven by as many callers: ours by
tasks of an event loop, the others by threads. The libraries are real and unchanged; only the
request for a token is ours: a POST with urllib3, the same for all of them. Rivals have no bars;
they are there to be compared with.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import urllib3
from botocore.credentials import DeferredRefreshableCredentials
from cachetools import TTLCache, cached
from google.auth import credentials as google_credentials

from productsearch_service.call_context import Deadline
from productsearch_service.upstream.auth.credentials import FixedCredentials, KeyPair
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import TokenSource
from tests.fakes.upstream import TOKEN_PATH, FakeUpstream, Fault, Received

PAIR: Final = KeyPair("the-api-key", "the-secret-key")
LIFETIME_S: Final = 2_592_000
PATIENCE_S: Final = 30.0
_BACKLOG: Final = 2048
_DOWN: Final = Fault(status=500, body=b"out of service")


class TokenEndpoint(FakeUpstream):
    """The fake upstream, for herds: a thousand may connect at once, an answer takes its time."""

    def __init__(self, answer_s: float = 0.0) -> None:
        super().__init__()
        self._server.socket.listen(_BACKLOG)  # five waiting connections are its default
        self._answer_s = answer_s

    @property
    def tokens_asked(self) -> int:
        """How many requests for a token arrived."""
        return sum(request.method == "token" for request in list(self.received))

    def answer(self, request: Received) -> Any:
        """Answer as the fake upstream does, after a while if it is about a token."""
        if request.method == "token":
            time.sleep(self._answer_s)
        return super().answer(request)


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def utc(self) -> datetime:
        """Return the same moment as a date."""
        return datetime.fromtimestamp(self.now_s, UTC)


@dataclass(frozen=True)
class Outcome:
    """How one caller of a herd fared: its value or error, and how long it waited."""

    value: Any
    error: Exception | None
    waited_s: float


async def herd_of_tasks(callers: int, call: Callable[[], Awaitable[Any]]) -> list[Outcome]:
    """Call from that many tasks at the same moment and return how each of them fared."""

    async def one() -> Outcome:
        value, error = None, None
        began_s = time.perf_counter()
        try:
            value = await call()
        except Exception as caught:  # noqa: BLE001 - what it is, the measures judge
            error = caught
        return Outcome(value, error, time.perf_counter() - began_s)

    return await asyncio.gather(*(one() for _ in range(callers)))


def herd_of_threads(threads: int, call: Callable[[], Any]) -> list[Outcome]:
    """Call from that many threads at the same moment and return how each of them fared."""
    barrier = threading.Barrier(threads)
    outcomes: list[Outcome] = []

    def one() -> None:
        value, error = None, None
        barrier.wait()
        began_s = time.perf_counter()
        try:
            value = call()
        except Exception as caught:  # noqa: BLE001 - the rivals raise all sorts
            error = caught
        outcomes.append(Outcome(value, error, time.perf_counter() - began_s))

    callers = [threading.Thread(target=one, name="caller") for _ in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return outcomes


class Holder(Protocol):
    """Something that hands out a token and gets new ones."""

    def herd(self, callers: int) -> list[Outcome]:
        """Let that many callers ask for a token; a new one if there is none or it has expired."""

    def expire(self) -> None:
        """Let the token's lifetime pass."""

    def close(self) -> None:
        """End what it runs."""


class Ours:
    """The service's own source and issuer, on an event loop."""

    def __init__(self, url: str) -> None:
        self._clock = Clock()
        self._loop = asyncio.Runner()
        self._issuer = TokenIssuer(url, None, FixedCredentials(PAIR))
        self._source = TokenSource(self._issuer, clock=self._clock)

    def herd(self, callers: int) -> list[Outcome]:
        """Ask from tasks."""
        return self._loop.run(herd_of_tasks(callers, self._get))

    def expire(self) -> None:
        """Move the source's clock."""
        self._clock.now_s += LIFETIME_S + 1

    def close(self) -> None:
        """Close the source, then what it used."""
        self._loop.run(self._source.close())
        self._issuer.close()
        self._loop.close()

    async def _get(self) -> str:
        return (await self._source.get(Deadline.after(PATIENCE_S))).value


class _Threaded:
    """A rival: its callers are threads."""

    def get(self) -> str:
        """Return a token, a new one if there is none or it has expired."""
        raise NotImplementedError

    def herd(self, callers: int) -> list[Outcome]:
        """Ask from threads."""
        return herd_of_threads(callers, self.get)

    def close(self) -> None:
        """Do nothing: nothing runs."""


class _Fetch:
    """The rivals' request for a token: (value, lifetime); any answer but 200 is an error."""

    def __init__(self, url: str) -> None:
        self._url = url + TOKEN_PATH
        self._pool = urllib3.PoolManager(maxsize=64)

    def __call__(self) -> tuple[str, int]:
        answer = self._pool.request(
            "POST",
            self._url,
            fields={"grant_type": "client_credentials", "client_id": PAIR.api_key},
            encode_multipart=False,
            retries=False,
            timeout=PATIENCE_S,
        )
        if answer.status != 200:
            raise ConnectionError(f"HTTP {answer.status}")
        members = json.loads(answer.data)
        return members["access_token"], members["expires_in"]


class _GoogleCredentials(google_credentials.Credentials):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._fetch = _Fetch(url)

    def refresh(self, request: object) -> None:
        value, lifetime_s = self._fetch()
        self.token = value
        self.expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=lifetime_s)


class GoogleAuth(_Threaded):
    """google-auth: ``before_request`` of its Credentials, refreshing as it does by default."""

    def __init__(self, url: str) -> None:
        self._credentials = _GoogleCredentials(url)

    def get(self) -> str:
        """Return the token of the header that google-auth writes."""
        headers: dict[str, str] = {}
        self._credentials.before_request(object(), "GET", "https://localhost/", headers)
        return headers["authorization"].removeprefix("Bearer ")

    def expire(self) -> None:
        """Date the expiry back."""
        self._credentials.expiry -= timedelta(seconds=LIFETIME_S + 1)


class GoogleAuthInBackground(GoogleAuth):
    """google-auth with its non-blocking refresh switched on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._credentials.with_non_blocking_refresh()


class Botocore(_Threaded):
    """botocore's refreshable credentials, fetched at the first use."""

    def __init__(self, url: str) -> None:
        self._clock = Clock()
        self._fetch = _Fetch(url)
        self._credentials = DeferredRefreshableCredentials(
            self._metadata, "local", time_fetcher=self._clock.utc
        )

    def get(self) -> str:
        """Return the session token of the frozen credentials."""
        return str(self._credentials.get_frozen_credentials().token)

    def expire(self) -> None:
        """Move its clock."""
        self._clock.now_s += LIFETIME_S + 1

    def _metadata(self) -> dict[str, str]:
        value, lifetime_s = self._fetch()
        expiry = self._clock.utc() + timedelta(seconds=lifetime_s)
        return {
            "access_key": "key",
            "secret_key": "secret",
            "token": value,
            "expiry_time": expiry.isoformat(),
        }


class Cachetools(_Threaded):
    """A function under ``cachetools.cached`` with a TTLCache and a lock."""

    options: Callable[[], dict[str, Any]] = staticmethod(lambda: {"lock": threading.Lock()})

    def __init__(self, url: str) -> None:
        self._clock = Clock()
        fetch = _Fetch(url)
        cache: TTLCache[Any, str] = TTLCache(1, ttl=LIFETIME_S, timer=self._clock)
        self._cached = cached(cache, **type(self).options())(lambda: fetch()[0])

    def get(self) -> str:
        """Return the function's value, cached or not."""
        return self._cached()

    def expire(self) -> None:
        """Move the cache's timer."""
        self._clock.now_s += LIFETIME_S + 1


class CachetoolsCondition(Cachetools):
    """The same with a condition: one caller computes, the others wait for it."""

    options = staticmethod(lambda: {"condition": threading.Condition()})


CANDIDATES: Final[dict[str, Callable[[str], Holder]]] = {
    "ours": Ours,
    "google-auth": GoogleAuth,
    "google-auth, non-blocking": GoogleAuthInBackground,
    "botocore": Botocore,
    "cachetools lock=": Cachetools,
    "cachetools condition=": CachetoolsCondition,
}


@dataclass(frozen=True)
class Row:
    """What one candidate's herds came to: token calls, callers' errors, the longest wait."""

    name: str
    calls_empty: int
    calls_expired: int
    errors: int
    calls_failing: int
    errors_failing: int
    waited_failing_s: float


def compare(callers: int, answer_s: float, failure_s: float) -> list[Row]:
    """Drive every candidate; a token takes the endpoint ``answer_s``, a failure ``failure_s``."""
    return [_row(name, make, callers, answer_s, failure_s) for name, make in CANDIDATES.items()]


def table(rows: Sequence[Row], callers: int) -> str:
    """Return the rows as a table."""
    heads = (
        f"{callers} callers",
        "empty: calls",
        "expired: calls",
        "errors",
        "issuer fails: calls",
        "errors",
        "longest wait",
    )
    cells = [
        (
            row.name,
            str(row.calls_empty),
            str(row.calls_expired),
            str(row.errors),
            str(row.calls_failing),
            str(row.errors_failing),
            f"{row.waited_failing_s:.2f} s",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    return "\n".join(_line(line, widths) for line in (heads, *cells))


def _row(
    name: str, make: Callable[[str], Holder], callers: int, answer_s: float, failure_s: float
) -> Row:
    with TokenEndpoint(answer_s) as endpoint, closing(make(endpoint.url)) as holder:
        empty = holder.herd(callers)
        calls_empty = endpoint.tokens_asked
        holder.expire()
        expired = holder.herd(callers)
        calls_expired = endpoint.tokens_asked - calls_empty
    with TokenEndpoint(failure_s) as endpoint, closing(make(endpoint.url)) as holder:
        endpoint.always("token", _DOWN)
        failing = holder.herd(callers)
        calls_failing = endpoint.tokens_asked
    return Row(
        name,
        calls_empty,
        calls_expired,
        _errors(empty + expired),
        calls_failing,
        _errors(failing),
        max(outcome.waited_s for outcome in failing),
    )


def _errors(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.error is not None for outcome in outcomes)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join((first.strip().ljust(widths[0]), *others))
