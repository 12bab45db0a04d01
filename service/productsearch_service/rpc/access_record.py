"""The canonical line of one RPC: who called what, how it ended, whose fault it was, and the waits.

A record holds the fields; ``observability.logs`` writes them as JSON, or as words for people at a
terminal. No field holds a brief, an image, a URL or a secret.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from importlib.metadata import version
from json.encoder import encode_basestring
from typing import Any, Final

from productsearch_service.call_context import Trail
from productsearch_service.redaction import redact

NAME: Final = "productsearch.access"
_LOGGER: Final = logging.getLogger(NAME)
_MESSAGE: Final = (
    "rpc=%(rpc)s library=%(library)s caller=%(caller)s code=%(code)s reason=%(reason)s "
    "blame=%(blame)s upstream_code=%(upstream_code)d log_id=%(log_id)d ms=%(ms).1f "
    "place_ms=%(place_ms).1f quota_ms=%(quota_ms).1f token_ms=%(token_ms).1f "
    "upstream_ms=%(upstream_ms).1f attempts=%(attempts)d sent=%(sent)s "
    "bytes_in=%(bytes_in)d bytes_out=%(bytes_out)d items=%(items)s version=%(version)s"
)
_JSON: Final = (
    '{"time":"%(time)s","level":"INFO","logger":"productsearch.access","rpc":"%(rpc)s",'
    '"library":%(library)s,"caller":%(caller)s,"code":"%(code)s","reason":"%(reason)s",'
    '"blame":"%(blame)s","upstream_code":%(upstream_code)d,"log_id":%(log_id)d,"ms":%(ms).1f,'
    '"place_ms":%(place_ms).1f,"quota_ms":%(quota_ms).1f,"token_ms":%(token_ms).1f,'
    '"upstream_ms":%(upstream_ms).1f,"attempts":%(attempts)d,"sent":"%(sent)s",'
    '"bytes_in":%(bytes_in)d,"bytes_out":%(bytes_out)d,"items":"%(items)s","version":"%(version)s"}'
)
"""The same as JSON: with a template, as only two of its members need an escape."""
_TEMPLATE: Final = logging.makeLogRecord(
    {"name": NAME, "levelno": logging.INFO, "levelname": "INFO", "msg": _MESSAGE}
).__dict__
_VERSION: Final = version("productsearch-service")


class AccessRecord(logging.LogRecord):
    """A record from a template: the usual one looks for file, thread and process of each RPC."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.__dict__ |= _TEMPLATE
        self.args = fields
        self.created = time.time()
        self.msecs = self.created % 1 * 1000


def as_json(fields: dict[str, Any], at: str) -> str:
    """Return the line of a record's fields at the time ``at``; secrets in names are masked."""
    library = encode_basestring(redact(fields["library"]))
    caller = encode_basestring(redact(fields["caller"]))
    return _JSON % (fields | {"time": at, "library": library, "caller": caller})


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
        self, rpc: str, library: str, caller: str, ending: Ending, trail: Trail, seconds: float
    ) -> None:
        """Log one RPC."""
        if not _LOGGER.isEnabledFor(logging.INFO):
            return
        sampled = self.successes < 1 and ending.reason == "-" and ending.code == "OK"
        if sampled and random.random() >= self.successes:  # noqa: S311 - no secret
            return
        items = trail.items and {
            f"{outcome}:{reason}" if reason else outcome: count
            for (outcome, reason), count in trail.items.items()
        }
        fields = {
            "rpc": rpc,
            "library": library,
            "caller": caller,
            "code": ending.code,
            "reason": ending.reason,
            "blame": ending.blame,
            "upstream_code": ending.upstream_code or trail.upstream_code,
            "log_id": ending.log_id or trail.log_id,
            "ms": seconds * 1000,
            "place_ms": trail.place_s * 1000,
            "quota_ms": trail.quota_s * 1000,
            "token_ms": trail.token_s * 1000,
            "upstream_ms": trail.upstream_s * 1000,
            "attempts": trail.attempts,
            "sent": "no" if trail.kept_away else "yes",
            "bytes_in": trail.bytes_in,
            "bytes_out": trail.bytes_out,
            "items": ",".join(f"{name}={count}" for name, count in items.items()) if items else "-",
            "version": _VERSION,
        }
        _LOGGER.handle(AccessRecord(fields))
