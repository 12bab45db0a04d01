"""The key pairs of apps: checked, changed, and carried to another database.

Knows the table ``apps``, and which library an app has. How a key is made is ``store.key_pairs``.
"""

from __future__ import annotations

import hmac
import re
from typing import Any

from psycopg_pool import ConnectionPool

from productsearch_engine.store import key_pairs
from productsearch_engine.store.key_pairs import Credentials
from productsearch_engine.store.libraries import app_of, unknown

_API_KEY = re.compile(r"[A-Za-z0-9]{1,64}")


class UnknownClientError(Exception):
    """No app has this API key."""


class WrongSecretError(Exception):
    """The API key exists and has another secret key."""


class AppKeys:
    """The key pairs of one database's apps."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def authenticate(self, api_key: str, secret_key: str) -> tuple[int, int]:
        """Return the app id of a key pair, and how often the secret was changed before it.

        Raises UnknownClientError, WrongSecretError.
        """
        if not _API_KEY.fullmatch(api_key):
            # PostgreSQL refuses some texts, such as those with a NUL, instead of not finding them.
            raise UnknownClientError
        with self._pool.connection() as connection:
            row = connection.execute(
                "select id, key_number, secret_digest,"
                " case when now() < old_until then old_secret_digest end"
                " from apps where api_key = %s",
                [api_key],
            ).fetchone()
        if row is None:
            raise UnknownClientError
        app_id, key_number, *digests = row
        given = key_pairs.digest(secret_key)
        for changes, digest in enumerate(digests):
            if digest is not None and hmac.compare_digest(bytes(digest), given):
                return int(app_id), int(key_number) - changes
        raise WrongSecretError

    def rotate(self, app_id: int, overlap_s: int = 0, known: bytes | None = None) -> str:
        """Give an app another secret key and return it.

        ``known``: the digest of the present one. Raises WrongSecretError if it is another by now.

        The old one is refused after ``overlap_s``, and so are its tokens: by each engine as soon as
        it looks at the app again (``limits.LIBRARY_REMEMBERED_S``). One that was still good beside
        it is refused at once.
        """
        secret_key = key_pairs.new_secret()
        with self._pool.connection() as connection:
            done = connection.execute(
                "update apps set old_secret_digest = secret_digest,"
                " old_until = now() + make_interval(secs => %s), secret_digest = %s where id = %s"
                " and (%s::bytea is null or secret_digest = %s)",
                [overlap_s, key_pairs.digest(secret_key), app_id, known, known],
            )
        if known is not None and not done.rowcount:
            raise WrongSecretError
        return secret_key

    def rotate_named(self, name: str, overlap_s: int = 0) -> Credentials:
        """Give the app of a library another secret key, as ``rotate``. Raises LibraryError."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select a.id, a.api_key from libraries l join apps a on a.id = l.app_id"
                " where l.name = %s",
                [name],
            ).fetchone()
            if row is None:
                raise unknown(connection, name)
        return Credentials(api_key=row[1], secret_key=self.rotate(row[0], overlap_s))

    def secret_digest(self, app_id: int) -> bytes | None:
        """Return the digest of an app's secret key, None if there is no such app."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select secret_digest from apps where id = %s", [app_id]
            ).fetchone()
        return None if row is None else bytes(row[0])

    def secret_digests(self, app_id: int) -> tuple[bytes | None, bytes | None]:
        """Return the digests of an app's secret key, and of the one before while it serves."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select secret_digest, case when now() < old_until then old_secret_digest end"
                " from apps where id = %s",
                [app_id],
            ).fetchone()
        return row or (None, None)

    def secret_digest_of_key(self, api_key: str) -> bytes:
        """Return the digest of the secret key of an API key. Raises LibraryError."""
        with self._pool.connection() as connection:
            return self.secret_digest(app_of(connection, api_key)) or b""

    def adopt(self, api_key: str, secret_digest: bytes) -> None:
        """Let a key pair of another database count in this one, too."""
        with self._pool.connection() as connection:
            connection.execute(
                "insert into apps (api_key, secret_digest) values (%s, %s) on conflict do nothing",
                [api_key, secret_digest],
            )
