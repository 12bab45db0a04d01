"""What a bystander knows about a token source while others use it."""

from __future__ import annotations

from dataclasses import dataclass

from productsearch_service import limits
from productsearch_service.upstream.auth.token import Issued


@dataclass(frozen=True)
class Known:
    """What was the case when a caller began to ask."""

    patience_s: float
    began_s: float
    iteration: int
    """Of the loop."""
    valid: bool
    """There was a valid token."""
    failing: bool
    """The last flight had failed."""
    failures: int
    refused: frozenset[str]
    refused_generation: int

    @property
    def bound_s(self) -> float:
        """When the caller has to have an answer."""
        return self.began_s + min(self.patience_s, limits.TOKEN_WAIT_MAX_S)


class CurrentToken:
    """The token that the source has to serve: the last one accepted, until rejected or expired."""

    def __init__(self) -> None:
        self.value: str | None = None
        self._expires_at_s = 0.0

    def valid(self, now_s: float) -> bool:
        """Whether there is a token that is valid."""
        return self.value is not None and now_s < self._expires_at_s

    def accepted(self, issued: Issued, now_s: float) -> None:
        """A token has come in."""
        self.value = issued.value
        self._expires_at_s = now_s + issued.expires_in_s

    def rejected(self) -> None:
        """The upstream rejected it."""
        self.value = None


class Gate:
    """When the source may ask again: 1 s after a failure, doubling to 5 min, with jitter."""

    def __init__(self, part: float) -> None:
        self._jitter = 0.8 + part * 0.4
        self._failures = 0
        self.until_s = 0.0

    @property
    def failing(self) -> bool:
        """Whether the last flight failed."""
        return self._failures > 0

    def close(self, now_s: float, *, hopeless: bool) -> None:
        """A flight failed; ``hopeless``: the key pair was rejected."""
        doubled_s = limits.TOKEN_GATE_FIRST_S * 2**self._failures * self._jitter
        self.until_s = now_s + min(
            limits.TOKEN_GATE_MAX_S if hopeless else doubled_s, limits.TOKEN_GATE_MAX_S
        )
        self._failures += 1

    def open(self) -> None:
        """A token was accepted."""
        self._failures = 0
        self.until_s = 0.0
