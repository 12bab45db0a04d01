"""Watches a key pair for its successor and brings it into use without a restart."""

from __future__ import annotations

import logging
from typing import Final

from productsearch_service import limits
from productsearch_service.periodic_task import PeriodicTask
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import TokenSource

_NOT_USED: Final = "%s: the key pair was changed and is not used, the old one is: %s"
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
        seen = told = ""

        async def look() -> None:
            nonlocal seen, told
            issued = await issuer.replaced()
            why_not = issuer.why_not_replaced
            # Twice: files that are being changed may not fit together for a moment.
            if why_not == seen and why_not != told:
                told = why_not
                if why_not:
                    _log.warning(_NOT_USED, where, why_not)
            seen = why_not
            if issued is not None:
                tokens.adopt(issued)
                _log.info("%s: a new key pair is in use", where)

        super().__init__("looking for a new key pair", look, poll_s)
