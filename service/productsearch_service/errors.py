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

``reason`` is the name of the ErrorReason value: FIELD_INVALID for FieldInvalid. ``blame`` says who
has to act: the ``caller``, the ``facade`` (its settings, key pairs and bounds), the ``quota``, the
``upstream``, or ``none``. ``rpc.status`` turns an error into a google.rpc.Status. Messages are
fixed sentences and checked values: never text of a foreign exception, which may hold a URL with a
token in it.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Final, Literal, Self

from productsearch_service import limits

Blame = Literal["caller", "facade", "quota", "upstream", "none"]
BLAMES: Final[tuple[Blame, ...]] = ("caller", "facade", "quota", "upstream", "none")
"""Who has to act when a call fails; exactly one for each reason."""
_BLAME_OF: Final[dict[str, Blame]] = {}


def blame_of(reason: str) -> Blame:
    """Return who has to act when a call fails for ``reason``."""
    return _BLAME_OF[reason]


def quoted(text: str) -> str:
    """Return what a caller sent, in quotes and short: an error has to fit into trailers."""
    return repr(text[: limits.QUOTED_CHARS_MAX])


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path from the request, what was wrong and what would be right."""

    field: str
    description: str
    reason: str = "FIELD_INVALID"


@dataclass(slots=True)
class UpstreamWords:
    """What the upstream said: its code (0: none), message and log_id (0: none).

    ``http_status`` is set where it refused a call by that alone; ``retry_after_s`` is how long it
    then wants to be left alone.
    """

    code: int = 0
    message: str = ""
    log_id: int = 0
    http_status: int = 0
    retry_after_s: float = 0.0


@dataclass(eq=False, repr=False)
class ServiceError(Exception):
    """An error that a caller is told of.

    ``maybe_done``: an earlier attempt of the call, whose answer was lost, may have been carried
    out. Internal: used by Library, never sent to the caller. ``cause`` is for the log alone: which
    host, and what became of the connection.
    """

    reason: ClassVar[str]
    blame: ClassVar[Blame]
    message: str
    _: KW_ONLY
    violations: tuple[Violation, ...] = ()
    retry_after_s: float | None = None
    upstream: UpstreamWords | None = None
    cont_sign: str | None = None
    maybe_done: bool = False
    cause: str = ""

    def __init_subclass__(cls) -> None:
        cls.reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()
        if hasattr(cls, "blame"):
            _BLAME_OF[cls.reason] = cls.blame

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def copy(self) -> Self:
        """Return a copy: whoever shares an error raises one of its own, with its own traceback."""
        return replace(self, maybe_done=False)


class RequestError(ServiceError):
    """What was sent cannot be carried out as it is."""

    blame: ClassVar[Blame] = "caller"


class FieldInvalid(RequestError):
    """One or more fields are missing or out of range."""


class ImageUnreadable(RequestError):
    """The image is in no format that the upstream reads, or damaged."""


class ImageSizeInvalid(RequestError):
    """The image has too many or too few pixels or bytes."""


class PageTokenInvalid(RequestError):
    """The page token belongs to another search, or to none."""


class ResultWindowExceeded(RequestError):
    """The page begins past the last rank that can be reached."""


class DeadlineTooShort(RequestError):
    """Too little time is left for a call to the upstream."""


class CallerError(ServiceError):
    """Who calls may not do this."""

    blame: ClassVar[Blame] = "caller"


class CallerUnauthenticated(CallerError):
    """The caller is not known."""


class CallerForbidden(CallerError):
    """The caller is known and not allowed to."""


class LibraryError(ServiceError):
    """The library, as it is now, does not allow the call."""

    blame: ClassVar[Blame] = "none"


class LibraryUnknown(LibraryError):
    """Settings name no such library."""

    blame: ClassVar[Blame] = "caller"


class LibraryNotReady(LibraryError):
    """The upstream has the account and not the library."""

    blame: ClassVar[Blame] = "upstream"


class LibraryFull(LibraryError):
    """The library has no room left."""

    blame: ClassVar[Blame] = "quota"


class ImageUrlUnreachable(LibraryError):
    """The upstream could not download the image."""

    blame: ClassVar[Blame] = "caller"


class ImageAlreadyExists(LibraryError):
    """The same image is stored; ``cont_sign`` says under which signature."""


class ImageNotFound(LibraryError):
    """The image is not stored."""


class Refusal(ServiceError):
    """The call was not begun."""

    blame: ClassVar[Blame] = "facade"


class RateLimited(Refusal):
    """The calls per second are used up."""

    blame: ClassVar[Blame] = "quota"


class QuotaExhausted(Refusal):
    """The calls per day, or all there were, are used up."""

    blame: ClassVar[Blame] = "quota"


class ServerOverloaded(Refusal):
    """This replica is at one of its bounds."""


class ServerDraining(Refusal):
    """This replica is about to stop."""

    blame: ClassVar[Blame] = "none"


class UpstreamError(ServiceError):
    """The upstream failed, or what it said made no sense."""

    blame: ClassVar[Blame] = "upstream"


class UpstreamUnavailable(UpstreamError):
    """The upstream is out of reach, at fault or too slow."""


class AddOutcomeUnknown(UpstreamError):
    """An add may have been carried out, and asking again did not settle it."""


class UpstreamCredentialsRejected(UpstreamError):
    """The upstream refuses the API key, the secret, or a new token."""

    blame: ClassVar[Blame] = "facade"


class UpstreamProtocol(UpstreamError):
    """The upstream's answer cannot be read, or its code is in no table."""


class ServerFault(ServiceError):
    """A fault of this service."""

    blame: ClassVar[Blame] = "facade"
