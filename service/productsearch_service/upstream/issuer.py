"""Asks the token endpoint for an access token and refuses insane answers."""

from __future__ import annotations

import json
import string
import time
from typing import TYPE_CHECKING, Final

from productsearch_service import limits
from productsearch_service.deadline import Deadline
from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream import form
from productsearch_service.upstream.sealed import SealedBytes, SealedMembers, SealedText
from productsearch_service.upstream.token import Issued
from productsearch_service.upstream.transport import Transport, TransportFailure

if TYPE_CHECKING:
    from productsearch_service.upstream.credentials import Credentials, KeyPair

_PATH: Final = "/oauth/2.0/token"
_TOKEN_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~+/=")
_HOPELESS: Final = frozenset({"invalid_client", "unauthorized_client", "invalid_grant"})


class TokenIssuer:
    """The token endpoint for the current key pair, which can be replaced while in use.

    A pair becomes the current one by getting a token: a new pair that the endpoint rejects, and
    files that are empty or gone, change nothing. The pair travels in a POST form, never in the
    URL, which ends up in logs.
    """

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials
        self._proven: KeyPair | None = None
        self._refused: KeyPair | None = None
        self._refused_at_s = 0.0

    def __call__(self) -> Issued:
        """Return a new token for the current pair.

        Raises UpstreamCredentialsRejected if the pair is no good, UpstreamUnavailable if the
        endpoint cannot be reached or its answer makes no sense.
        """
        pair = self._proven or self._credentials.read()
        issued = self._issue(pair)
        self._proven = pair
        return issued

    def replaced(self) -> Issued | None:
        """Return a token for a new pair if the credentials hold one that works, else None.

        A pair that was rejected is asked about again only after five minutes.
        """
        try:
            pair = self._credentials.read()
        except UpstreamCredentialsRejected:
            return None
        try:
            if pair == self._proven or (pair == self._refused and not self._asks_again()):
                return None
            self._refused_at_s = time.monotonic()
            issued = self._issue(pair)
        except UpstreamCredentialsRejected:
            self._refused = pair
            return None
        except UpstreamUnavailable:
            return None
        self._proven, self._refused = pair, None
        return issued

    def _asks_again(self) -> bool:
        return time.monotonic() - self._refused_at_s >= limits.TOKEN_GATE_MAX_S

    def _issue(self, pair: KeyPair) -> Issued:
        body = SealedBytes(
            form.encode(
                {
                    "grant_type": "client_credentials",
                    "client_id": pair.api_key,
                    "client_secret": pair.secret_key,
                }
            )
        )
        outcome = self._post(body)
        # Raised here, where no other exception is being handled that could be its context.
        if isinstance(outcome, ServiceError):
            raise outcome
        return _issued(outcome)

    def _post(self, body: SealedBytes) -> SealedBytes | UpstreamUnavailable:
        deadline = Deadline.after(limits.TOKEN_FETCH_TIMEOUT_S)
        try:
            _, answer = self._transport.post(_PATH, SealedText(), body, deadline)
        except TransportFailure as failure:
            return _no_token(f"the token endpoint {failure.what}")
        return answer


def _issued(answer: SealedBytes) -> Issued:
    """Return what the endpoint issued; names of this function hold nothing that is secret."""
    members = _members(answer)
    if members.get("error") in _HOPELESS:
        raise UpstreamCredentialsRejected("the token endpoint rejects the key pair")
    wrong = _insane(members.get("access_token"), members.get("expires_in"))
    if wrong:
        raise _no_token(f"the token endpoint's answer {wrong}")
    return Issued(SealedText(members["access_token"]), members["expires_in"])


def _members(answer: SealedBytes) -> SealedMembers:
    try:
        return SealedMembers(json.loads(answer))
    except (ValueError, TypeError, RecursionError):
        return SealedMembers()


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


def _no_token(what: str) -> UpstreamUnavailable:
    return UpstreamUnavailable(what, retry_after_s=limits.UPSTREAM_RETRY_S)
