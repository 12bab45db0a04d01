"""Reads the token endpoint's answer, and refuses one that makes no sense.

Knows no HTTP and no time. Error messages hold nothing of the answer.
"""

from __future__ import annotations

import json
import string
from typing import Final

from productsearch_service import limits
from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.auth.token import Issued
from productsearch_service.upstream.masked import MaskedBytes, MaskedMembers, MaskedText

_HTTP_OK: Final = 200
_STATUSES: Final = (_HTTP_OK, 401)
"""A token, or the reason why there is none."""
_BYTES_MAX: Final = 16 * limits.TOKEN_BYTES_MAX
_HOPELESS: Final = frozenset({"invalid_client", "unauthorized_client", "invalid_grant"})
_TOKEN_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~+/=")


def no_token(what: str, cause: str = "") -> UpstreamUnavailable:
    """Return the error of a token endpoint that did ``what`` instead of issuing a token.

    ``cause`` says more, for the log.
    """
    return UpstreamUnavailable(
        f"the token endpoint {what}", retry_after_s=limits.UPSTREAM_RETRY_S, cause=cause
    )


def read(status: int, body: MaskedBytes) -> Issued | ServiceError:
    """Return what the endpoint issued, or the error that its answer amounts to."""
    if len(body) > _BYTES_MAX:
        return no_token("answered too much")
    if status not in _STATUSES:
        return no_token(f"answered with HTTP {status}")
    members = _members(body)
    error = members.get("error")
    if isinstance(error, str) and error in _HOPELESS:
        return UpstreamCredentialsRejected("the token endpoint rejects the key pair")
    if status != _HTTP_OK:
        return no_token(f"answered with HTTP {status}")
    if error:
        return no_token("gave an answer that names an error")
    wrong = _insane(members.get("access_token"), members.get("expires_in"))
    if wrong:
        return no_token(f"gave an answer that {wrong}")
    return Issued(MaskedText(members["access_token"]), members["expires_in"])


def _members(body: MaskedBytes) -> MaskedMembers:
    try:
        members = json.loads(body, object_hook=MaskedMembers)
    except (ValueError, RecursionError):
        return MaskedMembers()
    return members if isinstance(members, MaskedMembers) else MaskedMembers()


def _insane(value: object, lifetime_s: object) -> str:
    """Return what is wrong with a token and its lifetime, or nothing."""
    if not isinstance(value, str) or not 0 < len(value) <= limits.TOKEN_BYTES_MAX:
        return "holds no token"
    if not _TOKEN_CHARACTERS.issuperset(value):
        return "has a token with characters that no token has"
    if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int):
        return "holds no lifetime"
    if not limits.TOKEN_LIFETIME_MIN_S < lifetime_s <= limits.TOKEN_LIFETIME_MAX_S:
        return "has an impossible lifetime"
    return ""
