"""The canonical line of one RPC: who called what, how it ended, whose fault it was, and the waits.

``observability.logs`` writes it as JSON, or as words for people at a terminal. No field
holds a brief, an image, a URL or a secret.
"""

from __future__ import annotations

import json
import logging
import random
from dataclasses import dataclass
from importlib.metadata import version
from json.encoder import encode_basestring
from typing import Final

from productsearch_service.call_context import Trail
from productsearch_service.redaction import redact_name

NAME: Final = "productsearch.access"
_LOGGER: Final = logging.getLogger(NAME)
_HEAD: Final = ("time", "level", "logger")
_TEMPLATE: Final = logging.makeLogRecord(
    {"name": NAME, "levelno": logging.INFO, "levelname": "INFO"}
).__dict__
_VERSION: Final = version("productsearch-service")


class AccessRecord(logging.LogRecord):
    """A record from a template: the usual one looks for file, thread and process of each RPC."""

    def __init__(
        self,
        rpc: str,
        library: str,
        caller: str,
        ending: Ending,
        trail: Trail,
        seconds: float,
        at_s: float,
    ) -> None:
        """``at_s``: when it ended, by the wall clock."""
        self.__dict__.update(_TEMPLATE)
        self.created = at_s
        self.rpc, self.library, self.caller = rpc, library, caller
        self.ending, self.trail, self.seconds = ending, trail, seconds

    def as_json(self, at: str) -> str:
        """Return the line at the time ``at``; secrets in names are masked.

        Written out, as only two members need an escape: this is done for each call.
        """
        ending, trail = self.ending, self.trail
        return (
            f'{{"time":"{at}","level":"INFO","logger":"{NAME}","rpc":"{self.rpc}",'
            f'"library":{encode_basestring(redact_name(self.library))},'
            f'"caller":{encode_basestring(redact_name(self.caller))},"code":"{ending.code}",'
            f'"reason":"{ending.reason}","blame":"{ending.blame}",'
            f'"upstream_code":{ending.upstream_code or trail.upstream_code},'
            f'"log_id":{ending.log_id or trail.log_id},"ms":{self.seconds * 1000:.1f},'
            f'"place_ms":{trail.place_s * 1000:.1f},"quota_ms":{trail.quota_s * 1000:.1f},'
            f'"token_ms":{trail.token_s * 1000:.1f},"retry_ms":{trail.retry_s * 1000:.1f},'
            f'"upstream_ms":{trail.upstream_s * 1000:.1f},'
            f'"upstream_outcome":"{trail.upstream_outcome}",'
            f'"attempts":{trail.attempts},"sent":"{"no" if trail.kept_away else "yes"}",'
            f'"bytes_in":{trail.bytes_in},"bytes_out":{trail.bytes_out},'
            f'"items":"{_items(trail) if trail.items else "-"}",'
            f'"trace_id":"{trail.trace_id or "-"}","version":"{_VERSION}"}}'
        )

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the fields as words, for people."""
        fields = json.loads(self.as_json(""))
        return " ".join(f"{name}={fields[name]}" for name in fields if name not in _HEAD)


def _items(trail: Trail) -> str:
    return ",".join(
        f"{outcome}:{reason}={count}" if reason else f"{outcome}={count}"
        for (outcome, reason), count in tuple((trail.items or {}).items())
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """How an RPC ended: its code, the reason of its error ("-": none), and who has to act."""

    code: str
    reason: str = "-"
    blame: str = "none"
    upstream_code: int = 0
    log_id: int = 0


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Writes the lines: each error, and of the successes the share ``successes`` (0 to 1)."""

    successes: float = 1.0

    def write(
        self,
        rpc: str,
        library: str,
        caller: str,
        ending: Ending,
        trail: Trail,
        seconds: float,
        at_s: float,
    ) -> None:
        """Log one RPC that took ``seconds`` and ended ``at_s``, by the wall clock."""
        if not _LOGGER.isEnabledFor(logging.INFO):
            return
        sampled = self.successes < 1 and ending.reason == "-" and ending.code == "OK"
        if sampled and random.random() >= self.successes:  # noqa: S311 - no secret
            return
        _LOGGER.handle(AccessRecord(rpc, library, caller, ending, trail, seconds, at_s))
