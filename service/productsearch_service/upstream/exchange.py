"""Makes one call of the upstream: token, slot, POST, answer; again where that helps.

An attempt comes to an answer, to a failure that another attempt may mend, or to one that is
final. An add whose answer was lost may have been carried out; it is settled by asking again,
and what stays open is said to be open.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import quote

from productsearch_service import limits
from productsearch_service.errors import (
    AddOutcomeUnknown,
    QuotaExhausted,
    ServerFault,
    ServiceError,
    UpstreamProtocol,
    UpstreamUnavailable,
    UpstreamWords,
)
from productsearch_service.operations.tally import Tally
from productsearch_service.operations.vitals import Vitals
from productsearch_service.upstream import answers, codes, form
from productsearch_service.upstream.codes import Action
from productsearch_service.upstream.gate import Gate
from productsearch_service.upstream.retry import RetryBudget, wait_before_retry
from productsearch_service.upstream.sealed import SealedBytes, SealedText
from productsearch_service.upstream.transport import Transport, TransportFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from productsearch_service.calls import Ask
    from productsearch_service.deadline import Deadline
    from productsearch_service.upstream.answers import Answer
    from productsearch_service.upstream.pacer import Pacer
    from productsearch_service.upstream.token import Token, TokenSource

Value = TypeVar("Value")
Fields = dict[str, str | bytes | form.Pieces]

_PATH: Final = "/rest/2.0/image-classify/v1/realtime_search/product/"
_OK: Final = "OK"
_UNREACHABLE: Final = "UNREACHABLE"
_HTTP_OK: Final = 200
_HTTP_SERVER_FAULT: Final = 500


@dataclass(frozen=True, slots=True)
class Call(Generic[Value]):
    """One call: its method, its form, how its answer is read, where its picture came from.

    ``done_before`` is the code that the call is answered with when an earlier attempt of it,
    whose answer was lost, was carried out after all: then the answer means success.
    """

    method: str
    fields: Fields
    read: Callable[[Answer], Value]
    picture_field: str = ""
    done_before: int | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    """How an attempt failed, what can be done, and whether it may have been carried out.

    ``stale``: nothing was wrong but the connection, which was from before.
    """

    error: ServiceError
    action: Action
    maybe_done: bool = False
    wait_at_least_s: float = 0.0
    stale: bool = False


class Exchange:
    """Calls of one library's upstream. Thread-safe; raises ServiceErrors only."""

    def __init__(self, transport: Transport, tokens: TokenSource, pacer: Pacer) -> None:
        self._transport = transport
        self._tokens = tokens
        self._pacer = pacer
        self._budget = RetryBudget()
        self._calls: Tally[tuple[str, str]] = Tally()
        self._retries: Tally[str] = Tally()
        self._breaker = Gate(
            failures_max=limits.BREAKER_FAILURES,
            first_s=limits.BREAKER_FIRST_S,
            longest_s=limits.BREAKER_MAX_S,
            tells_when=True,
        )
        self._quota = Gate(
            failures_max=1,
            first_s=limits.EXHAUSTED_FIRST_S,
            longest_s=limits.EXHAUSTED_MAX_S,
            tells_when=False,
        )

    def call(self, call: Call[Value], ask: Ask) -> Value:
        """Make one call, with a new token or again where that helps."""
        body = form.pieces(call.fields)
        call.fields.clear()  # the picture is in the body now; it need not be there twice
        try:
            return self._settled(call, body, ask)
        finally:
            form.release(body)

    def prepare(self) -> None:
        """Begin to fetch a token if one is needed."""
        self._tokens.prepare()

    def vitals(self) -> Vitals:
        """Return how this upstream is doing."""
        return Vitals(
            token=self._tokens.vitals,
            pacer=self._pacer.vitals,
            breaker_open=self._breaker.closed,  # a closed gate is an open breaker
            probe_due=self._breaker.probe_due,
            quota_exhausted=self._quota.closed,
            calls=self._calls.counts(),
            call_s=self._calls.seconds(),
            retries=sum(self._retries.counts().values()),
        )

    def close(self) -> None:
        """Close the connections and the pacer."""
        self._pacer.close()
        self._transport.close()

    def _settled(self, call: Call[Value], body: form.Pieces, ask: Ask) -> Value:
        """Make attempts until one of them settles the call."""
        self._budget.save()
        maybe_done = replayed = reconnected = False
        attempt = 1
        while True:
            outcome = self._attempt(call, body, ask, maybe_done)
            if not isinstance(outcome, _Failure):
                return outcome
            maybe_done |= outcome.maybe_done
            if outcome.stale and not reconnected:
                reconnected = True
                attempt += 1
            elif outcome.action is Action.NEW_TOKEN and not replayed:
                replayed = True
                self._retries.add(call.method)
            elif outcome.action is Action.BACK_OFF and wait_before_retry(
                attempt, ask.deadline, self._budget, at_least_s=outcome.wait_at_least_s
            ):
                attempt += 1
                self._retries.add(call.method)
            elif call.method == "add" and maybe_done:
                raise _outcome_unknown(outcome.error)
            else:
                outcome.error.maybe_done = maybe_done
                raise outcome.error

    def _attempt(
        self, call: Call[Value], body: form.Pieces, ask: Ask, maybe_done: bool
    ) -> Value | _Failure:
        """Make one attempt; ``maybe_done``: an earlier one may have been carried out."""
        try:
            answer = self._answer(call.method, body, ask)
            settled = maybe_done and answer.words.code == call.done_before
            if settled or not answer.failed:
                return call.read(answer)
        except TransportFailure as failure:
            error = _unavailable(failure)
            if not failure.stale:
                self._breaker.failed(error)
            return _Failure(error, Action.BACK_OFF, failure.maybe_done, stale=failure.stale)
        except UpstreamProtocol as unreadable:
            return _Failure(unreadable, Action.BACK_OFF, maybe_done=True)
        except ServiceError as refused:
            return _Failure(refused, Action.FINAL)
        meaning = codes.meaning_of(answer.words.code)
        return _Failure(
            codes.error_of(answer.words, call.picture_field, answer.cont_sign),
            meaning.action,
            meaning.maybe_done,
            limits.QPS_BACKOFF_MIN_S if answer.words.code == codes.QPS_EXCEEDED else 0.0,
        )

    def _answer(self, method: str, body: form.Pieces, ask: Ask) -> Answer:
        """Return what the upstream answered, an error code too, and learn from it."""
        self._quota.check()
        self._breaker.check()
        token = self._tokens.get(ask.deadline)
        self._pacer.wait(ask, is_search=method == "search")
        ask.deadline.require()
        if not ask.still_waits():  # a slot of the quota is not spent on who has left
            raise ServerFault("the caller has left")
        answer = self._post(method, token, body, ask.deadline)
        if codes.meaning_of(answer.words.code).action is Action.NEW_TOKEN and answer.failed:
            self._tokens.reject(token)
        self._learn(answer)
        return answer

    def _post(self, method: str, token: Token, body: form.Pieces, deadline: Deadline) -> Answer:
        query = SealedText(f"?access_token={quote(token.value, safe='')}")
        outcome = _UNREACHABLE
        began_s = time.monotonic()
        try:
            answer = _read(*self._transport.post(_PATH + method, query, body, deadline))
            self._pacer.answered(time.monotonic() - began_s)
            outcome = codes.error_of(answer.words).reason if answer.failed else _OK
        except UpstreamProtocol as unreadable:
            outcome = unreadable.reason
            raise
        finally:
            self._calls.add((method, outcome), time.monotonic() - began_s)
        return answer

    def _learn(self, answer: Answer) -> None:
        """Tell breaker, quota and pacer what an answer says about the upstream."""
        if answer.words.code == codes.QPS_EXCEEDED:
            self._pacer.exceeded()
        error = codes.error_of(answer.words) if answer.failed else None
        if isinstance(error, UpstreamUnavailable):
            self._breaker.failed(error)
            return
        self._breaker.succeeded()
        if isinstance(error, QuotaExhausted):
            self._quota.failed(error)
        else:
            self._quota.succeeded()


def _read(status: int, content: SealedBytes) -> Answer:
    """Return the answer; an HTTP error without one is the gateway's, not the API's."""
    if status == _HTTP_OK:
        return answers.read(content)
    try:
        answer = answers.read(content)
        if answer.failed:
            return answer
    except UpstreamProtocol:
        pass
    if status >= _HTTP_SERVER_FAULT:
        raise TransportFailure("is out of service", maybe_done=True)
    raise UpstreamProtocol(f"the upstream answered with HTTP {status}")


def _unavailable(failure: TransportFailure) -> UpstreamUnavailable:
    return UpstreamUnavailable(
        f"the upstream {failure.what}", retry_after_s=limits.UPSTREAM_RETRY_S
    )


def _outcome_unknown(error: ServiceError) -> AddOutcomeUnknown:
    return AddOutcomeUnknown(
        "the picture may or may not have been stored; repeat the call with DUPLICATE_POLICY_KEEP",
        upstream=error.upstream or UpstreamWords(),
    )
