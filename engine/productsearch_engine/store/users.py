"""The people who may sign in to the console, each with one library and one role.

Keeps hashes of passwords and does not know how they are made. Does not know sessions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.store.libraries import LibraryError, unknown

Role = Literal["look", "edit"]

_NAME = re.compile(r"[^\W_][\w.@-]{0,63}")


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
        """Let a person sign in. Raises LibraryError."""
        if not _NAME.fullmatch(name):
            raise LibraryError(
                "a user's name is 1 to 64 letters, digits and . @ - _, first a letter or a digit"
            )
        try:
            with self._pool.connection() as connection:
                done = connection.execute(
                    "insert into users (name, library_id, role, password_hash)"
                    " select %s, id, %s, %s from libraries where name = %s",
                    [name, role, password_hash, library],
                )
                if not done.rowcount:
                    raise unknown(connection, library)
        except errors.UniqueViolation:
            raise LibraryError(f"user {name!r} exists") from None

    def remove(self, name: str) -> None:
        """End a person's access, also in sessions that are open. Raises LibraryError."""
        with self._pool.connection() as connection:
            done = connection.execute("delete from users where name = %s", [name])
        if not done.rowcount:
            raise LibraryError(f"no user {name!r}")

    def find(self, name: str) -> User | None:
        """Return the user of this name, or None."""
        if not _NAME.fullmatch(name):
            return None
        with self._pool.connection() as connection:
            row = connection.execute(f"{_SELECT} where u.name = %s", [name]).fetchone()
        return None if row is None else _user(row)

    def list(self) -> list[User]:
        """Return all users by library and name."""
        with self._pool.connection() as connection:
            rows = connection.execute(f"{_SELECT} order by l.name, u.name").fetchall()
        return [_user(row) for row in rows]


_SELECT = (
    "select u.name, l.name, l.app_id, u.role, u.password_hash"
    " from users u join libraries l on l.id = u.library_id"
)


def _user(row: tuple[Any, ...]) -> User:
    name, library, app_id, role, password_hash = row
    return User(name=name, library=library, app_id=app_id, role=role, password_hash=password_hash)
