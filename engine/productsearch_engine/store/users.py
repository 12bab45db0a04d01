"""The people who may sign in to the console, each with one library and one role.

Keeps hashes of passwords and does not know how they are made. Does not know sessions.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.store.libraries import LibraryError, unknown

Role = Literal["look", "edit"]

_NAME_MAX = 64


@dataclass(frozen=True, kw_only=True)
class User:
    """One person. ``app_id`` is of the library's app."""

    name: str
    library: str
    app_id: int
    role: Role
    password_hash: str = field(repr=False)


class Users:
    """The users of one database."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def add(self, name: str, *, library: str, role: Role, password_hash: str) -> None:
        """Let a person sign in; ``name`` is stored as ``written``. Raises LibraryError."""
        name = written(name)
        if not _is_name(name):
            raise LibraryError(
                "a user's name is 1 to 64 letters, digits and . @ - _, first a letter or a digit"
            )
        try:
            with self._pool.connection() as connection:
                alike = connection.execute(
                    "select name from users where lower(name) = lower(%s)", [name]
                ).fetchone()
                if alike is not None:
                    raise LibraryError(f"user {alike[0]!r} exists")
                done = connection.execute(
                    "insert into users (name, library_id, role, password_hash)"
                    " select %s, id, %s, %s from libraries where name = %s",
                    [name, role, password_hash, library],
                )
                if not done.rowcount:
                    raise unknown(connection, library)
        except errors.UniqueViolation:
            raise LibraryError(f"user {name!r} exists") from None

    def change(self, name: str, *, role: Role | None, password_hash: str | None) -> None:
        """Give a person another role, another password, or both. Raises LibraryError.

        A role counts from the next request on; another password ends all sessions.
        """
        user = self.find(name)
        if user is None:
            raise LibraryError(f"no user {name!r}")
        with self._pool.connection() as connection:
            connection.execute(
                "update users set role = coalesce(%s, role),"
                " password_hash = coalesce(%s, password_hash) where name = %s",
                [role, password_hash, user.name],
            )

    def remove(self, name: str) -> None:
        """End a person's access, also in sessions that are open. Raises LibraryError."""
        user = self.find(name)
        if user is None:
            raise LibraryError(f"no user {name!r}")
        with self._pool.connection() as connection:
            connection.execute("delete from users where name = %s", [user.name])

    def find(self, name: str) -> User | None:
        """Return the user of this name, or None; wide letters or loose accents are the same."""
        if not _is_name(written(name)):
            return None
        with self._pool.connection() as connection:
            # One that was stored as it was typed, by an engine of before, is known by that.
            row = connection.execute(
                f"{_SELECT} where u.name = any(%s) order by u.name <> %s limit 1",
                [[name, written(name)], name],
            ).fetchone()
        return None if row is None else _user(row)

    def list(self) -> list[User]:
        """Return all users by library and name."""
        with self._pool.connection() as connection:
            rows = connection.execute(f"{_SELECT} order by l.name, u.name").fetchall()
        return [_user(row) for row in rows]


def written(name: str) -> str:
    """Return a name as it is stored: keyboards write letters wide, or apart from their accents."""
    return unicodedata.normalize("NFKC", name)


def _is_name(name: str) -> bool:
    """Return whether a name is one; in many scripts letters have marks that are no letters."""
    good = (
        letter.isalnum() or letter in ".@-_" or unicodedata.category(letter).startswith("M")
        for letter in name
    )
    return 1 <= len(name) <= _NAME_MAX and name[0].isalnum() and all(good)


_SELECT = (
    "select u.name, l.name, l.app_id, u.role, u.password_hash"
    " from users u join libraries l on l.id = u.library_id"
)


def _user(row: tuple[Any, ...]) -> User:
    name, library, app_id, role, password_hash = row
    return User(name=name, library=library, app_id=app_id, role=role, password_hash=password_hash)
