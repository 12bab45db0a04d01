"""What a page tells of a change that was just made, and offers to undo.

The number of the change is in the address, so the notice is there after a reload, too. A cookie has
it as well: whoever goes to another page finds the offer there, until its time is over.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from productsearch_engine.console import cookies
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import LAST_CHANGE, Notice, Visit, number, to
from productsearch_engine.limits import OWN_CHANGE_KNOWN_S, UNDO_OFFERED_S
from productsearch_engine.store import signs
from productsearch_engine.store.journal import Change

_FIELDS = ("done", "told", "pin", "pair")
_UNDONE = ("undone", "undone_part")
_KEYS = (*_UNDONE, "merge_conflict", "pinned")
_PARTS = (".webp", ".svg", ".jsonl")
"""What ends the address of what is no page."""


async def of(visit: Visit, rooms: Rooms) -> Notice | None:
    """Return the notice that an address asks for, or that of the last change."""
    query = visit.request.query_params
    key = query.get("told", "")
    # Whoever gets the address from a colleague is told of no change, and undoes none by a key.
    done = await _own(visit, rooms, number(query.get("done", "")))
    if key in _UNDONE:
        return Notice(key=key, change=done if done and done.undoable else None)
    if done is not None:
        return Notice(change=done)
    found = await _taken_away(visit, rooms, key)
    if found is not None:
        return found
    return Notice(key=key) if key in _KEYS else await _last(visit, rooms)


async def _taken_away(visit: Visit, rooms: Rooms, key: str) -> Notice | None:
    """Return the offer to bring a pin or a pair back, if it is still away."""
    query, stores = visit.request.query_params, rooms.stores
    if not visit.may_edit:
        return None
    pin, pair = number(query.get("pin", "")), pair_of(query.get("pair", ""))
    if key == "unpinned" and pin is not None:
        removed = await rooms.in_thread(stores.pins.is_removed, visit.library, pin)
        return Notice(key=key, pin=pin) if removed else None
    if key == "dismissed" and pair is not None:
        found = await rooms.in_thread(stores.dismissals.among, visit.library, [pair])
        return Notice(key=key, pair=query["pair"]) if found else None
    return None


async def _last(visit: Visit, rooms: Rooms) -> Notice | None:
    """Return the offer to undo the last change, as long as it lasts."""
    if not visit.may_edit or visit.request.url.path.endswith(_PARTS):
        return None
    change = await _own(visit, rooms, visit.last_change)
    if change is None or not change.undoable:
        return None
    left_s = UNDO_OFFERED_S - (datetime.now(UTC) - change.changed_at).total_seconds()
    return Notice(change=change, lasts_s=min(round(left_s), UNDO_OFFERED_S)) if left_s > 1 else None


async def _own(visit: Visit, rooms: Rooms, change_id: int | None) -> Change | None:
    found = await of_change(visit, rooms, change_id)
    change = None if found is None else found.change
    return change if change is not None and change.who == visit.who else None


async def of_change(visit: Visit, rooms: Rooms, change_id: int | None) -> Notice | None:
    """Return the notice of a change, None if there is none or it was undone."""
    if change_id is None:
        return None
    change = await rooms.in_thread(rooms.stores.journal.find, visit.library, change_id)
    return None if change is None or change.undone else Notice(change=change)


def pair_of(text: str) -> tuple[int, int] | None:
    """Return the images of a pair that a form or an address names; None: it names none."""
    found = [signs.from_text(each.encode()) for each in text.split("~", 2)]
    match found:
        case [int(one), int(other)]:
            return one, other
        case _:
            return None


def told(visit: Visit, address: str, *, done: int | None = None, **fields: object) -> Response:
    """Send the browser to a view that tells of a change, ``done``, or of what else happened."""
    return remembered(visit, to(with_fields(address, done=done, **fields)), done)


def remembered(visit: Visit, response: Response, done: int | None) -> Response:
    """Return the response, by which a browser knows for a while which change it made last."""
    if done is not None:
        cookies.put(visit.request, response, LAST_CHANGE, str(done), OWN_CHANGE_KNOWN_S)
    return response


def with_fields(address: str, **fields: object) -> str:
    """Return an address within the console with these fields and without older notices."""
    address, _, place = address.partition("#")
    path, _, query = address.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query) if name not in _FIELDS]
    added = [(name, str(value)) for name, value in fields.items() if value is not None]
    text = urlencode(kept + added)
    return path + (f"?{text}" if text else "") + (f"#{place}" if place else "")
