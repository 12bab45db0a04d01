"""Erases images everywhere: where they are stored, where an undo or a kept search would find them.

Runs in its caller's transaction. Does not know what a change is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg

from productsearch_engine.limits import SIGN_ATTEMPTS_MAX
from productsearch_engine.store import signs
from productsearch_engine.store.adds import together
from productsearch_engine.store.bucketed import COUNT_DELETED, forget, take_turn
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import among, composed

_Connection = psycopg.Connection[Any]


def purge(connection: _Connection, library: Library, chosen: list[int]) -> int:
    """Erase the images of these signs, also such as were deleted before; return how many.

    Searches and pins by an image that nothing is stored of any more are known by its digest.
    """
    values: dict[str, Any] = {"signs": chosen, "library": library.id}
    if library.bucketed:
        together(connection)
        take_turn(connection, library)
    rows = connection.execute(composed(_DELETE, library), values | among(chosen)).fetchall()
    if library.bucketed:
        forget(connection, library, chosen)
    connection.execute(COUNT_DELETED, values | {"deleted": len(rows)})
    rows += connection.execute(_CHANGED, values).fetchall()
    digests = {bytes(digest) for _, digest in rows if digest is not None}
    asked = connection.execute(_DIGESTS, values).fetchall()
    digests |= {*_of(chosen, (bytes(row[0]) for row in asked))}
    for text in (_SEARCHED, _PINNED, _DELETED, _DISMISSED):
        connection.execute(text, values | {"digests": [*digests]})
    return len({sign for sign, _ in rows})


def _of(chosen: list[int], digests: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the digests that one of these signs may have been made of."""
    wanted = {*chosen}
    for digest in digests:
        made = (signs.derive(digest, attempt) for attempt in range(SIGN_ATTEMPTS_MAX))
        if not wanted.isdisjoint(made):
            yield digest


_DELETE: LiteralString = (
    "delete from {images} where library_id = {library} and sign = any(%(signs)s){among}"
    " returning sign, digest"
)
_CHANGED: LiteralString = """
delete from changed_images where library_id = %(library)s and sign = any(%(signs)s)
returning sign, digest
"""
_DIGESTS: LiteralString = """
select coalesce(source, digest) from query_images where library_id = %(library)s
union select source from pins where library_id = %(library)s
"""
_SEARCHED: LiteralString = """
delete from query_images
where library_id = %(library)s and coalesce(source, digest) = any(%(digests)s::bytea[])
"""
_PINNED: LiteralString = """
delete from pins where library_id = %(library)s
    and (sign = any(%(signs)s) or source = any(%(digests)s::bytea[]))
"""
_DELETED: LiteralString = (
    "delete from deleted_images where library_id = %(library)s and sign = any(%(signs)s)"
)
"""What searches would find of images after their delete; the delete itself has left some."""
_DISMISSED: LiteralString = """
delete from dismissed_pairs
where library_id = %(library)s and (sign = any(%(signs)s) or other = any(%(signs)s))
"""
