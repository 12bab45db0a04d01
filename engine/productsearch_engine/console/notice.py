"""What a page tells of a change that was just made, and offers to undo.

The number of the change is in the address, so the notice is there after a reload, too.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Notice, Visit

_FIELDS = ("done", "told", "pin")
_KEYS = ("undone", "undone_part", "merge_conflict")


async def of(visit: Visit, rooms: Rooms) -> Notice | None:
    """Return the notice that an address asks for."""
    query = visit.request.query_params
    done = await of_change(visit, rooms, number(query.get("done", "")))
    # Whoever gets the address from a colleague is told of no change, and undoes none by a key.
    if done is not None and done.change is not None and done.change.who == visit.who:
        return done
    key, pin = query.get("told", ""), number(query.get("pin", ""))
    if key == "unpinned" and pin is not None:
        return Notice(key=key, pin=pin)
    return Notice(key=key) if key in _KEYS else None


async def of_change(visit: Visit, rooms: Rooms, change_id: int | None) -> Notice | None:
    """Return the notice of a change, None if there is none or it was undone."""
    if change_id is None:
        return None
    change = await rooms.in_thread(rooms.stores.journal.find, visit.library, change_id)
    return None if change is None or change.undone else Notice(change=change)


def number(text: str) -> int | None:
    """Return the number of a change that a form or an address names."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def with_fields(address: str, **fields: object) -> str:
    """Return an address within the console with these fields and without older notices."""
    address, _, place = address.partition("#")
    path, _, query = address.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query) if name not in _FIELDS]
    added = [(name, str(value)) for name, value in fields.items() if value is not None]
    text = urlencode(kept + added)
    return path + (f"?{text}" if text else "") + (f"#{place}" if place else "")
