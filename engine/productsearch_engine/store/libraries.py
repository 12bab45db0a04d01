"""Apps (credential pairs) and libraries: creating, growing, listing, deleting, finding.

Secret keys are stored only as digests. The partition that holds a library's images is created
and dropped here, and used in ``store.images``. Does not know images.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import errors, sql
from psycopg_pool import ConnectionPool

_ALPHABET = string.ascii_letters + string.digits
_API_KEY = re.compile(r"[A-Za-z0-9]{1,64}")


@dataclass(frozen=True, kw_only=True)
class Library:
    """One image library. ``capacity`` and ``image_count`` are as of when it was read."""

    id: int
    name: str
    api_key: str
    capacity: int
    image_count: int
    embedding: str
    dimensions: int


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A key pair, as long as the vendor's. ``secret_key`` is None for an existing pair: only its
    digest is stored."""

    api_key: str
    secret_key: str | None

    def __repr__(self) -> str:
        return f"Credentials(api_key={self.api_key!r}, secret_key=…)"


class LibraryError(Exception):
    """A command about libraries is refused; the text is for its user."""


class UnknownClientError(Exception):
    """No app has this API key."""


class WrongSecretError(Exception):
    """The API key exists and has another secret key."""


class Libraries:
    """The apps and libraries of one database."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def create(
        self, name: str, *, capacity: int, embedding: str, dimensions: int, api_key: str | None
    ) -> Credentials:
        """Create a library and its app, or a library for the existing app of ``api_key``.

        Raises LibraryError.
        """
        if not name.isprintable() or not 1 <= len(name) <= 64 or name != name.strip():
            raise LibraryError("a library's name is 1 to 64 printable characters")
        with self._pool.connection() as connection, connection.transaction():
            if api_key is None:
                app_id, credentials = _new_app(connection)
            else:
                app_id, credentials = (
                    _app(connection, api_key),
                    Credentials(api_key=api_key, secret_key=None),
                )
            try:
                row = connection.execute(
                    "insert into libraries (app_id, name, capacity, embedding, dimensions)"
                    " values (%s, %s, %s, %s, %s) returning id",
                    [app_id, name, capacity, embedding, dimensions],
                ).fetchone()
            except errors.UniqueViolation as error:
                taken = error.diag.constraint_name == "libraries_app_id_key"
                what = f"API key {api_key} has a library" if taken else f"library {name!r} exists"
                raise LibraryError(what) from None
            assert row is not None  # noqa: S101 - an insert without conflict returns its row
            _create_partition(connection, int(row[0]), dimensions)
        return credentials

    def grow(self, name: str, by: int) -> Library:
        """Raise the capacity by ``by`` images. Raises LibraryError."""
        with self._pool.connection() as connection:
            done = connection.execute(
                "update libraries set capacity = capacity + %s where name = %s", [by, name]
            )
        if not done.rowcount:
            raise LibraryError(f"no library {name!r}")
        return next(library for library in self.list() if library.name == name)

    def delete(self, name: str) -> None:
        """Drop a library with its images; its key pair stays. Raises LibraryError."""
        with self._pool.connection() as connection, connection.transaction():
            row = connection.execute("select id from libraries where name = %s", [name]).fetchone()
            if row is None:
                raise LibraryError(f"no library {name!r}")
            # The table first, then the row, as an add locks them: no deadlock.
            table = partition(int(row[0]))
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(table))
            connection.execute("delete from libraries where id = %s", [row[0]])
            connection.execute(sql.SQL("drop table {}").format(table))

    def list(self) -> list[Library]:
        """Return all libraries by name."""
        with self._pool.connection() as connection:
            rows = connection.execute(f"{_SELECT} order by l.name").fetchall()
        return [_library(row) for row in rows]

    def of_app(self, app_id: int) -> tuple[bool, Library | None]:
        """Return whether the app exists, and its library if it has one."""
        with self._pool.connection() as connection:
            row = connection.execute(f"{_SELECT_APP} where a.id = %s", [app_id]).fetchone()
        return row is not None, None if row is None or row[0] is None else _library(row)

    def authenticate(self, api_key: str, secret_key: str) -> int:
        """Return the app id of a key pair. Raises UnknownClientError, WrongSecretError."""
        if not _API_KEY.fullmatch(api_key):
            # PostgreSQL refuses some texts, such as those with a NUL, instead of not finding them.
            raise UnknownClientError
        with self._pool.connection() as connection:
            row = connection.execute(
                "select id, secret_digest from apps where api_key = %s", [api_key]
            ).fetchone()
        if row is None:
            raise UnknownClientError
        if not hmac.compare_digest(bytes(row[1]), _digest(secret_key)):
            raise WrongSecretError
        return int(row[0])


_COLUMNS: LiteralString = (
    "select l.id, l.name, a.api_key, l.capacity, l.image_count, l.embedding, l.dimensions from "
)
_SELECT: LiteralString = _COLUMNS + "libraries l join apps a on a.id = l.app_id"
_SELECT_APP: LiteralString = _COLUMNS + "apps a left join libraries l on a.id = l.app_id"


def partition(library_id: int) -> sql.Identifier:
    """Return the name of the table that holds a library's images."""
    return sql.Identifier(f"images_{library_id}")


def _library(row: tuple[Any, ...]) -> Library:
    return Library(
        id=row[0],
        name=row[1],
        api_key=row[2],
        capacity=row[3],
        image_count=row[4],
        embedding=row[5],
        dimensions=row[6],
    )


def _new_app(connection: Any) -> tuple[int, Credentials]:
    api_key = "".join(secrets.choice(_ALPHABET) for _ in range(24))
    secret_key = "".join(secrets.choice(_ALPHABET) for _ in range(32))
    (app_id,) = connection.execute(
        "insert into apps (api_key, secret_digest) values (%s, %s) returning id",
        [api_key, _digest(secret_key)],
    ).fetchone()
    return int(app_id), Credentials(api_key=api_key, secret_key=secret_key)


def _app(connection: Any, api_key: str) -> int:
    row = connection.execute("select id from apps where api_key = %s", [api_key]).fetchone()
    if row is None:
        raise LibraryError(f"no API key {api_key}")
    return int(row[0])


def _digest(secret_key: str) -> bytes:
    return hashlib.sha256(secret_key.encode()).digest()


def _create_partition(connection: Any, library_id: int, dimensions: int) -> None:
    table = partition(library_id)
    connection.execute(
        sql.SQL("create table {} partition of images for values in ({})").format(
            table, sql.Literal(library_id)
        )
    )
    connection.execute(
        sql.SQL("alter table {} add check (vector_dims(embedding) = {})").format(
            table, sql.Literal(dimensions)
        )
    )
    connection.execute(
        sql.SQL(
            "create index {} on {} using hnsw ((embedding::halfvec({})) halfvec_cosine_ops)"
        ).format(sql.Identifier(f"images_{library_id}_nearest"), table, sql.Literal(dimensions))
    )
