"""The upstream's error codes: what each means to a caller and what to do about it.

One table, as data. The contract's section 2 is its source; a code that is not in it becomes
UPSTREAM_PROTOCOL with its number and message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from productsearch_service import errors, limits
from productsearch_service.errors import UpstreamWords, Violation


class Action(Enum):
    """What can be done about an error code within the deadline."""

    BACK_OFF = "wait and try again"
    NEW_TOKEN = "get a new token, once"  # noqa: S105 - no secret
    FINAL = "the same call fails again"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    error: type[errors.ServiceError]
    sentence: str
    action: Action = Action.FINAL
    maybe_done: bool = False
    """Whether the call can have been carried out all the same."""
    field: str = ""
    """What is wrong in the request: ``image``, ``url``, or ``*`` where only the message says."""


_UNAVAILABLE: Final = errors.UpstreamUnavailable
_CREDENTIALS: Final = errors.UpstreamCredentialsRejected

GATEWAYS_MAX: Final = 111
"""The gateway's codes end here; all others come from behind it, where tokens were accepted."""
DUPLICATE: Final = 216681
NOT_FOUND: Final = 216680
URL_SLOW: Final = 282112
MAYBE_THE_INPUTS: Final = frozenset({1, 216630, 216634, 282000})
"""Faults of the upstream that an input of its own kind causes each time it is sent."""
LIBRARY_FULL: Final = 990001
"""The engine's own; what the vendor answers when a library is full is not known."""

MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        # The gateway: the call did not get past it, but for faults of its own.
        1: Meaning(_UNAVAILABLE, "the upstream had an unknown fault", Action.BACK_OFF, True),
        2: Meaning(_UNAVAILABLE, "the upstream is out of service", Action.BACK_OFF, True),
        3: Meaning(errors.UpstreamProtocol, "the upstream has no such method"),
        4: Meaning(_UNAVAILABLE, "the upstream is at its own limit", Action.BACK_OFF),
        6: Meaning(_CREDENTIALS, "the interface is not enabled for the app"),
        13: Meaning(_UNAVAILABLE, "the upstream's gateway has no token", Action.BACK_OFF),
        14: Meaning(_CREDENTIALS, "the upstream does not accept this kind of key"),
        15: Meaning(_CREDENTIALS, "the upstream has no such app"),
        17: Meaning(errors.QuotaExhausted, "the quota of this day is used up"),
        18: Meaning(errors.RateLimited, "the calls per second are used up", Action.BACK_OFF),
        19: Meaning(errors.QuotaExhausted, "the total quota is used up"),
        100: Meaning(_CREDENTIALS, "the upstream rejected a new token", Action.NEW_TOKEN),
        110: Meaning(_CREDENTIALS, "the upstream rejected a new token", Action.NEW_TOKEN),
        111: Meaning(_CREDENTIALS, "the upstream rejected a new token", Action.NEW_TOKEN),
        # The service: the request as such.
        216017: Meaning(errors.LibraryNotReady, "the library was not created at the upstream"),
        216100: Meaning(errors.FieldInvalid, "the upstream found a field invalid", field="*"),
        216101: Meaning(errors.FieldInvalid, "the upstream missed a field", field="*"),
        216102: Meaning(errors.UpstreamProtocol, "the service is not enabled at the upstream"),
        216103: Meaning(errors.FieldInvalid, "the upstream found a field too long", field="*"),
        216110: Meaning(_CREDENTIALS, "the upstream does not know the app"),
        282003: Meaning(errors.FieldInvalid, "the upstream missed a field", field="*"),
        282005: Meaning(errors.UpstreamProtocol, "the upstream failed to process the batch"),
        282006: Meaning(errors.UpstreamProtocol, "the upstream refused the size of the batch"),
        # The service: the image.
        216200: Meaning(errors.ImageUnreadable, "the image is empty", field="image"),
        216201: Meaning(
            errors.ImageUnreadable,
            "the upstream cannot decode the image: damaged, cut short, or no JPEG, PNG or BMP",
            field="image",
        ),
        216202: Meaning(
            errors.ImageSizeInvalid, "the upstream does not take this size", field="image"
        ),
        216203: Meaning(
            errors.ImageUnreadable, "the upstream found nothing in the image", field="image"
        ),
        283300: Meaning(
            errors.ImageUnreadable, "the upstream could not recognise the image", field="image"
        ),
        # What was not recognised cannot have been stored.
        216630: Meaning(_UNAVAILABLE, "the upstream's recognition failed", Action.BACK_OFF),
        216634: Meaning(_UNAVAILABLE, "the upstream's detection failed", Action.BACK_OFF),
        # The service: the library.
        NOT_FOUND: Meaning(errors.ImageNotFound, "the image is not in the library"),
        DUPLICATE: Meaning(errors.ImageAlreadyExists, "the same image is in the library"),
        LIBRARY_FULL: Meaning(errors.LibraryFull, "the library is full"),
        282000: Meaning(_UNAVAILABLE, "the upstream had an internal fault", Action.BACK_OFF, True),
        # The service: the image's address.
        282111: Meaning(
            errors.FieldInvalid, "the upstream does not accept the address", field="url"
        ),
        URL_SLOW: Meaning(
            errors.ImageUrlUnreachable,
            "the image's host is too slow for the upstream; send the bytes instead",
            Action.BACK_OFF,
        ),
        282113: Meaning(
            errors.ImageUrlUnreachable,
            "the upstream could not take the image from its address; send the bytes instead",
        ),
        282114: Meaning(errors.FieldInvalid, "the address is empty or too long", field="url"),
    }
)

_UNKNOWN: Final = Meaning(
    errors.UpstreamProtocol, "the upstream answered with a code that is in no table"
)
_HTTP: Final = {
    413: Meaning(
        errors.ImageSizeInvalid, "a proxy of the upstream takes no request so large", field="image"
    ),
    429: Meaning(errors.RateLimited, "a proxy of the upstream limits the calls", Action.BACK_OFF),
}
_HTTP_OTHER: Final = Meaning(
    errors.UpstreamProtocol, "the upstream answered without a code", Action.BACK_OFF
)


def meaning_of(words: UpstreamWords) -> Meaning:
    """Return the row of a code, or of an HTTP status; the row for unknown ones if it has none."""
    if words.http_status:
        return _HTTP.get(words.http_status, _HTTP_OTHER)
    return MEANINGS.get(words.code, _UNKNOWN)


def error_of(
    words: UpstreamWords, image_field: str = "image", cont_sign: str | None = None
) -> errors.ServiceError:
    """Return the error that a caller sees for what the upstream said.

    ``image_field`` is the path of the request field that the image came from.
    """
    meaning = meaning_of(words)
    message = meaning.sentence
    if words.http_status:
        message = f"{message}: HTTP {words.http_status}"
    elif meaning.error is errors.UpstreamProtocol or meaning.field == "*":
        message = f"{message}: {words.code} {words.message}".rstrip()
    elif meaning.error is errors.ImageUrlUnreachable and words.message:
        message = f"{message} ({words.message})"  # an engine says what the host did
    violations: tuple[Violation, ...] = ()
    if meaning.field:
        path = {"image": image_field, "url": f"{image_field}.url"}.get(meaning.field) or "*"
        violations = (Violation(path, message, meaning.error.reason),)
    retry_after_s = None
    if meaning.error is errors.RateLimited:
        retry_after_s = limits.QPS_BACKOFF_MIN_S
    elif meaning.error is errors.UpstreamUnavailable:
        retry_after_s = limits.UPSTREAM_RETRY_S
    if retry_after_s is not None:
        retry_after_s = max(retry_after_s, words.retry_after_s)
    return meaning.error(
        message,
        violations=violations,
        retry_after_s=retry_after_s,
        upstream=words,
        cont_sign=cont_sign,
    )
