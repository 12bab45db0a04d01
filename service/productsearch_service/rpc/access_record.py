"""The log record of one RPC: what it was, who made it, how it ended."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

_LOGGER: Final = logging.getLogger("productsearch.access")
_MESSAGE: Final = "rpc=%s library=%s caller=%s code=%s reason=%s upstream_code=%d log_id=%d ms=%.1f"
_TEMPLATE: Final = logging.makeLogRecord(
    {"name": _LOGGER.name, "levelno": logging.INFO, "levelname": "INFO", "msg": _MESSAGE}
).__dict__


class AccessRecord(logging.LogRecord):
    """A record from a template: the usual one looks for file, thread and process of each RPC."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.__dict__ |= _TEMPLATE
        self.args = args
        self.created = time.time()
        self.msecs = self.created % 1 * 1000


def write(*args: str | int | float) -> None:
    """Log an RPC: method, library, caller, code, reason, upstream's code and log_id, ms."""
    if _LOGGER.isEnabledFor(logging.INFO):
        _LOGGER.handle(AccessRecord(args))
