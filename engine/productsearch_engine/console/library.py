"""The page of the library itself: room, growth, storage, embedding, keys, members, export.

Knows the store. Does not know images' pages.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

from starlette.responses import Response, StreamingResponse

from productsearch_engine.console import notice, pages, refusal
from productsearch_engine.console.card import card
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit
from productsearch_engine.limits import (
    EMPTIED_MAX,
    GROW_MAX,
    LIBRARY_PAGE_DAYS,
    LIBRARY_PAGE_REMEMBERED_S,
)
from productsearch_engine.store.app_keys import WrongSecretError
from productsearch_engine.store.gallery import Stored, place_of
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.overview import Overview
from productsearch_engine.store.selections import Selection

_EXPORTED_AT_ONCE = 1000
_LIBRARIES_MAX = 256


class LibraryPage:
    """The page of a library."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms
        self._known: dict[tuple[int, int, int], tuple[Overview, float]] = {}
        self._emptying = asyncio.Lock()

    async def show(self, visit: Visit) -> Response:
        """Answer with the page."""
        return await self._page(visit)

    async def grow(self, visit: Visit, form: Form) -> Response:
        """Give the library more room."""
        text = form.one("by").strip()
        by = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
        if not 1 <= by <= GROW_MAX:
            raise Refusal(400, "grow")
        grow = self._rooms.stores.libraries.grow
        await self._rooms.in_thread(grow, visit.library.name, by)
        note = self._rooms.stores.journal.note
        done = await self._rooms.in_thread(note, visit.library, "grow", by, visit.author)
        return notice.told(visit, "/console/library", done=done)

    async def rotate(self, visit: Visit, form: Form) -> Response:
        """Give the library's app another secret key, and show it this once.

        Only to who has the present one: a user who edits images gets no key of services.
        """
        if not visit.by_keys:
            raise Refusal(403, "keys")
        if form.one("sure") != "1":
            raise Refusal(400, "sure")
        rotate = self._rooms.stores.keys.rotate
        try:
            secret_key = await self._rooms.in_thread(rotate, visit.app_id, 0, visit.secret_digest)
        except WrongSecretError:
            raise Refusal(403, "keys") from None
        note = self._rooms.stores.journal.note
        try:
            await self._rooms.in_thread(note, visit.library, "rotate", 0, visit.author)
        except Exception as error:  # noqa: BLE001 - a key that was made is shown all the same
            refusal.of(error)
        return await self._page(visit, secret_key=secret_key)

    async def empty(self, visit: Visit, form: Form) -> Response:
        """Delete all images, if the form has the library's name: the one delete that asks.

        One at a time: it has a thread and a connection for as long as a minute.
        """
        if form.one("name").strip() != visit.library.name:
            raise Refusal(400, "name")
        if self._emptying.locked():
            raise Refusal(429, "busy")
        async with self._emptying:
            done, _ = await self._rooms.in_thread(
                self._rooms.stores.journal.empty, visit.library, visit.author, EMPTIED_MAX
            )
        return notice.told(visit, "/console/", done=done)

    async def export(self, visit: Visit) -> Response:
        """Answer with all images as JSON, one a line, the oldest first."""
        name = f"images-{datetime.now(UTC):%Y-%m-%d}.jsonl"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        lines = self._lines(visit.library)
        return StreamingResponse(lines, media_type="application/jsonl", headers=headers)

    async def _lines(self, library: Library) -> AsyncIterator[str]:
        place = None
        while True:
            images = await self._rooms.in_thread(
                self._rooms.stores.gallery.page,
                library,
                Selection(),
                "oldest",
                _EXPORTED_AT_ONCE,
                place=place,
            )
            yield "".join(_line(image) for image in images)
            if len(images) < _EXPORTED_AT_ONCE:
                return
            place = place_of(images[-1], "oldest")

    async def _page(self, visit: Visit, secret_key: str | None = None) -> Response:
        overview = await self._overview(visit.library)
        today = datetime.now(UTC).date()
        adds, searches = _by_day(overview.adds, today), _by_day(overview.searches, today)
        return pages.page(
            visit,
            "library.html",
            section="library",
            overview=overview,
            adds=adds,
            searches=searches,
            total=lambda counted: sum(count for _, count in counted),
            chart=_chart,
            secret_key=secret_key,
            by_keys=visit.by_keys,
            grow_max=GROW_MAX,
            emptied_max=EMPTIED_MAX,
        )

    async def _overview(self, library: Library) -> Overview:
        key = library.id, library.generation, library.image_count
        overview, until = self._known.get(key, (None, 0.0))
        if overview is None or until < time.monotonic():
            overview = await self._rooms.in_thread(self._rooms.stores.overviews.of, library)
            if len(self._known) >= _LIBRARIES_MAX:
                self._known.clear()
            self._known[key] = overview, time.monotonic() + LIBRARY_PAGE_REMEMBERED_S
        return overview


def _line(image: Stored) -> str:
    shown = card(image)
    values = {
        "cont_sign": shown.sign,
        "brief": shown.brief,
        "class_id1": image.class_id1,
        "class_id2": image.class_id2,
        "added": image.created_at.astimezone(UTC).isoformat(),
        "updated": image.updated_at.astimezone(UTC).isoformat(),
    }
    return json.dumps(values, ensure_ascii=False) + "\n"


def _by_day(counted: list[tuple[date, int]], today: date) -> list[tuple[date, int]]:
    """Return the count of each of the last days, also of those without one."""
    known = dict(counted)
    days = [today - timedelta(days=back) for back in range(LIBRARY_PAGE_DAYS - 1, -1, -1)]
    return [(day, known.get(day, 0)) for day in days]


def _chart(counted: list[tuple[date, int]]) -> str:
    return json.dumps([[day.isoformat() for day, _ in counted], [count for _, count in counted]])
