"""Everything that can go wrong, as the exceptions that are raised where it is noticed.

::

    ServiceError
    ├── RequestError                      what was sent is wrong: carries Violations
    │   ├── FieldInvalid
    │   ├── ImageUnreadable
    │   ├── ImageSizeInvalid
    │   ├── PageTokenInvalid
    │   ├── ResultWindowExceeded
    │   └── DeadlineTooShort
    ├── CallerError                       who sent it may not
    │   ├── CallerUnauthenticated
    │   └── CallerForbidden
    ├── LibraryError                      the library says no
    │   ├── LibraryUnknown
    │   ├── LibraryNotReady
    │   ├── LibraryFull
    │   ├── ImageUrlUnreachable
    │   ├── ImageAlreadyExists            carries cont_sign
    │   └── ImageNotFound
    ├── Refusal                           not now: carries retry_after_s where waiting helps
    │   ├── RateLimited
    │   ├── QuotaExhausted
    │   ├── ServerOverloaded
    │   └── ServerDraining
    ├── UpstreamError                     the other side failed
    │   ├── UpstreamUnavailable           carries retry_after_s
    │   ├── AddOutcomeUnknown
    │   ├── UpstreamCredentialsRejected
    │   └── UpstreamProtocol
    └── ServerFault                       this side failed

``reason`` is the name of the ErrorReason value; the status module turns an error into a
google.rpc.Status. Messages are fixed sentences and checked values: never text of a foreign
exception, which may hold a URL with a token in it. Knows neither gRPC nor HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from productsearch_service import limits


def quoted(text: str) -> str:
    """Return what a caller sent, in quotes and short: an error has to fit into trailers."""
    return repr(text[: limits.QUOTED_CHARS_MAX])


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path from the request, what was wrong and what would be right."""

    field: str
    description: str
    reason: str = "FIELD_INVALID"


@dataclass(frozen=True, slots=True)
class UpstreamWords:
    """What the upstream said: its code (0: none), message and log_id (0: none)."""

    code: int = 0
    message: str = ""
    log_id: int = 0


class ServiceError(Exception):
    """An error that a caller is told of.

    ``maybe_done``: an earlier attempt of the call, whose answer was lost, may have been carried
    out. It is for the rooms between, and not told.
    """

    reason: ClassVar[str]
    maybe_done = False

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[Violation, ...] = (),
        retry_after_s: float | None = None,
        upstream: UpstreamWords | None = None,
        cont_sign: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations
        self.retry_after_s = retry_after_s
        self.upstream = upstream
        self.cont_sign = cont_sign

    def again(self) -> ServiceError:
        """Return a copy, for everyone who shares an error: one object is not raised twice."""
        return type(self)(
            self.message,
            violations=self.violations,
            retry_after_s=self.retry_after_s,
            upstream=self.upstream,
            cont_sign=self.cont_sign,
        )


class RequestError(ServiceError):
    """What was sent cannot be carried out as it is."""


class FieldInvalid(RequestError):
    """One or more fields are missing or out of range."""

    reason = "FIELD_INVALID"


class ImageUnreadable(RequestError):
    """The picture is in no format that the upstream reads, or damaged."""

    reason = "IMAGE_UNREADABLE"


class ImageSizeInvalid(RequestError):
    """The picture has too many or too few pixels or bytes."""

    reason = "IMAGE_SIZE_INVALID"


class PageTokenInvalid(RequestError):
    """The page token belongs to another search, or to none."""

    reason = "PAGE_TOKEN_INVALID"


class ResultWindowExceeded(RequestError):
    """The page begins past the last rank that can be reached."""

    reason = "RESULT_WINDOW_EXCEEDED"


class DeadlineTooShort(RequestError):
    """Too little time is left for a call to the upstream."""

    reason = "DEADLINE_TOO_SHORT"


class CallerError(ServiceError):
    """Who calls may not do this."""


class CallerUnauthenticated(CallerError):
    """The caller is not known."""

    reason = "CALLER_UNAUTHENTICATED"


class CallerForbidden(CallerError):
    """The caller is known and not allowed to."""

    reason = "CALLER_FORBIDDEN"


class LibraryError(ServiceError):
    """The library, as it is now, does not allow the call."""


class LibraryUnknown(LibraryError):
    """Settings name no such library."""

    reason = "LIBRARY_UNKNOWN"


class LibraryNotReady(LibraryError):
    """The upstream has the account and not the library."""

    reason = "LIBRARY_NOT_READY"


class LibraryFull(LibraryError):
    """The library has no room left."""

    reason = "LIBRARY_FULL"


class ImageUrlUnreachable(LibraryError):
    """The upstream could not download the picture."""

    reason = "IMAGE_URL_UNREACHABLE"


class ImageAlreadyExists(LibraryError):
    """The same picture is stored; ``cont_sign`` says under which signature."""

    reason = "IMAGE_ALREADY_EXISTS"


class ImageNotFound(LibraryError):
    """The picture is not stored."""

    reason = "IMAGE_NOT_FOUND"


class Refusal(ServiceError):
    """The call was not begun."""


class RateLimited(Refusal):
    """The calls per second are used up."""

    reason = "RATE_LIMITED"


class QuotaExhausted(Refusal):
    """The calls per day, or all there were, are used up."""

    reason = "QUOTA_EXHAUSTED"


class ServerOverloaded(Refusal):
    """This replica is at one of its bounds."""

    reason = "SERVER_OVERLOADED"


class ServerDraining(Refusal):
    """This replica is about to stop."""

    reason = "SERVER_DRAINING"


class UpstreamError(ServiceError):
    """The upstream failed, or what it said made no sense."""


class UpstreamUnavailable(UpstreamError):
    """The upstream is out of reach, at fault or too slow."""

    reason = "UPSTREAM_UNAVAILABLE"


class AddOutcomeUnknown(UpstreamError):
    """An add may have been carried out, and asking again did not settle it."""

    reason = "ADD_OUTCOME_UNKNOWN"


class UpstreamCredentialsRejected(UpstreamError):
    """The upstream refuses the API key, the secret, or a new token."""

    reason = "UPSTREAM_CREDENTIALS_REJECTED"


class UpstreamProtocol(UpstreamError):
    """The upstream's answer cannot be read, or its code is in no table."""

    reason = "UPSTREAM_PROTOCOL"


class ServerFault(ServiceError):
    """A fault of this service."""

    reason = "SERVER_FAULT"
