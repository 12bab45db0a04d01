"""Keeps calls away from an upstream that is down or whose quota is used up, and learns which it is.

Two circuit breakers, and what each outcome of a call says to them. What says nothing of the
upstream reaches neither: a timeout at the caller's own deadline, a kept connection that was closed,
an image host that is slow.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from productsearch_service import limits
from productsearch_service.call_context import CallContext, Deadline
from productsearch_service.errors import (
    QuotaExhausted,
    RateLimited,
    ServerOverloaded,
    ServiceError,
    UpstreamProtocol,
    UpstreamUnavailable,
)
from productsearch_service.upstream import codes
from productsearch_service.upstream.answers import Answer
from productsearch_service.upstream.http.failure import UNCONNECTED, TransportFailure
from productsearch_service.upstream.pacing.circuit_breaker import CircuitBreaker, Probe
from productsearch_service.upstream.pacing.doubts import Suspect

_log = logging.getLogger(__name__)

Probes = dict[CircuitBreaker, Probe]
"""What a call is a probe of."""

_NOT_THE_INPUTS: Final = frozenset({UNCONNECTED, "failed TLS verification"})
"""Failures that no input causes."""
_INPUT_BYTES: Final = 4096


@dataclass(slots=True)
class Sent:
    """A request that went out: its form, for whom, when, and what it is a probe of."""

    fields: Mapping[str, str | tuple[bytes, ...]]
    context: CallContext
    at_s: float
    probes: Probes


class Silence:
    """Tells of an upstream that takes requests and answers none of them.

    Timeouts at callers' own deadlines open no breaker: each of them says little. All calls together
    do, after a while.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._since_s = 0.0
        self._calls = 0
        self._told = False

    def heard(self) -> None:
        """Note an answer."""
        if self._told:
            _log.info("%s: the upstream answers again", self._where)
        self._calls, self._told = 0, False

    def waited(self, began_s: float) -> None:
        """Note a request that was begun then, and had no answer when its time was over."""
        if not self._calls:
            self._since_s = began_s
        self._calls += 1
        silent_s = time.monotonic() - self._since_s
        if not self._told and self._calls >= limits.SILENT_CALLS and silent_s >= limits.SILENT_S:
            self._told = True
            told = "%s: the upstream takes requests and answers none, for %.0f s and %d requests"
            _log.warning(told, self._where, silent_s, self._calls)


class Throttle:
    """Tells that the upstream refuses calls over its calls per second, and that it no longer does.

    With a quota set here the pacer keeps calls below it; without one nothing else says so.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._last_s = 0.0
        self._calls = 0

    def learn(self, *, refused: bool) -> None:
        """Note an answer."""
        if refused:
            self._last_s = time.monotonic()
            self._calls += 1
            if self._calls == 1:
                told = "%s: the upstream refuses calls over its calls per second (error 18)"
                _log.warning(told, self._where)
        elif self._calls and time.monotonic() - self._last_s >= limits.THROTTLE_OVER_S:
            told = (
                "%s: the upstream has refused no call for %.0f s; before it refused %d (error 18)"
            )
            _log.info(told, self._where, limits.THROTTLE_OVER_S, self._calls)
            self._calls = 0


class Gates:
    """The circuit breakers of one upstream: of its failures, and of its quota."""

    def __init__(
        self,
        breaker: CircuitBreaker,
        refused: Callable[[str], None] = lambda _: None,
        where: str = "",
    ) -> None:
        self.breaker = breaker
        self._silence = Silence(where)
        self._throttle = Throttle(where)
        self._refused = refused
        self.quota = CircuitBreaker(
            failures_max=1,
            open_s=limits.EXHAUSTED_FIRST_S,
            open_max_s=limits.EXHAUSTED_MAX_S,
            tells_when=False,
        )
        self._both = (self.quota, breaker)
        self.breaker.tell = partial(_tell, "the circuit breaker", where)
        self.quota.tell = partial(_tell, "the quota's gate", where)

    def check(self, context: CallContext) -> None:
        """Raise the error that closed a gate if a call cannot be admitted soon.

        It takes no probe: what waits for a slot would keep it from others.
        """
        for gate in self._both:
            with self._refusing(gate, context):
                gate.check(context.caller.name)

    async def admit(self, probes: Probes, context: CallContext, deadline: Deadline) -> None:
        """Wait until a call may go out, and note what it is a probe of; for while one is open.

        Raises the error that closed a gate, UpstreamUnavailable or QuotaExhausted.
        """
        for gate in self._both:
            if gate not in probes:
                with self._refusing(gate, context):
                    probe = await gate.admit(context.caller.name, deadline)
                if probe is not None:
                    probes[gate] = probe

    @contextmanager
    def _refusing(self, gate: CircuitBreaker, context: CallContext) -> Iterator[None]:
        """Note a call that ``gate`` refuses."""
        try:
            yield
        except ServiceError:
            context.trail.not_sent = True
            self._refused("quota" if gate is self.quota else "failures")
            raise

    def learn(self, answer: Answer, sent: Sent) -> None:
        """Learn from an answer."""
        self._silence.heard()
        refused = answer.failed and codes.meaning_of(answer.words).error is RateLimited
        self._throttle.learn(refused=refused)
        caller = sent.context.caller.name
        if answer.failed:
            words = answer.words
            error = codes.error_of(words)
            unread = words.http_status and isinstance(error, UpstreamProtocol)
            if words.code in codes.MAYBE_THE_INPUTS or unread:
                self._doubt(error, sent, answered=True)
                return
            if isinstance(error, UpstreamUnavailable):
                self.breaker.failed(error, caller, sent.probes.get(self.breaker))
                return
            if isinstance(error, QuotaExhausted):
                self.quota.failed(error, caller, sent.probes.get(self.quota))
                return
            if words.code == codes.URL_SLOW or words.http_status:  # a proxy's is not the API's
                return
        self.breaker.answered(caller)
        if self.quota.error is not None and not 0 < answer.words.code <= codes.GATEWAYS_MAX:
            self.quota.answered(caller)  # the gateway counts what it passes on

    def learn_failure(self, failure: TransportFailure | UpstreamProtocol, sent: Sent) -> None:
        """Learn that no answer came, or one that cannot be read."""
        if isinstance(failure, TransportFailure) and failure.unanswered:
            self._silence.waited(sent.at_s)
        if isinstance(failure, UpstreamProtocol):
            self._doubt(failure, sent, answered=True)
        elif _tells_of_upstream(failure, sent.context):
            error = error_of(failure)
            if failure.what in _NOT_THE_INPUTS:
                caller = sent.context.caller.name
                self.breaker.failed(error, caller, sent.probes.get(self.breaker))
            else:
                self._doubt(error, sent, answered=False)

    def _doubt(self, error: ServiceError, sent: Sent, *, answered: bool) -> None:
        """Let the breaker learn of a failure that may be due to what was sent."""
        if not isinstance(error, UpstreamUnavailable):  # what others are told is not their answer
            error = UpstreamUnavailable(error.message, upstream=error.upstream)
        suspect = Suspect(_input_of(sent.fields), sent.at_s, answered)
        probe = sent.probes.get(self.breaker)
        self.breaker.failed(error, sent.context.caller.name, probe, suspect)


def _tell(gate: str, where: str, cause: ServiceError | None) -> None:
    """Log that a gate opened, and why, or that it closed."""
    if cause is None:
        _log.info("%s: %s closed: the upstream answers again", where, gate)
    else:
        _log.warning("%s: %s opened: %s (%s)", where, gate, cause.message, cause.reason)


def error_of(failure: TransportFailure) -> ServiceError:
    """Return what callers are told of a failure."""
    if failure.is_ours:
        return ServerOverloaded(
            f"this replica {failure.what}", retry_after_s=limits.OVERLOAD_RETRY_S
        )
    wait_s = max(limits.UPSTREAM_RETRY_S, failure.retry_after_s)
    return UpstreamUnavailable(f"the upstream {failure.what}", retry_after_s=wait_s)


def _tells_of_upstream(failure: TransportFailure, context: CallContext) -> bool:
    """Whether a failure says something about the upstream.

    A stale connection does not, nor what this replica lacks. Neither does a timeout at the caller's
    own deadline: a short one ends calls that a healthy upstream would have answered.
    """
    if failure.stale or failure.is_ours:
        return False
    return not (failure.timed_out and context.deadline.remaining_s() < limits.DEADLINE_SHAVE_S)


def _input_of(fields: Mapping[str, str | tuple[bytes, ...]]) -> int:
    """Return what tells one image, URL or signature from another, of a large one by its ends.

    Whatever else a form says, its image is what the upstream may be unable to process.
    """
    names = ("image", "url", "cont_sign")
    value = next((fields[name] for name in names if name in fields), "")
    if isinstance(value, str):
        return hash(value)
    first, last = b"".join(value[:1]), b"".join(value[-1:])
    return hash((sum(map(len, value)), first[:_INPUT_BYTES], last[-_INPUT_BYTES:]))
