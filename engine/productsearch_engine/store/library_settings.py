"""What a library is set to: whether it keeps images, how long deletes lag, what its scores mean.

Knows the table ``libraries`` and those that a setting creates or empties. Does not know images.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from productsearch_engine.store import locks, tables
from productsearch_engine.store.libraries import Calibration, Libraries, LibraryError, unknown


class LibrarySettings:
    """The settings of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool
        self._libraries = Libraries(pool)

    def keep_images(self, name: str, keep: bool) -> None:
        """Keep a small copy of each image that is added from now on, or of none, dropping those
        that are kept. Raises LibraryError, InUseError."""
        library = self._libraries.named(name)

        def change(connection: Connection[Any]) -> None:
            if keep:
                tables.before_kept(connection)
                tables.create_kept(connection, library.id)
            else:
                tables.drop(connection, tables.kept(library.id))
            done = connection.execute(
                "update libraries set keep_images = %s where id = %s", [keep, library.id]
            )
            if not done.rowcount:
                raise unknown(connection, name)

        locks.patiently(self._pool, change)

    def lag_deletes(self, name: str, seconds: int) -> None:
        """Let searches of calls find what is deleted from now on for so long; 0 ends it at once.

        Raises LibraryError.
        """
        if seconds and self._libraries.named(name).bucketed:
            raise LibraryError(f"{name!r} is on a cluster, where deletes have no lag")
        with self._pool.connection() as connection, connection.transaction():
            row = connection.execute(
                "update libraries set delete_lag_s = %s where name = %s returning id",
                [seconds, name],
            ).fetchone()
            if row is None:
                raise unknown(connection, name)
            if not seconds:
                connection.execute("delete from deleted_images where library_id = %s", [row[0]])

    def calibrate(self, name: str, embedding: str, calibration: Calibration) -> None:
        """Let a library's scores mean this, if it still has the embedding that it was fitted for.

        embedding: with its version or digest, as the library stores it. Raises LibraryError.
        """
        knots = {"cosines": calibration.cosines, "scores": calibration.scores}
        with self._pool.connection() as connection:
            done = connection.execute(
                "update libraries set calibration = %s where name = %s and embedding = %s",
                [Jsonb(knots), name, embedding],
            )
        if not done.rowcount:
            now = self._libraries.named(name).embedding
            raise LibraryError(
                f"{name!r} has the embedding {now} by now; this calibration is for {embedding}"
            )
