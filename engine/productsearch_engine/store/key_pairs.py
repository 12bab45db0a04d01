"""Key pairs: how they are made, and what is stored of them.

An API key and a secret key are as long as the vendor's. Of the secret only a digest is stored.
Knows the table ``apps``. Does not know libraries.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A key pair. ``secret_key`` is None for an existing one."""

    api_key: str
    secret_key: str | None

    def __repr__(self) -> str:
        return f"Credentials(api_key={self.api_key!r}, secret_key=…)"


def new_app(connection: Connection[Any]) -> tuple[int, Credentials]:
    """Store a new app; return its id and its key pair."""
    api_key = "".join(secrets.choice(_ALPHABET) for _ in range(24))
    secret_key = new_secret()
    row = connection.execute(
        "insert into apps (api_key, secret_digest) values (%s, %s) returning id",
        [api_key, digest(secret_key)],
    ).fetchone()
    assert row is not None  # noqa: S101 - an insert without conflict returns its row
    return int(row[0]), Credentials(api_key=api_key, secret_key=secret_key)


def new_secret() -> str:
    """Return a secret key of 190 random bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(32))


def digest(secret_key: str) -> bytes:
    """Return what is stored of a secret key: it is random, so that no slow hash is needed."""
    return hashlib.sha256(secret_key.encode()).digest()
