"""The errors with which calls are refused before they are begun, from more than one place."""

from __future__ import annotations

from productsearch_service import limits
from productsearch_service.errors import (
    FieldInvalid,
    ServerDraining,
    ServerOverloaded,
    Violation,
)


def stopping() -> ServerDraining:
    """Return the refusal of a replica that is about to stop."""
    return ServerDraining(
        "this replica is about to stop; call again and another one answers",
        retry_after_s=limits.DRAIN_RETRY_S,
    )


def wrong_request(described: str) -> FieldInvalid:
    """Return the error of a request that is no message."""
    return FieldInvalid(f"request: {described}", violations=(Violation("request", described),))


def late(timeout_s: float) -> FieldInvalid:
    """Return the error of a request that did not come."""
    return wrong_request(f"did not arrive within {timeout_s:g} s; send it with the call")


def overloaded(what: str) -> ServerOverloaded:
    """Return the refusal of a replica that is at a bound."""
    return ServerOverloaded(what, retry_after_s=limits.OVERLOAD_RETRY_S)
