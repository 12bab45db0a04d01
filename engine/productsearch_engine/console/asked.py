"""What a search of the console is asked with, as fields of an address or a form.

``like`` is a stored image; ``query`` an image, or a part of one, that was sent; ``url`` where that
came from; the others filter.
"""

from __future__ import annotations

from collections.abc import Mapping

from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.view import class_id
from productsearch_engine.store import signs
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.queries import Query
from productsearch_engine.store.statements import ClassFilter

FILTERS = ("class_id1", "class_id2", "any", "least")
SOURCES = ("query", "like")
CARRIED = (*FILTERS, "url")
"""What an address of results says beside its source."""


async def query_of(rooms: Rooms, library: Library, asked: Mapping[str, str]) -> Query | None:
    """Return what is searched with, None if nothing is. Raises Refusal."""
    queries = rooms.stores.queries
    if asked.get("like"):
        sign = signs.from_text(asked["like"].encode())
        found = None if sign is None else await rooms.in_thread(queries.stored, library, sign)
        if found is None:
            raise Refusal(404, "gone")
        return found
    if not asked.get("query"):
        return None
    try:
        key = bytes.fromhex(asked["query"])
    except ValueError:
        raise Refusal(404, "query") from None
    kept = await rooms.in_thread(queries.kept, library, key)
    if kept is None:
        raise Refusal(404, "query")
    return kept


def class_filter(asked: Mapping[str, str], *, lenient: bool = False) -> ClassFilter:
    """Return the class ids that filter. Raises Refusal for one that is none, unless lenient."""
    return ClassFilter(
        class_id1=class_id(asked.get("class_id1", ""), lenient=lenient),
        class_id2=class_id(asked.get("class_id2", ""), lenient=lenient),
        any_class=asked.get("any") == "1",
    )


def chosen(asked: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return those of the fields that are there: by default all but the source."""
    return {name: asked[name] for name in names or CARRIED if asked.get(name)}
