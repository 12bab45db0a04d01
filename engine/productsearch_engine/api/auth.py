"""Issues and checks access tokens, without storing any.

A token is ``24.<32 hex>.2592000.<unix expiry>.<number>-<app id>``, the vendor's shape. The
hex part is the first 128 bits of HMAC-SHA256 over the rest, so every replica with the
signing key can check it. The last twelve digits of the number are random, so every call gives
another token; what stands before them is the number of the app's secret key.

Knows keys and clocks. Does not know key pairs (``store.libraries``) or HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import NamedTuple

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.limits import TOKEN_LIFETIME_S

# Part of what is signed, so that a signature made for another purpose is no token.
_PURPOSE = b"productsearch-engine access token 1\0"
_SHAPE = re.compile(
    rf"24\.([0-9a-f]{{32}})\.({TOKEN_LIFETIME_S}\.([0-9]{{1,12}})\.([0-9]{{1,20}})-([0-9]{{1,18}}))"
)

_RANDOM = 10**12


class Session(NamedTuple):
    """What a token says: whose it is, and for which of the app's secret keys it was issued."""

    app_id: int
    key_number: int


class Tokens:
    """Issues and checks tokens under one signing key of at least 32 bytes."""

    def __init__(self, key: bytes):
        self._key = key

    def issue(self, app_id: int, key_number: int = 0, now: float | None = None) -> str:
        """Return a new token of the app, valid for 30 days from ``now`` (Unix seconds)."""
        expiry = int(time.time() if now is None else now) + TOKEN_LIFETIME_S
        number = key_number * _RANDOM + secrets.randbelow(_RANDOM)
        signed = f"{TOKEN_LIFETIME_S}.{expiry}.{number}-{app_id}"
        return f"24.{self._signature(signed)}.{signed}"

    def session(self, token: str, now: float | None = None) -> Session:
        """Return what a token says. Whether its secret key is still the app's is not known here.

        Raises ApiError: 100 missing or malformed, 110 wrong signature, 111 expired. The token
        is cut at a ``?``: the Node SDK sends ``access_token=<token>?aipSdk=node``.
        """
        shape = _SHAPE.fullmatch(token.partition("?")[0])
        if shape is None:
            raise ApiError(codes.TOKEN_MALFORMED)
        signature, signed, expiry, number, app_id = shape.groups()
        if not hmac.compare_digest(signature, self._signature(signed)):
            raise ApiError(codes.TOKEN_INVALID)
        if int(expiry) <= (time.time() if now is None else now):
            raise ApiError(codes.TOKEN_EXPIRED)
        return Session(int(app_id), int(number) // _RANDOM)

    def _signature(self, signed: str) -> str:
        return hmac.new(self._key, _PURPOSE + signed.encode(), hashlib.sha256).hexdigest()[:32]


def token_answer(token: str) -> dict[str, object]:
    """Return the token endpoint's JSON object.

    Without ``brain_all_scope`` the official SDKs do not send the token. The refresh token and
    the session values are random: no call of the contract takes them.
    """
    return {
        "access_token": token,
        "expires_in": TOKEN_LIFETIME_S,
        "scope": "public brain_all_scope",
        "refresh_token": f"25.{secrets.token_hex(16)}.315360000.{int(time.time()) + 315360000}.0-0",
        "session_key": secrets.token_urlsafe(48),
        "session_secret": secrets.token_hex(16),
    }
