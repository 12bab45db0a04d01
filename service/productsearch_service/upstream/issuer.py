"""Asks the token endpoint for an access token and refuses insane answers."""

from __future__ import annotations

import json
import string
import threading
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
_TOKEN_STATUSES: Final = (200, 401)
"""A token, or the reason why there is none."""
_HOPELESS: Final = frozenset({"invalid_client", "unauthorized_client", "invalid_grant"})


class TokenIssuer:
    """The token endpoint for the current key pair, which can be replaced while in use.

    A pair becomes the current one by getting a token: a new pair that the endpoint rejects, and
    files that are empty or gone, change nothing. The pair travels in a POST form, never in the
    URL, which ends up in logs. Thread-safe.
    """

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials
        self._lock = threading.Lock()
        self._proven: KeyPair | None = None
        self._failed: KeyPair | None = None
        self._again_at_s = 0.0
        self._asked = False

    def __call__(self) -> Issued:
        """Return a new token for the current pair.

        Raises UpstreamCredentialsRejected if the pair is no good, UpstreamUnavailable if the
        endpoint cannot be reached or its answer makes no sense.
        """
        try:
            current = self._proven
            pair = current or self._credentials.read()
            issued = self._issue(pair)
            with self._lock:
                if self._proven is current:  # else it was replaced while we asked
                    self._proven = pair
        finally:
            self._asked = True
        return issued

    def replaced(self) -> Issued | None:
        """Return a token for a new pair if the credentials hold one that works, else None.

        A pair that has just failed is left alone for a while; and until the first caller who
        asks has an answer, there is nothing to replace.
        """
        if not self._asked:
            return None
        try:
            pair = self._credentials.read()
            waits = pair == self._failed and time.monotonic() < self._again_at_s
            if pair == self._proven or waits:
                return None
            issued = self._issue(pair)
        except ServiceError:
            return None
        with self._lock:
            self._proven = pair
        return issued

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
        answer = self._post(body)
        outcome = _issued(answer) if isinstance(answer, SealedBytes) else answer
        if isinstance(outcome, Issued):
            return outcome
        hopeless = isinstance(outcome, UpstreamCredentialsRejected)
        wait_s = limits.TOKEN_GATE_MAX_S if hopeless else limits.TOKEN_RETRY_S
        with self._lock:
            self._failed, self._again_at_s = pair, time.monotonic() + wait_s
        # Raised here, where no other exception is being handled that could be its context.
        raise outcome

    def _post(self, body: SealedBytes) -> SealedBytes | UpstreamUnavailable:
        deadline = Deadline.after(limits.TOKEN_FETCH_TIMEOUT_S)
        try:
            try:
                status, answer = self._transport.post(_PATH, SealedText(), (body,), deadline)
            except TransportFailure as failure:
                if not failure.stale:
                    raise
                status, answer = self._transport.post(_PATH, SealedText(), (body,), deadline)
        except TransportFailure as failure:
            return _no_token(f"the token endpoint {failure.what}")
        if status not in _TOKEN_STATUSES:
            return _no_token(f"the token endpoint answered with HTTP {status}")
        return answer


def _issued(answer: SealedBytes) -> Issued | ServiceError:
    """Return what the endpoint issued; names of this function hold nothing that is secret."""
    members = _members(answer)
    error = members.get("error")
    if isinstance(error, str) and error in _HOPELESS:
        return UpstreamCredentialsRejected("the token endpoint rejects the key pair")
    wrong = _insane(members.get("access_token"), members.get("expires_in"))
    if wrong:
        return _no_token(f"the token endpoint's answer {wrong}")
    return Issued(SealedText(members["access_token"]), members["expires_in"])


def _members(answer: SealedBytes) -> SealedMembers:
    try:
        members = json.loads(answer, object_hook=SealedMembers)
    except (ValueError, RecursionError):
        return SealedMembers()
    return members if isinstance(members, SealedMembers) else SealedMembers()


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
