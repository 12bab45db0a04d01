"""Reads what searches read, so that the first ones after a start do not wait for the disk.

The files of the indexes of vectors, then those of prefixes and images, go through the machine's
cache once, up to a bound. Works by what PostgreSQL tells of its files, which only its superuser may
ask. Does not know searches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, LiteralString

from psycopg_pool import ConnectionPool

_PIECE = 8 << 20
_SEGMENT = 1 << 30
"""PostgreSQL keeps so much of a table or an index in one file."""


class Warming:
    """The reading of one database's files; ``bytes_max`` of them at the most."""

    def __init__(self, pool: ConnectionPool[Any], bytes_max: int):
        self._pool = pool
        self._bytes_max = bytes_max

    def read(self, stopped: Callable[[], bool] = lambda: False) -> int:
        """Return how many bytes were read: all that searches read first comes first."""
        left = self._bytes_max
        with self._pool.connection() as connection:
            files = connection.execute(FILES).fetchall()
        for path, size in files:
            for start in range(0, min(size, left), _PIECE):
                if stopped():
                    return self._bytes_max - left
                segment, offset = divmod(start, _SEGMENT)
                values = {
                    "file": f"{path}.{segment}" if segment else path,
                    "offset": offset,
                    "length": min(_PIECE, left),
                }
                # A connection for each piece: no call waits for more than one.
                with self._pool.connection() as connection:
                    row = connection.execute(_READ, values).fetchone()
                left -= row[0] if row and row[0] else 0
        return self._bytes_max - left


FILES: LiteralString = """
select pg_relation_filepath(c.oid), pg_relation_size(c.oid)
from pg_class c left join pg_am a on a.oid = c.relam
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'i')
    and c.relname ~ '^(nearest|images)_[0-9]' and pg_relation_size(c.oid) > 0
order by a.amname = 'hnsw' desc, c.relkind = 'r' desc, c.relname ~ '^nearest' desc, c.oid
"""

# A file that is gone, because its table is another one by now, is none.
_READ: LiteralString = """
select length(pg_read_binary_file(%(file)s, %(offset)s::bigint, %(length)s::bigint, true))
"""
