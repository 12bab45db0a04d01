"""What recent changes of a library made of the numbers of its class ids, by the journal.

So the counts of a large library need not be made anew for who has just edited an image of it. Reads
only.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg_pool import ConnectionPool

from productsearch_engine.store.libraries import Library

Differences = dict[int, int]
"""By class id: how many more images have it, below 0 how many fewer."""


class ClassChanges:
    """The changes of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def last(self, library: Library) -> int:
        """Return the number of a library's last change, 0 if there is none."""
        with self._pool.connection() as connection:
            row = connection.execute(_LAST, [library.id]).fetchone()
        return int(row[0]) if row else 0

    def between(
        self, library: Library, after: int, last: int
    ) -> tuple[Differences, Differences] | None:
        """Return what the changes after one, up to another, made of both class ids' numbers.

        None: there are others than edits, merges and deletes among them.
        """
        values = {"library": library.id, "after": after, "last": last}
        with self._pool.connection() as connection:
            row = connection.execute(_OTHERS, values).fetchone()
            if row is None or row[0]:
                return None
            first, second = (
                dict(connection.execute(text, values).fetchall())
                for text in (_DIFFERENCES, _DIFFERENCES.replace("class_id1", "class_id2"))
            )
        return first, second


_LAST: LiteralString = "select coalesce(max(id), 0) from changes where library_id = %s"
_MEANT: LiteralString = "library_id = %(library)s and id > %(after)s and id <= %(last)s"
_OTHERS: LiteralString = """
select count(*) from changes where MEANT and kind not in ('edit', 'delete', 'merge')
""".replace("MEANT", _MEANT)
_DIFFERENCES: LiteralString = """
select class_id, sum(difference)::int from (
    select i.class_id1 as class_id, -1 as difference
    from changed_images i join changes c on c.id = i.change_id where c.MEANT
    union all
    select i.class_id1_after, 1
    from changed_images i join changes c on c.id = i.change_id
    where c.MEANT and i.brief_after is not null
) as each
where class_id is not null group by class_id having sum(difference) <> 0
""".replace("MEANT", _MEANT.replace("and id", "and c.id"))
