"""Watches a key pair for its successor and brings it into use without a restart."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from productsearch_service import limits

if TYPE_CHECKING:
    from productsearch_service.upstream.issuer import TokenIssuer
    from productsearch_service.upstream.token import TokenSource

_log = logging.getLogger(__name__)


class Rotation:
    """Looks for a new pair every ``poll_s`` seconds, in a thread of its own until closed."""

    def __init__(
        self, issuer: TokenIssuer, tokens: TokenSource, poll_s: float = limits.CREDENTIALS_POLL_S
    ) -> None:
        self._issuer = issuer
        self._tokens = tokens
        self._poll_s = poll_s
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="rotation", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._poll_s):
            try:
                issued = self._issuer.replaced()
                if issued is not None:
                    self._tokens.adopt(issued)
                    _log.info("a new key pair is in use")
            except Exception:  # noqa: BLE001 - the watch must outlive whatever one look finds
                _log.error("looking for a new key pair failed in an unforeseen way")
