"""How an attempt of a call failed, and which of several failures its caller is told.

Knows what each failure says. Does not know whether there is time for another attempt.
"""

from __future__ import annotations

from dataclasses import dataclass

from productsearch_service.errors import (
    AddOutcomeUnknown,
    DeadlineTooShort,
    ImageUrlUnreachable,
    RateLimited,
    ServiceError,
    UpstreamProtocol,
    UpstreamUnavailable,
    UpstreamWords,
)
from productsearch_service.upstream.codes import Action


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed, what can be done, and whether it may have been carried out.

    ``stale``: nothing was wrong but the connection, which was from an earlier call.
    """

    error: ServiceError
    action: Action
    maybe_done: bool = False
    wait_at_least_s: float = 0.0
    stale: bool = False


def more_informative(told: ServiceError | None, latest: ServiceError) -> ServiceError:
    """Return the failure that says more of the two.

    A later attempt that ran out of time or of slots, or that got no answer, does not hide what the
    upstream said to an earlier one: its code, and where it was told so, what the image's host did.
    """
    if told is None or not _has_code(told):
        return latest
    vague = isinstance(
        latest, UpstreamUnavailable | UpstreamProtocol | DeadlineTooShort | RateLimited
    )
    hides = isinstance(told, ImageUrlUnreachable) or not _has_code(latest)
    return told if vague and hides else latest


def outcome_unknown(error: ServiceError) -> AddOutcomeUnknown:
    """Return what is told of an add that may have been carried out before it failed."""
    return AddOutcomeUnknown(
        "the image may or may not have been stored; repeat the call with DUPLICATE_POLICY_KEEP",
        upstream=error.upstream or UpstreamWords(),
    )


def _has_code(error: ServiceError) -> bool:
    return error.upstream is not None and error.upstream.code != 0
