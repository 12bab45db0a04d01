"""Watches a key pair for its successor and brings it into use without a restart."""

from __future__ import annotations

import logging

from productsearch_service import limits
from productsearch_service.periodic_task import PeriodicTask
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import TokenSource

_log = logging.getLogger(__name__)


class Rotation(PeriodicTask):
    """Looks for a new pair every ``poll_s`` seconds."""

    def __init__(
        self,
        issuer: TokenIssuer,
        tokens: TokenSource,
        poll_s: float = limits.CREDENTIALS_POLL_S,
        where: str = "",
    ) -> None:
        async def look() -> None:
            issued = await issuer.replaced()
            if issued is not None:
                tokens.adopt(issued)
                _log.info("%s: a new key pair is in use", where)

        super().__init__("looking for a new key pair", look, poll_s)
