"""Watches a key pair for its successor and brings it into use without a restart."""

from __future__ import annotations

import logging

from productsearch_service import limits
from productsearch_service.periodic_task import PeriodicTask
from productsearch_service.upstream.auth.credentials import KeyPair
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
        place: str = "its place",
    ) -> None:
        """``where`` names the library and its URL in the log, ``place`` the folder of the pair."""
        super().__init__("looking for a new key pair", self._look, poll_s)
        self._issuer, self._tokens = issuer, tokens
        self._where, self._place = where, place
        self._seen: tuple[KeyPair | None, str] | None = None
        self._told: tuple[KeyPair | None, str] | None = None
        self._is_new = False
        """The last look found a new pair."""

    async def _look(self) -> None:
        issued = await self._issuer.replaced()
        if issued is not None:
            self._tokens.adopt(issued)
            _log.info("%s: a new key pair is in use", self._where)
        self._tell(is_new=issued is not None)

    def _tell(self, *, is_new: bool) -> None:
        """Log once for each new pair that it is not in use, and why.

        It must be there at two looks: files that are being changed may not fit for a moment.
        """
        refused = self._issuer.not_taken
        self._tokens.new_pair_refused = refused is not None
        now = None if refused is None else (refused[0], refused[1].message)
        if now == self._seen and now != self._told:
            self._told = now
            if now is not None:
                told = "%s: the key pair that is now in %s is not in use: %s; the one before stays"
                _log.error(told, self._where, self._place, now[1])
            elif not is_new and not self._is_new:
                told = "%s: the key pair in %s is the one in use again"
                _log.info(told, self._where, self._place)
        self._is_new = is_new
        self._seen = now
