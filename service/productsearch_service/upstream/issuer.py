"""Asks the token endpoint for an access token and refuses insane answers."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any, Final

from productsearch_service import limits
from productsearch_service.deadline import Deadline
from productsearch_service.errors import UpstreamCredentialsRejected, UpstreamUnavailable
from productsearch_service.upstream import form
from productsearch_service.upstream.token import Issued
from productsearch_service.upstream.transport import Transport, TransportFailure

if TYPE_CHECKING:
    from productsearch_service.upstream.credentials import Credentials

_PATH: Final = "/oauth/2.0/token"
_TOKEN_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~+/=")
_HOPELESS: Final = frozenset({"invalid_client", "unauthorized_client", "invalid_grant"})


class TokenIssuer:
    """The token endpoint for one key pair.

    The pair travels in a POST form, never in the URL, which ends up in logs.
    """

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials

    def __call__(self) -> Issued:
        """Return a new token.

        Raises UpstreamCredentialsRejected if the pair is no good, UpstreamUnavailable if the
        endpoint cannot be reached or its answer makes no sense.
        """
        pair = self._credentials.read()
        body = form.encode(
            {
                "grant_type": "client_credentials",
                "client_id": pair.api_key,
                "client_secret": pair.secret_key,
            }
        )
        try:
            _, answer = self._transport.post(
                _PATH, body, Deadline.after(limits.TOKEN_FETCH_TIMEOUT_S)
            )
        except TransportFailure as failure:
            raise _no_token(f"the token endpoint {failure.what}") from None
        return _issued(answer)


def _issued(answer: bytes) -> Issued:
    try:
        members: Any = json.loads(answer)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise _no_token("the token endpoint answered with something else than JSON")
    if members.get("error") in _HOPELESS:
        raise UpstreamCredentialsRejected("the token endpoint rejects the key pair")
    value, lifetime_s = members.get("access_token"), members.get("expires_in")
    if not isinstance(value, str) or not 0 < len(value) <= limits.TOKEN_BYTES_MAX:
        raise _no_token("the token endpoint's answer holds no token")
    if not _TOKEN_CHARACTERS.issuperset(value):
        raise _no_token("the token endpoint's token has characters that no token has")
    if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int):
        raise _no_token("the token endpoint's answer holds no lifetime")
    if not limits.TOKEN_LIFETIME_MIN_S < lifetime_s <= limits.TOKEN_LIFETIME_MAX_S:
        raise _no_token("the token endpoint's token has an impossible lifetime")
    return Issued(value, lifetime_s)


def _no_token(what: str) -> UpstreamUnavailable:
    return UpstreamUnavailable(what, retry_after_s=limits.UPSTREAM_RETRY_S)
