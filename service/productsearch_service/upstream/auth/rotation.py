"""Watches a key pair for its successor and brings it into use without a restart."""

from __future__ import annotations

import logging

from productsearch_service import limits
from productsearch_service.periodic_task import PeriodicTask
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import TokenSource

_log = logging.getLogger(__name__)


class Rotation:
    """Looks for a new pair every ``poll_s`` seconds, from ``start`` until ``stop``."""

    def __init__(
        self, issuer: TokenIssuer, tokens: TokenSource, poll_s: float = limits.CREDENTIALS_POLL_S
    ) -> None:
        self._issuer = issuer
        self._tokens = tokens
        self._task = PeriodicTask("looking for a new key pair", self._look, poll_s)

    def start(self) -> None:
        """Begin; needs a running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """End, in the middle of a look if there is one under way."""
        await self._task.stop()

    async def _look(self) -> None:
        issued = await self._issuer.replaced()
        if issued is not None:
            self._tokens.adopt(issued)
            _log.info("a new key pair is in use")
