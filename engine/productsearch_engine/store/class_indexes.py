"""Indexes of the vectors of one class each, for classes that are large and searched often.

They are partial indexes of ``nearest_<id>``, and PostgreSQL's own catalog is the list of them: all
engines of a database share what one has built. An engine counts the searches that it was asked for,
in memory. The price: a class index takes the bytes of its class's vectors once more, and while a
library has one, a change of class ids costs an insert into its indexes of vectors.

Knows indexes and numbers. Does not know when to look: ``store.nearest_builds`` does.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import (
    CLASS_COUNTS_MAX,
    CLASS_INDEX_LIBRARY,
    CLASS_INDEX_SEARCHES,
    CLASS_INDEX_UNUSED_S,
    CLASS_INDEXES_KNOWN_S,
    CLASS_INDEXES_MAX,
    CLASS_INDEXES_SHARE,
    LARGE_CLASS,
)
from productsearch_engine.store import statements, tables
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.statements import ClassColumn, ClassFilter

_log = logging.getLogger(__name__)

Class = tuple[ClassColumn, int]

_TOO_SMALL = (
    "{2} {3} has {4} of the {0.image_count} images of {0.name!r}: an index of its own is for"
    " libraries of more than {1.library} images and classes of {1.large}"
)

_UNREAD: tuple[float, frozenset[Class]] = -math.inf, frozenset()
_PREDICATE = re.compile(r"\((class_id[12]) = (\d+)\)")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Which classes have an index; see ``limits``."""

    library: int = CLASS_INDEX_LIBRARY
    large: int = LARGE_CLASS
    searches: int = CLASS_INDEX_SEARCHES
    count_max: int = CLASS_INDEXES_MAX
    share: float = CLASS_INDEXES_SHARE
    unused_s: float = CLASS_INDEX_UNUSED_S

    def has_any(self, stored: int) -> bool:
        """Return whether a library of so many images has indexes of classes at all."""
        return stored > self.library

    def takes(self, images: int, searches: int, stored: int, indexed: list[int]) -> bool:
        """Return whether a class gets an index: ``indexed`` are the sizes of those that have one.

        ``images`` is the size of the class, ``searches`` how often it was asked for of late.
        """
        is_large = self.has_any(stored) and images >= self.large
        is_wanted = is_large and searches >= self.searches
        has_room = len(indexed) < self.count_max and sum(indexed) + images <= self.share * stored
        return is_wanted and has_room

    def drops(self, images: int, unused_s: float) -> bool:
        """Return whether a class of so many images, last searched so long ago, loses its index.

        It does at half of the size that gave it one, so that a class at the border keeps it.
        """
        return images < self.large // 2 or unused_s > self.unused_s


@dataclass(frozen=True)
class _Index:
    name: str
    of: Class
    is_valid: bool
    unused_s: float
    size_bytes: int


class ClassIndexes:
    """The class indexes of one database's libraries, as one engine knows them; safe for threads."""

    def __init__(self, bounds: Bounds | None = None):
        self.bounds = bounds or Bounds()
        self._lock = threading.Lock()
        self._asked: Counter[tuple[int, Class]] = Counter()
        self._known: dict[tuple[int, int], tuple[float, frozenset[Class]]] = {}

    def serves(
        self,
        connection: Connection[Any],
        library: Library,
        classes: ClassFilter,
        images: Mapping[ClassColumn, int],
    ) -> frozenset[ClassColumn]:
        """Return which classes of a filter have an index, and note that they were asked for.

        ``images`` are the sizes of the classes; they need not be counted beyond that of a large
        class. What is known of a library's indexes is a few seconds old.
        """
        if not library.nearest or not self.bounds.has_any(library.image_count):
            return frozenset()
        asked = [of for of in _classes(classes) if images[of[0]] >= self.bounds.large]
        if not asked:
            return frozenset()
        with self._lock:
            if len(self._asked) >= CLASS_COUNTS_MAX:
                self._asked.clear()
            self._asked.update((library.id, of) for of in asked)
            read_s, found = self._known.get((library.id, library.generation), _UNREAD)
        if time.monotonic() - read_s > CLASS_INDEXES_KNOWN_S:
            found = frozenset(each.of for each in _indexes(connection, library) if each.is_valid)
            with self._lock:
                self._known[library.id, library.generation] = (time.monotonic(), found)
        return frozenset(of[0] for of in asked if of in found)

    def listed(self, pool: ConnectionPool[Any], library: Library) -> list[tuple[Class, int, int]]:
        """Return the classes that have a complete index: each, its images, the index's bytes."""
        with pool.connection() as connection:
            return [
                (index.of, _images(connection, library, index.of), index.size_bytes)
                for index in _indexes(connection, library)
                if index.is_valid
            ]

    def concern(self, connection: Connection[Any], library: Library) -> bool:
        """Return whether there is something to tend: an index of a class, or searches of one.

        Not while an import has dropped the library's indexes: it builds them itself.
        """
        with self._lock:
            is_asked = any(library_id == library.id for library_id, _ in self._asked)
        if not is_asked and not _indexes(connection, library):
            return False
        row = connection.execute(_IS_DROPPED, [library.id]).fetchone()
        return row is None

    def tend(self, connection: Connection[Any], library: Library) -> None:
        """Drop the library's class indexes that are not worth it, and build one that is wanted.

        At most one a look: it takes long. Must not run in a transaction, nor in two engines at once
        for one library.
        """
        there: list[int] = []
        has = set()
        for index in _indexes(connection, library):
            images = _images(connection, library, index.of)
            if not index.is_valid or self.bounds.drops(images, index.unused_s):
                _log.info("library %d: index of %s %d dropped", library.id, *index.of)
                tables.drop_index(connection, index.name)
            else:
                there.append(images)
                has.add(index.of)
        for of, searches in self._taken(library):
            if of in has:
                continue
            images = _images(connection, library, of)
            takes = self.bounds.takes(images, searches, library.image_count, there)
            _log.debug(
                "library %d: %s %d has %d images, %d searches: %s",
                *(library.id, *of, images, searches),
                "gets an index" if takes else "gets no index",
            )
            if takes:
                _build(connection, library, of, images)
                break
        with self._lock:
            self._known.clear()

    def build(self, connection: Connection[Any], library: Library, of: Class) -> None:
        """Build the index of a class now, if it has none, however often it is asked for.

        Raises LibraryError: the class is one whose index would be dropped again. Must not run in a
        transaction, nor beside ``tend``.
        """
        images = _images(connection, library, of)
        if not self.bounds.has_any(library.image_count) or self.bounds.drops(images, 0):
            raise LibraryError(_TOO_SMALL.format(library, self.bounds, *of, images))
        for index in _indexes(connection, library):
            if index.of == of:
                if index.is_valid:
                    return
                tables.drop_index(connection, index.name)
        _build(connection, library, of, images)

    def _taken(self, library: Library) -> list[tuple[Class, int]]:
        """Return how often each class of a library was asked for, most often first.

        A half of each count stays for the next look.
        """
        with self._lock:
            own = {
                of: count
                for (library_id, of), count in self._asked.items()
                if library_id == library.id
            }
            for of, count in own.items():
                self._asked[library.id, of] = count // 2
            self._asked = +self._asked
        return sorted(own.items(), key=lambda item: (-item[1], item[0]))


def _classes(classes: ClassFilter) -> list[Class]:
    """Return the classes that a filter names."""
    named: list[tuple[ClassColumn, int | None]] = [
        ("class_id1", classes.class_id1),
        ("class_id2", classes.class_id2),
    ]
    return [(column, class_id) for column, class_id in named if class_id is not None]


def _indexes(connection: Connection[Any], library: Library) -> list[_Index]:
    rows = connection.execute(_INDEXES, [tables.nearest(library.id).as_string(None)]).fetchall()
    found = []
    for name, predicate, is_valid, unused_s, size_bytes in rows:
        match = _PREDICATE.fullmatch(predicate)
        if match is not None:
            column: ClassColumn = "class_id1" if match[1] == "class_id1" else "class_id2"
            of: Class = column, int(match[2])
            found.append(_Index(name, of, is_valid, float(unused_s), int(size_bytes)))
    return found


def _images(connection: Connection[Any], library: Library, of: Class) -> int:
    values = {"class_id": of[1], "enough": library.image_count + 1}
    row = connection.execute(statements.count(library, of[0]), values).fetchone()
    return int(row[0]) if row else 0


def _build(connection: Connection[Any], library: Library, of: Class, images: int) -> None:
    _log.info("library %d: index of %s %d begun, %d images", library.id, *of, images)
    began_s = time.monotonic()
    connection.execute(
        tables.nearest_index("concurrently", tables.nearest(library.id))
        + sql.SQL(" where {} = {}").format(sql.Identifier(of[0]), sql.Literal(of[1]))
    )
    seconds = time.monotonic() - began_s
    _log.info("library %d: index of %s %d built in %.0f s", library.id, *of, seconds)


_IS_DROPPED: LiteralString = "select from dropped_indexes where library_id = %s limit 1"
# An index that was not used since the statistics began is as if it were used just now.
_INDEXES: LiteralString = """
select i.indexrelid::regclass::text, pg_get_expr(i.indpred, i.indrelid), i.indisvalid,
    extract(epoch from coalesce(now() - s.last_idx_scan, '0')), pg_relation_size(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    left join pg_stat_all_indexes s on s.indexrelid = i.indexrelid
where i.indrelid = to_regclass(%s) and a.amname = 'hnsw' and i.indpred is not null
order by 1
"""
