"""W3C trace context, and what a call remembers of the times of its parts.

A call is found by what it calls, also in other threads, through a context variable. Once it has
ended its line is written, and spans are made of it if it is recorded (``server.spans``). Does not
know HTTP, and not OpenTelemetry.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import partial
from typing import NamedTuple, ParamSpec, TypeVar

HEADER = "traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_PARTS_MAX = 64

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Part(NamedTuple):
    """A part of a call: when it began and ended, in seconds since the call began."""

    name: str
    began_s: float
    ended_s: float


class Trace:
    """One call, in its caller's trace if ``trace_id`` names one.

    It adds up the seconds of each part; only a ``recorded`` one keeps when they were.
    """

    def __init__(self, trace_id: str, parent_id: int, *, recorded: bool) -> None:
        self.trace_id, self.parent_id, self.recorded = trace_id, parent_id, recorded
        self.began_at_s, self._began_s = time.time(), time.perf_counter()
        self.seconds = 0.0
        self.spent_s: dict[str, float] = {}
        """Of each part that there was."""
        self.library = ""
        """Its name; empty until it is known."""
        self.is_known = False
        """Its token is one of ours."""
        self.parts: list[Part] = []
        self.method = ""
        self.code = self.log_id = 0

    def part(self, name: str, seconds: float, ago_s: float = 0.0) -> None:
        """Note a part that took ``seconds`` and ended ``ago_s`` ago."""
        self.spent_s[name] = self.spent_s.get(name, 0.0) + seconds
        if self.recorded and len(self.parts) < _PARTS_MAX:
            ended_s = time.perf_counter() - self._began_s - ago_s
            self.parts.append(Part(name, max(0.0, ended_s - seconds), ended_s))

    def ended(self, method: str, code: int, log_id: int) -> None:
        """Note how the call ended, now."""
        self.seconds = time.perf_counter() - self._began_s
        self.method, self.code, self.log_id = method, code, log_id


Export = Callable[[Trace], None]
_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def begin(header: str | None, *, exports: bool) -> Trace:
    """Return the call that begins here, in the trace that its caller names, if it names one.

    It is recorded if its caller says so and the engine ``exports`` spans.
    """
    trace = _continued(header, exports=exports) or Trace("", 0, recorded=False)
    _current.set(trace)
    return trace


def _continued(header: str | None, *, exports: bool) -> Trace | None:
    found = _FORM.fullmatch(header) if header else None
    if found is None:
        return None
    version, trace_id, parent, flags, more = found.groups()
    if (
        version == "ff"
        or (version == "00" and more)
        or not int(trace_id, 16)
        or not int(parent, 16)
    ):
        return None
    return Trace(trace_id, int(parent, 16), recorded=exports and bool(int(flags, 16) & 1))


def stage(name: str, seconds: float, ago_s: float = 0.0) -> None:
    """Note a part of the call that runs, if one does."""
    if (trace := _current.get()) is not None:
        trace.part(name, seconds, ago_s)


def carried(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Return a function for another thread that tells its parts to the call that runs here."""
    return function if _current.get() is None else partial(copy_context().run, function)


def new_span_id() -> int:
    """Return an id for a span."""
    return random.getrandbits(64) or 1
