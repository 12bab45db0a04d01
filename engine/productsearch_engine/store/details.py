"""Reads what the journal knows of each image of a change: how it was, and how an edit left it.

For as long as an undo knows the change. Reads only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple

from psycopg_pool import ConnectionPool

from productsearch_engine.store.libraries import Library


class Written(NamedTuple):
    """What people write of an image."""

    brief: bytes
    class_id1: int | None
    class_id2: int | None


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One image of a change."""

    sign: int
    before: Written | None
    """None of an image that was added."""
    after: Written | None
    """None unless it was edited, and by an engine that knows to write it down."""


class Details:
    """The images of changes of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def some(
        self, library: Library, changes: Sequence[int], count: int
    ) -> dict[int, list[Changed]]:
        """Return up to ``count`` images of each change, by their signs."""
        values = {"library": library.id, "changes": list(changes), "count": count}
        with self._pool.connection() as connection:
            rows = connection.execute(_SOME, values).fetchall()
        found: dict[int, list[Changed]] = defaultdict(list)
        for change, *row in rows:
            found[change].append(_changed(*row))
        return found

    def page(
        self, library: Library, change: int, count: int, after: int | None = None
    ) -> list[Changed]:
        """Return up to ``count`` images of a change whose sign is above ``after``."""
        values = {"library": library.id, "change": change, "count": count, "after": after}
        with self._pool.connection() as connection:
            return [_changed(*row) for row in connection.execute(_PAGE, values)]


_COLUMNS: LiteralString = """
sign, brief, class_id1, class_id2, brief_after, class_id1_after, class_id2_after
"""
_SOME: LiteralString = """
select c.id, s.* from unnest(%(changes)s::bigint[]) as c (id) cross join lateral (
    select COLUMNS from changed_images
    where change_id = c.id and library_id = %(library)s order by sign limit %(count)s
) as s order by c.id, s.sign
""".replace("COLUMNS", _COLUMNS)
_PAGE: LiteralString = """
select COLUMNS from changed_images
where change_id = %(change)s and library_id = %(library)s
    and (%(after)s::bigint is null or sign > %(after)s::bigint)
order by sign limit %(count)s
""".replace("COLUMNS", _COLUMNS)


def _changed(sign: int, *columns: Any) -> Changed:
    return Changed(sign=sign, before=_written(*columns[:3]), after=_written(*columns[3:]))


def _written(brief: bytes | None, class_id1: int | None, class_id2: int | None) -> Written | None:
    return None if brief is None else Written(bytes(brief), class_id1, class_id2)
