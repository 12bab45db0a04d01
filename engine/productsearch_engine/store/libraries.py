"""Libraries: creating, growing, renaming, listing, deleting, finding.

A library's own tables (``store.tables``) are created and dropped with it. What a library is set to
later is ``store.library_settings``, and its key pair ``store.app_keys``. Does not know images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, LiteralString

from psycopg import Connection, errors, sql
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding import prefix_axes
from productsearch_engine.store import key_pairs, locks, tables
from productsearch_engine.store.key_pairs import Credentials

_NAMES_SHOWN = 10


@dataclass(frozen=True)
class Calibration:
    """The knots of a rising, piecewise linear function from cosine to score."""

    cosines: tuple[float, ...]
    scores: tuple[float, ...]


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
    generation: int
    """How often its embedding was changed: part of its tables' names."""
    keep_images: bool
    """Whether a small copy of each added image is kept."""
    calibration: Calibration | None = None
    """What its scores mean; None: what the embedding says."""
    nearest: bool = False
    """Whether the table of its prefixes is complete; else images have the index of the vectors."""
    axes: str | None = None
    """The axes of the prefixes; None: they are the whole vectors."""
    delete_lag_s: int = 0
    """How long searches of calls find an image after it was deleted."""
    bucketed: bool = False
    """Whether the rows of its tables have a bucket (``database.cluster``)."""


@dataclass(frozen=True, kw_only=True)
class App:
    """A credential pair as calls need to know it."""

    key_number: int
    """How often its secret key was changed."""
    old_key_serves: bool
    """Whether the key before it, and its tokens, still count."""
    has_quota: bool
    library: Library | None


NAME_MAX = 64
"""Characters of a library's name."""


class LibraryError(Exception):
    """A command about libraries is refused; the text is for its user."""


class UnknownLibraryError(LibraryError):
    """No library has this name; the text says which names there are."""

    def __init__(self, name: str, there: Sequence[str]):
        shown = ", ".join(map(repr, there[:_NAMES_SHOWN]))
        more = f" and {len(there) - _NAMES_SHOWN} more" if len(there) > _NAMES_SHOWN else ""
        known = f"there is {shown}{more}" if there else "there is none yet"
        super().__init__(f"no library {name!r}: {known}")


def unknown(connection: Connection[Any], name: str) -> UnknownLibraryError:
    """Return the error for a name that no library has."""
    rows = connection.execute("select name from libraries order by name").fetchall()
    return UnknownLibraryError(name, [str(row[0]) for row in rows])


def _exists(name: str) -> str:
    return f"library {name!r} exists: choose another name; `library list` shows all"


def check_name(name: str) -> None:
    """Raise LibraryError for what is no name of a library."""
    if not name.isprintable() or not 1 <= len(name) <= NAME_MAX or name != name.strip():
        told = f"a library's name is 1 to {NAME_MAX} printable characters"
        if len(name) > NAME_MAX:
            told += f"; this one has {len(name)}"
        elif name != name.strip():
            told += ", without blanks at its ends"
        raise LibraryError(told)


def _check_vectors(embedding: str, dimensions: int) -> None:
    """Raise LibraryError for vectors of another length than the axes of their embedding."""
    axes = prefix_axes.of(embedding)
    if axes is not None and axes.rows.shape[1] != dimensions:
        raise LibraryError(
            f"a vector of {embedding} has {axes.rows.shape[1]} numbers, not {dimensions}"
        )


class Libraries:
    """The apps and libraries of one database."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def create(
        self,
        name: str,
        *,
        capacity: int,
        embedding: str,
        dimensions: int,
        api_key: str | None,
        keep_images: bool = True,
        calibration: Calibration | None = None,
    ) -> Credentials:
        """Create a library and its app, or a library for the existing app of ``api_key``.

        Raises LibraryError, InUseError.
        """
        check_name(name)
        _check_vectors(embedding, dimensions)
        knots = None if calibration is None else Jsonb(asdict(calibration))

        def made(connection: Connection[Any]) -> Credentials:
            if keep_images:
                tables.before_kept(connection)
            if api_key is None:
                app_id, credentials = key_pairs.new_app(connection)
            else:
                app_id, credentials = (
                    app_of(connection, api_key),
                    Credentials(api_key=api_key, secret_key=None),
                )
            try:
                row = connection.execute(
                    "insert into libraries (app_id, name, capacity, embedding, dimensions,"
                    " keep_images, calibration) values (%s, %s, %s, %s, %s, %s, %s) returning id",
                    [app_id, name, capacity, embedding, dimensions, keep_images, knots],
                ).fetchone()
            except errors.UniqueViolation as error:
                taken = error.diag.constraint_name == "libraries_app_id_key"
                if taken:
                    raise LibraryError(f"API key {api_key} has a library") from None
                raise LibraryError(_exists(name)) from None
            assert row is not None  # noqa: S101 - an insert without conflict returns its row
            tables.create_images(connection, int(row[0]), embedding, dimensions)
            if keep_images:
                tables.create_kept(connection, int(row[0]))
            return credentials

        return locks.patiently(self._pool, made)

    def grow(self, name: str, by: int) -> Library:
        """Raise the capacity by ``by`` images. Raises LibraryError."""
        with self._pool.connection() as connection:
            done = connection.execute(
                "update libraries set capacity = capacity + %s where name = %s", [by, name]
            )
            if not done.rowcount:
                raise unknown(connection, name)
        return self.named(name)

    def rename(self, name: str, new: str) -> None:
        """Give a library another name; calls know it by its key pair. Raises LibraryError."""
        check_name(new)
        with self._pool.connection() as connection:
            try:
                done = connection.execute(
                    "update libraries set name = %s where name = %s", [new, name]
                )
            except errors.UniqueViolation:
                raise LibraryError(_exists(new)) from None
            if not done.rowcount:
                raise unknown(connection, name)

    def delete(self, name: str) -> None:
        """Drop a library with its images; its key pair stays. Raises LibraryError, InUseError."""
        own = self.named(name)

        def change(connection: Connection[Any]) -> None:
            row = connection.execute(
                "select id, generation from libraries where id = %s", [own.id]
            ).fetchone()
            if row is None:
                raise unknown(connection, name)
            # The table first, then the row, as an add locks them: no deadlock.
            table = tables.images(*row)
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(table))
            others = (tables.kept(own.id), tables.reembedding(own.id))
            tables.drop(connection, *others)
            connection.execute("delete from libraries where id = %s", [own.id])
            tables.drop(connection, table)

        built = tables.with_vectors(own.id, own.generation)
        locks.patiently(self._pool, change, ends_builds_on=built)

    def named(self, name: str) -> Library:
        """Return the library of this name. Raises LibraryError."""
        with self._pool.connection() as connection:
            row = connection.execute(f"{_SELECT} where l.name = %s", [name]).fetchone()
            if row is None:
                raise unknown(connection, name)
        return _library(row)

    def current(self, library: Library) -> Library | None:
        """Return a library as it is now, None if it was deleted or given another embedding."""
        with self._pool.connection() as connection:
            row = connection.execute(
                f"{_SELECT} where l.id = %s and l.generation = %s", [library.id, library.generation]
            ).fetchone()
        return None if row is None else _library(row)

    def list(self) -> list[Library]:
        """Return all libraries by name."""
        with self._pool.connection() as connection:
            rows = connection.execute(f"{_SELECT} order by l.name").fetchall()
        return [_library(row) for row in rows]

    def app(self, app_id: int) -> App | None:
        """Return what calls need to know of an app, None if there is no such app."""
        with self._pool.connection() as connection:
            row = connection.execute(f"{_SELECT_APP} where a.id = %s", [app_id]).fetchone()
        if row is None:
            return None
        *library, key_number, old_key_serves, has_quota = row
        return App(
            key_number=key_number,
            old_key_serves=bool(old_key_serves),
            has_quota=has_quota,
            library=None if library[0] is None else _library(tuple(library)),
        )


_COLUMNS: LiteralString = (
    "select l.id, l.name, a.api_key, l.capacity, l.image_count - lent_room_of(l.id), l.embedding,"
    " l.dimensions,"
    " l.generation, l.keep_images, l.calibration,"
    " l.nearest_since is not null and l.nearest_generation = l.generation, l.nearest_axes,"
    " l.delete_lag_s, exists (table bucket_layout)"
)
_SELECT: LiteralString = _COLUMNS + " from libraries l join apps a on a.id = l.app_id"
_SELECT_APP: LiteralString = (
    _COLUMNS + ", a.key_number, now() < a.old_until, q.app_id is not null from apps a"
    " left join libraries l on a.id = l.app_id left join quotas q on q.app_id = a.id"
)


def _library(row: tuple[Any, ...]) -> Library:
    return Library(
        id=row[0],
        name=row[1],
        api_key=row[2],
        capacity=row[3],
        image_count=row[4],
        embedding=row[5],
        dimensions=row[6],
        generation=row[7],
        keep_images=row[8],
        calibration=row[9] and Calibration(tuple(row[9]["cosines"]), tuple(row[9]["scores"])),
        nearest=bool(row[10]),
        axes=row[11],
        delete_lag_s=row[12],
        bucketed=row[13],
    )


def app_of(connection: Connection[Any], api_key: str) -> int:
    """Return the id of the app of an API key. Raises LibraryError."""
    row = connection.execute("select id from apps where api_key = %s", [api_key]).fetchone()
    if row is None:
        raise LibraryError(f"no API key {api_key}")
    return int(row[0])
