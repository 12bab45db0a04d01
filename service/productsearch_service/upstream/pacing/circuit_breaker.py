"""Keeps calls away from an upstream that cannot answer them, and probes whether it can again.

Two use it: the breaker of an upstream that fails, and the quota of the day (17, 19). Its states are
the usual ones. *Closed*: calls pass. *Open*: calls are refused with the error that opened it.
*Half-open*: the pause is over, and one call passes as a probe, while others wait a moment for what
it finds out. Its success closes the breaker for everyone; its failure doubles the pause.

Where the failures may be due to what was sent (``doubts``), each caller has a pause of its own, and
who has not seen such a failure is not kept away.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from productsearch_service.call_context import Deadline
from productsearch_service.errors import ServiceError
from productsearch_service.upstream.pacing.doubts import Doubts, Suspect

_EVERYONE: Final = None
"""Whose pause is that of all callers."""
_PAUSES_MAX: Final = 1024
_PROBE_S: Final = 5.0
"""After which another call may be a probe, too."""
_PROBE_WAIT_S: Final = 1.0
"""How long a call waits for what another one's probe finds out."""
_RETRY_MIN_S: Final = 0.05


@dataclass(eq=False, slots=True)
class _Pause:
    """When the next probe may go out, and the one that is under way."""

    at_s: float
    length_s: float
    probe: Probe | None = None


@dataclass(eq=False, slots=True)
class Probe:
    """The right to find out whether the upstream answers again; another call gets it after a while.

    ``over`` is done when the probe has ended, whatever it found out.
    """

    pause: _Pause = field(repr=False)
    until_s: float
    over: asyncio.Future[None] = field(repr=False)


class CircuitBreaker:
    """Opens after ``failures_max`` failures in a row.

    ``tells_when`` puts the time until the next probe into the refusals as RetryInfo. Times are in
    seconds of ``clock``.
    """

    def __init__(
        self,
        *,
        failures_max: int,
        open_s: float,
        open_max_s: float,
        tells_when: bool,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.error: ServiceError | None = None
        """What opened it; None: it is closed."""
        self.tell: Callable[[ServiceError | None], None] = lambda _: None
        """Is told what opened it, and None when it has closed."""
        self._failures_max = failures_max
        self._open_s = open_s
        self._open_max_s = open_max_s
        self._tells_when = tells_when
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self._by_answers = False
        self._doubts = Doubts(failures_max)
        self._pauses: dict[str | None, _Pause] = {}
        """Of everyone, or by caller; empty while it is closed."""

    @property
    def is_open(self) -> bool:
        """Whether calls are kept away; true while a probe is under way, too."""
        return self.error is not None

    @property
    def is_outage(self) -> bool:
        """Whether all callers are kept away, or more than one, and not for answers to inputs.

        Callers whose inputs the upstream answers with errors have these from any replica, and who
        sends others has none.
        """
        return _EVERYONE in self._pauses or (len(self._pauses) > 1 and not self._by_answers)

    @property
    def probe_due(self) -> bool:
        """Whether it is half-open: the next call passes as a probe."""
        now_s = self._clock()
        return any(
            now_s >= pause.at_s and (pause.probe is None or now_s >= pause.probe.until_s)
            for pause in self._pauses.values()
        )

    def wait_s(self, caller: str) -> float:
        """Return the seconds until a call of ``caller`` may pass, or be the next probe."""
        pause = self._pauses.get(_EVERYONE) or self._pauses.get(caller)
        if pause is None:
            return 0.0
        until_s = pause.at_s if pause.probe is None else max(pause.at_s, pause.probe.until_s)
        return max(0.0, until_s - self._clock())

    def check(self, caller: str) -> None:
        """Raise the error that opened the breaker if the pause of ``caller`` is not over."""
        pause = self._pauses.get(_EVERYONE) or self._pauses.get(caller)
        if self.error is not None and pause is not None and self._clock() < pause.at_s:
            raise self._refusal(self.error, caller)

    async def admit(self, caller: str, deadline: Deadline) -> Probe | None:
        """Wait until the call may go out; return its probe if it is one, to be given to ``ended``.

        Raises the error that opened the breaker if the call is kept away.
        """
        patience = deadline.capped(_PROBE_WAIT_S)
        while self.error is not None:
            pause = self._pauses.get(_EVERYONE) or self._pauses.get(caller)
            if pause is None:  # others have seen failures, which may be of their own making
                return None
            now_s = self._clock()
            other = pause.probe
            if now_s >= pause.at_s and (other is None or now_s >= other.until_s):
                over = asyncio.get_running_loop().create_future()
                pause.probe = Probe(pause, now_s + _PROBE_S, over)
                return pause.probe
            if now_s < pause.at_s or other is None or not patience.remaining_s():
                raise self._refusal(self.error, caller)
            await asyncio.wait({other.over}, timeout=patience.remaining_s())
        return None

    def ended(self, probe: Probe | None) -> None:
        """Give a probe back, answered or not: without an answer, the next call is the probe."""
        if probe is None:
            return
        if probe.pause.probe is probe:
            probe.pause.probe = None
        if not probe.over.done():
            probe.over.set_result(None)

    def answered(self, caller: str) -> None:
        """Learn that the upstream answered a call."""
        self._doubts.answered(caller, self._clock())
        self._failures = 0
        if self.error is not None:
            self.error = None
            self._forget_pauses()
            self.tell(None)

    def failed(
        self, error: ServiceError, caller: str, probe: Probe | None, suspect: Suspect | None = None
    ) -> None:
        """Learn that a call failed; ``suspect``: what was sent may be the reason."""
        self._failures += suspect is None
        opens = self._failures >= self._failures_max
        if suspect is not None:
            if self.error is None:
                self._by_answers = suspect.answered
            opens = self._doubts.say_down(suspect, caller, self._clock())
        if self.error is None:
            if opens:
                self._open(error, (_EVERYONE,) if suspect is None else self._doubts.callers)
        elif _EVERYONE in self._pauses:
            if probe is not None and suspect is None:
                self._lengthen(probe.pause, error)
            elif probe is not None:  # it answers again, and whether it fails others is not known
                self._open(error, (caller,))
        elif suspect is None and opens:
            self._open(error, (_EVERYONE,))
        elif probe is not None:
            self._lengthen(probe.pause, error)
        else:
            self._pause(caller)

    def _open(self, error: ServiceError, callers: tuple[str | None, ...]) -> None:
        self._forget_pauses()
        was_closed, self.error = self.error is None, error
        for caller in callers:
            self._pause(caller)
        if was_closed:
            self.tell(error)

    def _lengthen(self, pause: _Pause, error: ServiceError) -> None:
        self.error = error
        pause.length_s = min(pause.length_s * 2, self._open_max_s)
        pause.at_s = self._clock() + pause.length_s * self._chance(0.8, 1.0)

    def _pause(self, caller: str | None) -> None:
        if caller in self._pauses:  # the call went out before the pause began
            return
        if len(self._pauses) >= _PAUSES_MAX:
            del self._pauses[next(iter(self._pauses))]
        at_s = self._clock() + self._open_s * self._chance(0.8, 1.0)
        self._pauses[caller] = _Pause(at_s, self._open_s)

    def _forget_pauses(self) -> None:
        for pause in self._pauses.values():
            self.ended(pause.probe)
        self._pauses = {}

    def _refusal(self, error: ServiceError, caller: str) -> ServiceError:
        message, wait_s = f"{error.message}; this call was not sent", None
        if self._tells_when:
            wait_s = max(self.wait_s(caller), _RETRY_MIN_S)
            message += f"; the next one is in {wait_s:.1f} s"
        return replace(error, message=message, retry_after_s=wait_s, maybe_done=False)
