"""Makes one call to the upstream: token, slot, POST, answer; again where that helps.

An attempt ends with an answer, with a failure that is worth a retry, or with a final failure. An
add whose answer was lost may have been carried out; it is settled by asking again, and what stays
open is said to be open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, TypeVar
from urllib.parse import quote, quote_plus

from productsearch_service import limits, traces
from productsearch_service.call_context import CallContext, Deadline, Trail
from productsearch_service.counters import LibraryCounters
from productsearch_service.errors import (
    RateLimited,
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamProtocol,
    UpstreamUnavailable,
    UpstreamWords,
)
from productsearch_service.upstream import answers, codes
from productsearch_service.upstream.answers import Answer
from productsearch_service.upstream.auth.token import Token, TokenSource
from productsearch_service.upstream.codes import Action
from productsearch_service.upstream.failures import Failure, more_informative, outcome_unknown
from productsearch_service.upstream.gates import Gates, Probes, Sent, error_of
from productsearch_service.upstream.http.failure import TransportFailure
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedBytes, MaskedMembers, MaskedText
from productsearch_service.upstream.pacing.circuit_breaker import CircuitBreaker
from productsearch_service.upstream.pacing.pacer import Pacer
from productsearch_service.upstream.pacing.retry import RetryBudget, wait_before_retry
from productsearch_service.upstream.stats import UpstreamStats

Value = TypeVar("Value")
Fields = dict[str, str | tuple[bytes, ...]]
"""A form: text that is escaped here, and form values in parts, which are escaped already."""

_PATH: Final = "/rest/2.0/image-classify/v1/realtime_search/product/"
_REPLAYS_MAX: Final = 2
"""Of a call whose token was rejected: with what may be the same token, and with another one."""
_OK: Final = "OK"
_UNREACHABLE: Final = "UNREACHABLE"
_TIMEOUT: Final = "TIMEOUT"
"""It was sent, and no answer came in time."""
_CANCELLED: Final = "CANCELLED"
_HTTP_OK: Final = 200
_HTTP_REFUSED: Final = 400
_HTTP_SERVER_FAULT: Final = 500


@dataclass(slots=True)
class Call(Generic[Value]):
    """One call: its method, its form, how its answer is read, and where its image came from.

    ``done_before`` is the code that the call is answered with when an earlier attempt of it, whose
    answer was lost, was carried out after all: then the answer means success.
    """

    method: str
    fields: Fields
    read: Callable[[Answer], Value]
    image_path: str = ""
    done_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeLimits:
    """What one call may take: seconds, attempts, and failures in a row until the breaker opens."""

    call_s: float = limits.CALL_CAP_S
    attempts_max: int = limits.ATTEMPTS_MAX
    breaker_failures: int = limits.BREAKER_FAILURES
    breaker_open_s: float = limits.BREAKER_FIRST_S
    breaker_open_max_s: float = limits.BREAKER_MAX_S


@dataclass(eq=False)
class Exchange:
    """Calls of one library's upstream. Raises ServiceErrors only."""

    transport: Transport
    tokens: TokenSource
    pacer: Pacer
    counters: LibraryCounters
    bounds: ExchangeLimits = ExchangeLimits()
    where: str = ""
    """The library and its URL, as lines of the log name them."""
    sends_trace: bool = False
    """Whether the upstream learns the trace that a call belongs to."""

    def __post_init__(self) -> None:
        self._budget = RetryBudget()
        self._calls = 0
        self._gates = Gates(
            CircuitBreaker(
                failures_max=self.bounds.breaker_failures,
                open_s=self.bounds.breaker_open_s,
                open_max_s=self.bounds.breaker_open_max_s,
                tells_when=True,
            ),
            self.counters.breaker_refused,
            self.where,
        )

    async def call(self, call: Call[Value], context: CallContext) -> Value:
        """Make one call, with a new token or again where that helps."""
        body = _body(call.fields)
        deadline = context.deadline.capped(self.bounds.call_s)
        self._calls += 1
        maybe_done = reconnected = False
        replays = 0
        told = rejected = None
        attempt = 1
        while True:
            began_s = time.monotonic()
            outcome = await self._attempt(call, body, context, deadline, maybe_done=maybe_done)
            if not isinstance(outcome, Failure):
                return outcome
            maybe_done |= outcome.maybe_done
            if outcome.action is Action.NEW_TOKEN and replays < _REPLAYS_MAX:
                replays += 1
                self.counters.retry()
                rejected = outcome.error
                continue  # what was said of the old token says nothing of what comes now
            told = more_informative(told, outcome.error)
            if isinstance(told, UpstreamCredentialsRejected) and told.upstream is None:
                told = rejected or told  # there is no other token, and this says the code
            if outcome.stale and not reconnected and attempt < self.bounds.attempts_max:
                reconnected = True
                attempt += 1
            elif outcome.action is Action.BACK_OFF and await self._backed_off(
                attempt, deadline, outcome.wait_at_least_s, began_s, context.trail
            ):
                attempt += 1
                self.counters.retry()
            elif call.method == "add" and maybe_done:
                raise outcome_unknown(outcome.error)
            else:
                told.maybe_done = maybe_done
                if isinstance(told, UpstreamUnavailable) and told.retry_after_s is not None:
                    wait_s = self._gates.breaker.wait_s(context.caller.name)
                    told.retry_after_s = max(told.retry_after_s, wait_s)
                raise told

    def prepare(self) -> None:
        """Begin to fetch a token if one is needed."""
        self.tokens.prepare()

    def stats(self) -> UpstreamStats:
        """Return how this upstream is doing."""
        return UpstreamStats(
            token=self.tokens.stats,
            pacer=self.pacer.stats,
            breaker_open=self._gates.breaker.is_open,
            is_outage=self._gates.breaker.is_outage,
            probe_due=self._gates.breaker.probe_due,
            quota_exhausted=self._gates.quota.is_open,
            retries_left=self._budget.left,
        )

    async def _backed_off(
        self, attempt: int, deadline: Deadline, at_least_s: float, began_s: float, trail: Trail
    ) -> bool:
        """Wait before another attempt; False: there is none to be made."""
        failed_s = time.monotonic()
        took_s = failed_s - began_s
        wait_s = wait_before_retry(
            attempt, self.bounds.attempts_max, deadline, at_least_s=at_least_s, took_s=took_s
        )
        if wait_s is None or not self._budget.spend(self._calls):
            return False
        try:
            await asyncio.sleep(wait_s)
        finally:
            trail.retry_s += time.monotonic() - failed_s
        if trail.trace is not None:
            trail.trace.part("wait retry", failed_s)
        return True

    async def _attempt(
        self,
        call: Call[Value],
        body: tuple[bytes, ...],
        context: CallContext,
        deadline: Deadline,
        *,
        maybe_done: bool,
    ) -> Value | Failure:
        """Make one attempt; ``maybe_done``: an earlier one may have been carried out."""
        try:
            answer = await self._answer(call, body, context, deadline)
            settled = maybe_done and answer.words.code == call.done_before
            if settled or not answer.failed:
                return call.read(answer)
        except TransportFailure as failure:
            return Failure(
                error_of(failure),
                Action.BACK_OFF,
                failure.maybe_done,
                failure.retry_after_s,
                stale=failure.stale,
            )
        except UpstreamProtocol as unreadable:
            return Failure(unreadable, Action.BACK_OFF, maybe_done=True)
        except ServiceError as refused:
            return Failure(refused, Action.FINAL)
        meaning = codes.meaning_of(answer.words)
        return Failure(
            codes.error_of(answer.words, call.image_path, answer.cont_sign),
            meaning.action,
            meaning.maybe_done,
            max(
                limits.QPS_BACKOFF_MIN_S if meaning.error is RateLimited else 0.0,
                answer.words.retry_after_s,
            ),
        )

    async def _answer(
        self, call: Call[Value], body: tuple[bytes, ...], context: CallContext, deadline: Deadline
    ) -> Answer:
        """Return what the upstream answered, an error code too, and learn from it."""
        gates = self._gates
        probes: Probes = {}
        trail = context.trail
        try:
            if gates.breaker.error is not None or gates.quota.error is not None:
                gates.check(context)
            token = self.tokens.fresh() or await self._token(trail, deadline)
            if not self.pacer.is_open:
                await self._slot(call.method, context, deadline)
            if gates.breaker.error is not None or gates.quota.error is not None:  # since it waited
                await gates.admit(probes, context, deadline)
            deadline.require()
            context.posts_begun += 1
            trail.attempts += 1
            sent = Sent(call.fields, context, time.monotonic(), probes)
            try:
                answer = await self._post(call, token, body, context, deadline)
            except (TransportFailure, UpstreamProtocol) as failure:
                gates.learn_failure(failure, sent)
                raise
            finally:
                trail.upstream_s += time.monotonic() - sent.at_s
            trail.upstream_code, trail.log_id = answer.words.code, answer.words.log_id
            gates.learn(answer, sent)
        finally:
            for gate, probe in probes.items():
                gate.ended(probe)
        if answer.failed:
            meaning = codes.meaning_of(answer.words)
            if meaning.error is RateLimited:
                self.pacer.exceeded()
            if meaning.action is Action.NEW_TOKEN:
                self.tokens.reject(token)
        if self.tokens.in_doubt and (not answer.failed or answer.words.code > codes.GATEWAYS_MAX):
            self.tokens.accepted(token)
        return answer

    async def _token(self, trail: Trail, deadline: Deadline) -> Token:
        began_s = time.monotonic()
        try:
            return await self.tokens.get(deadline)
        finally:
            trail.token_s += time.monotonic() - began_s
            if trail.trace is not None:
                trail.trace.part("wait token", began_s)

    async def _slot(self, method: str, context: CallContext, deadline: Deadline) -> None:
        began_s = time.monotonic()
        context.trail.in_queue = True
        try:
            await self.pacer.wait(context.caller, deadline, is_search=method == "search")
        finally:
            context.trail.in_queue = False
            context.trail.quota_s += time.monotonic() - began_s
            if context.trail.trace is not None:
                context.trail.trace.part("wait quota", began_s)

    async def _post(
        self,
        call: Call[Value],
        token: Token,
        body: tuple[bytes, ...],
        context: CallContext,
        deadline: Deadline,
    ) -> Answer:
        method, outcome = call.method, _UNREACHABLE
        began_s = time.monotonic()
        trace, trace_id = context.trail.trace, context.trail.trace_id
        span_id, headers = traces.new_span() if trace is not None else 0, None
        if trace_id and self.sends_trace:
            headers = {traces.HEADER: traces.header(trace_id, span_id)}
        try:
            told = await self.transport.post(_PATH + method, _query(token), body, deadline, headers)
            told_s = time.monotonic()
            answer = _read(*told)
            if trace is not None:
                trace.part("parse", told_s)
            # How slow or quick an image's host is says nothing of how long others wait.
            if not answer.failed and "url" not in call.fields:
                took_s = time.monotonic() - began_s
                self.pacer.answered(context.caller.name, took_s, is_search=method == "search")
            outcome = codes.error_of(answer.words).reason if answer.failed else _OK
        except UpstreamProtocol as unreadable:
            outcome = unreadable.reason
            raise
        except TransportFailure as failure:
            outcome = _TIMEOUT if failure.unanswered else _UNREACHABLE
            raise
        except asyncio.CancelledError:
            outcome = _CANCELLED
            raise
        finally:
            context.trail.upstream_outcome = outcome
            caller = context.caller.label if self.pacer.is_open else ""
            self.counters.post(method, outcome, time.monotonic() - began_s, caller)
            if trace is not None:
                trace.part(f"upstream {method}", began_s, span_id=span_id, outcome=outcome)
        return answer


@lru_cache(maxsize=16)
def _query(token: Token) -> MaskedText:
    return MaskedText(f"?access_token={quote(token.value, safe='')}")


def _body(fields: Fields) -> tuple[bytes, ...]:
    """Return the parts of a form body: around a large image value, nothing is copied."""
    parts: list[bytes] = []
    text = ""
    for name, value in fields.items():
        text += f"{'&' if text or parts else ''}{name}="
        if isinstance(value, str):
            text += value if value.isalnum() and value.isascii() else quote_plus(value)
        else:
            parts += (text.encode(), *value)
            text = ""
    if text:
        parts.append(text.encode())
    return tuple(parts)


def _read(status: int, content: MaskedBytes, retry_after_s: float) -> Answer:
    """Return the answer; an HTTP error without one is a proxy's or gateway's, not the API's."""
    try:
        answer = answers.read(content)
    except UpstreamProtocol:
        if status == _HTTP_OK:
            raise
    else:
        answer.words.retry_after_s = retry_after_s
        if answer.failed or status == _HTTP_OK:
            return answer
    if status >= _HTTP_SERVER_FAULT:
        what = f"answered with HTTP {status}"
        raise TransportFailure(what, maybe_done=True, retry_after_s=retry_after_s)
    if status >= _HTTP_REFUSED:  # it was not passed on
        words = UpstreamWords(http_status=status, retry_after_s=retry_after_s)
        return Answer(words, MaskedMembers(), failed=True)
    raise UpstreamProtocol(f"the upstream answered with HTTP {status}")
