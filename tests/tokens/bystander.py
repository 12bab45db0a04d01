"""What a bystander knows for certain about a token source, while others use it."""

from __future__ import annotations

from dataclasses import dataclass

from productsearch_service import limits
from productsearch_service.upstream.token import Issued


@dataclass(frozen=True)
class Known:
    """What was certain when a caller began to ask."""

    patience_s: float
    began_s: float
    epoch: int
    failing: bool
    failures: int
    refused: frozenset[str]
    refused_generation: int

    @property
    def bound_s(self) -> float:
        """When the caller has to have an answer."""
        return self.began_s + min(self.patience_s, limits.TOKEN_WAIT_MAX_S)


class CurrentToken:
    """What a bystander knows for certain about the source's current token.

    A flight or a rotation is accepted somewhere between its beginning and its end; where these
    overlap with each other or with a rejection nothing is certain until the next one.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.newest: str | None = None
        self._until_s = 0.0
        self._overlap_until_s = float("inf")
        self._accepting = 0
        self._overlapped = self._doubt = False

    @property
    def quiet(self) -> bool:
        """Whether no new token is on its way in."""
        return not self._accepting

    def valid(self, now_s: float) -> bool:
        """Whether there certainly is a token that is valid."""
        return now_s < self._until_s

    def accepting(self) -> None:
        """A token is on its way in."""
        self._overlapped |= self._accepting > 0
        self._accepting += 1

    def accepted(self, issued: Issued, now_s: float, *, surely: bool) -> None:
        """A token has come in, or (not surely) was dropped because another overtook it."""
        self._accepting -= 1
        self._doubt |= not surely
        until_s = min(now_s + issued.expires_in_s, self._overlap_until_s)
        if self._accepting:
            self._overlap_until_s = until_s
            return
        self.newest = None if self._overlapped or self._doubt else issued.value
        self._until_s = 0.0 if self._doubt else until_s
        self._overlap_until_s = float("inf")
        self._overlapped = self._doubt = False

    def rejected(self) -> None:
        """The current token may be rejected any moment."""
        self.epoch += 1
        self._until_s = 0.0
        self._doubt = self._accepting > 0
