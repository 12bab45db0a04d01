"""Hashes passwords (Argon2id) and checks them.

Knows one library. Does not know users.
"""

from __future__ import annotations

import hashlib

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

_hasher = PasswordHasher()
_OF_KEYS = "keys-"
_NOBODYS = _hasher.hash("nobody's")


def hashed(password: str) -> str:
    """Return what is stored of a password."""
    return _hasher.hash(password)


def matches(password: str, stored: str | None) -> bool:
    """Return whether a password is the one of ``stored``.

    Without ``stored``, for a name that nobody has, it takes as long and is false.
    """
    try:
        return _hasher.verify(stored or _NOBODYS, password) and stored is not None
    except (Argon2Error, InvalidHashError):
        return False


def stamp_of_keys(secret_digest: bytes) -> str:
    """Return a few letters that change with a key pair's secret."""
    return _OF_KEYS + hashlib.sha256(secret_digest).hexdigest()[:16]


def is_of_keys(stamp: str) -> bool:
    """Return whether a stamp is of a key pair."""
    return stamp.startswith(_OF_KEYS)


def stamp(stored: str) -> str:
    """Return a few letters that change with the password."""
    return hashlib.sha256(stored.encode()).hexdigest()[:16]
