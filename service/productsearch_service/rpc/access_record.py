"""The canonical line of one RPC: who called what, how it ended, whose fault it was, and the waits.

``observability.logs`` writes it as JSON, or as words for people at a terminal. No field
holds a brief, an image, a URL or a secret.
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from json.encoder import encode_basestring
from typing import Final

from productsearch_service import limits
from productsearch_service.call_context import NOBODY, Trail
from productsearch_service.redaction import redact_name
from productsearch_service.rpc.call import OK, Call

NAME: Final = "productsearch.access"
_LOGGER: Final = logging.getLogger(NAME)
_HEAD: Final = ("time", "level", "logger")
_VERSION: Final = version("productsearch-service")
_NO_NAME: Final = '"-"'
_NO_WAITS: Final = '"place_ms":0.0,"fit_ms":0.0,"quota_ms":0.0,"token_ms":0.0,"retry_ms":0.0'


class AccessRecord(logging.LogRecord):
    """The lines of RPCs that are told of together: a record for each would cost more than its line.

    Each call's line has the time of its own end.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        super().__init__(NAME, logging.INFO, "", 0, "", (), None)
        self._calls = calls
        self._shift_s = time.time() - time.monotonic()

    def as_json(self, time_of: Callable[[float], str]) -> str:
        """Return a line for each call; ``time_of`` writes seconds of the wall clock."""
        return "\n".join(self._lines(time_of))

    def as_text(self, time_of: Callable[[float], str]) -> str:
        """Return the same in words, as lines of a log at a terminal."""
        told = map(json.loads, self._lines(time_of))
        return "\n".join(f"{it['time']} INFO {NAME} {_words(it)}" for it in told)

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the fields as words, a line for each call."""
        return "\n".join(_words(json.loads(line)) for line in self._lines(lambda _: ""))

    def _lines(self, time_of: Callable[[float], str]) -> Iterator[str]:
        heads: dict[tuple[object, ...], str] = {}
        for call in self._calls:
            ending, at_s = call.ending, call.ended_s + self._shift_s
            alike = (
                int(at_s), call.method, call.library_told, call.caller.name, call.peer,
                ending.code, ending.reason, ending.blame,
            )  # fmt: skip
            if (head := heads.get(alike)) is None:
                head = heads[alike] = _head(call, time_of(at_s))
            yield _as_json(call, head)


def _words(fields: dict[str, object]) -> str:
    told = {name: str(value) for name, value in fields.items() if name not in _HEAD}
    return " ".join(
        f"{name}={value if value.isprintable() else encode_basestring(value)}"
        for name, value in told.items()
    )


def _head(call: Call, at: str) -> str:
    """Return the begin of the line of a call that ended at the time ``at``.

    Calls that are alike share it. Secrets in names are masked.
    """
    ending = call.ending
    return (
        f'{{"time":"{at}","level":"INFO","logger":"{NAME}","rpc":"{call.method}",'
        f'"library":{_name(call.library_told)},"caller":{_name(call.caller.name)},'
        f'"peer":{_name(call.peer) if call.peer else _NO_NAME},'
        f'"code":"{ending.code}","reason":"{ending.reason}","blame":"{ending.blame}"'
    )


def _as_json(call: Call, head: str) -> str:
    """Return the line of a call. Written out: this is done for each one."""
    ending, trail = call.ending, call.trail
    return (
        f'{head},"upstream_code":{ending.upstream_code or trail.upstream_code},'
        f'"log_id":{ending.log_id or trail.log_id},"ms":{(call.ended_s - call.began_s) * 1000:.1f},'
        f'{_waits(trail)},"upstream_ms":{trail.upstream_s * 1000:.1f},'
        f'"upstream_outcome":"{trail.upstream_outcome}",'
        f'"attempts":{trail.attempts},"sent":"{"yes" if trail.attempts else "no"}",'
        f'"breaker":"{"open" if trail.kept_away else "-"}",'
        f'"bytes_in":{trail.bytes_in},"bytes_out":{trail.bytes_out},'
        f'"items":"{_items(trail) if trail.items else "-"}",'
        f'"trace_id":"{trail.trace_id or "-"}","version":"{_VERSION}"{_left_out(call)}}}'
    )


def _left_out(call: Call) -> str:
    return f',"left_out":{call.left_out}' if call.left_out else ""


def _name(name: str) -> str:
    return encode_basestring(redact_name(name))


def _waits(trail: Trail) -> str:
    if not (trail.quota_s or trail.waited):
        return _NO_WAITS
    return (
        f'"place_ms":{trail.place_s * 1000:.1f},"fit_ms":{trail.fit_s * 1000:.1f},'
        f'"quota_ms":{trail.quota_s * 1000:.1f},"token_ms":{trail.token_s * 1000:.1f},'
        f'"retry_ms":{trail.retry_s * 1000:.1f}'
    )


def _items(trail: Trail) -> str:
    return ",".join(
        f"{outcome}:{reason}={count}" if reason else f"{outcome}={count}"
        for (outcome, reason), count in tuple((trail.items or {}).items())
    )


class _Strangers:
    """Refusals of callers that proved no name: a line a second for those that are alike.

    They cost whoever sends them nothing, and must not fill the disk of the log. The next line says
    how many were left out; metrics count each.
    """

    def __init__(self) -> None:
        self._told_at_s: dict[tuple[str, str, str], float] = {}
        self._left_out: dict[tuple[str, str, str], int] = {}
        # Both have an entry for each method, code and reason: callers make up none of them.

    def told(self, call: Call) -> bool:
        """Return whether a call gets a line, which then knows how many got none."""
        kind = call.method, call.ending.code, call.ending.reason
        if call.ended_s - self._told_at_s.get(kind, -math.inf) < limits.STRANGERS_LINE_S:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        self._told_at_s[kind] = call.ended_s
        call.left_out = self._left_out.pop(kind, 0)
        return True


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Writes the lines: each error of a known caller, of strangers a line a second for errors that
    are alike, and of the successes the share ``successes`` (0 to 1).
    """

    successes: float = 1.0
    _strangers: _Strangers = field(default_factory=_Strangers)

    def write(self, calls: list[Call]) -> None:
        """Log calls that have ended."""
        if not _LOGGER.isEnabledFor(logging.INFO):
            return
        calls = [each for each in calls if each.caller is not NOBODY or self._strangers.told(each)]
        if self.successes < 1:
            calls = [each for each in calls if each.ending is not OK or self._is_drawn()]
        if calls:
            _LOGGER.handle(AccessRecord(calls))

    def _is_drawn(self) -> bool:
        return random.random() < self.successes  # noqa: S311 - no secret
