"""Where the service's log goes, and what never gets into it.

Secrets are kept out of messages at their source; this is the second line: whatever any library
logs, at any level, passes the redaction before it is written.
"""

from __future__ import annotations

import logging

from productsearch_service.redaction import redact


class RedactingFormatter(logging.Formatter):
    """Formats a record, its traceback too, and masks the secrets in the whole text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or the lines, of a record."""
        return redact(super().format(record))


def install(level: str) -> None:
    """Let the root logger write to stderr from ``level`` on, redacted."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        RedactingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
