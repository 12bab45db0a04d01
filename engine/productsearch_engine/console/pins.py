"""The page of pinned searches: each has the image that it must find, and is run again at a click.

Knows the store. Does not know how a search is asked.
"""

from __future__ import annotations

from starlette.responses import Response

from productsearch_engine.api import calls
from productsearch_engine.console import asked, notice, pages
from productsearch_engine.console.card import card
from productsearch_engine.console.forms import Form
from productsearch_engine.console.parts import Parts
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit, safe, to
from productsearch_engine.limits import PIN_RANK_MAX
from productsearch_engine.store import signs
from productsearch_engine.store.pins import Pin, TooManyPinsError

_PAGE = "/console/pins"


class PinsPage:
    """The pinned searches of a library."""

    def __init__(self, rooms: Rooms, parts: Parts):
        self._rooms = rooms
        self._parts = parts

    async def show(self, visit: Visit) -> Response:
        """Answer with the pins and their last runs."""
        pins = await self._rooms.in_thread(self._rooms.stores.pins.list, visit.library)
        find = self._rooms.stores.gallery.find
        images = await self._rooms.in_thread(find, visit.library, [pin.sign for pin in pins])
        cards = {image.sign: card(image) for image in images}
        return pages.page(
            visit,
            "pins.html",
            section="pins",
            pins=[(pin, signs.to_text(pin.sign), cards.get(pin.sign)) for pin in pins],
            ran=sum(pin.ran_at is not None for pin in pins),
            first=sum(pin.rank == 1 for pin in pins),
            missed=sum(pin.ran_at is not None and pin.rank is None for pin in pins),
            reach=PIN_RANK_MAX,
        )

    async def add(self, visit: Visit, form: Form) -> Response:
        """Pin a search with the image that it must find."""
        fields = {name: form.one(name) for name in (*asked.SOURCES, *asked.FILTERS)}
        sign = signs.from_text(form.one("hit").encode())
        query = await asked.query_of(self._rooms, visit.library, fields)
        copy = None if query is None else await self._parts.copy(visit, fields)
        if query is None or sign is None or copy is None:
            raise Refusal(404, "query")
        if not await self._rooms.in_thread(self._rooms.stores.gallery.find, visit.library, [sign]):
            raise Refusal(404, "gone")
        try:
            await self._rooms.in_thread(
                self._rooms.stores.pins.add,
                visit.library,
                query,
                copy,
                sign,
                asked.class_filter(fields),
                visit.who,
            )
        except TooManyPinsError:
            raise Refusal(409, "pins") from None
        back = safe(form.one("back"), "")
        if not back:
            return to(_PAGE)
        place = f"#at-{signs.to_text(sign)}"
        return notice.told(visit, back.partition("#")[0] + place, told="pinned")

    async def remove(self, visit: Visit, form: Form) -> Response:
        """Take a pin away, and offer to bring it back."""
        pin = _number(form)
        await self._rooms.in_thread(self._rooms.stores.pins.remove, visit.library, pin)
        return notice.told(visit, _PAGE, told="unpinned", pin=pin)

    async def bring_back(self, visit: Visit, form: Form) -> Response:
        """Undo the removal of a pin."""
        bring_back = self._rooms.stores.pins.bring_back
        try:
            is_back = await self._rooms.in_thread(bring_back, visit.library, _number(form))
        except TooManyPinsError:
            raise Refusal(409, "pins") from None
        if not is_back:
            raise Refusal(409, "undo")
        return notice.told(visit, _PAGE, told="undone")

    async def run(self, visit: Visit, _form: Form) -> Response:
        """Run all searches again, and write down where their images are found."""
        pins = await self._rooms.in_thread(self._rooms.stores.pins.list, visit.library)
        ran = [await self._run(visit, pin) for pin in pins]
        outcomes = [each for each in ran if each is not None]
        await self._rooms.in_thread(self._rooms.stores.pins.ran, visit.library, outcomes)
        return to(_PAGE)

    async def _run(self, visit: Visit, pin: Pin) -> tuple[int, int | None, float | None] | None:
        """Return the rank and the score of a pin's image; None: somebody has removed the pin."""
        library, vector = visit.library, pin.query.vector
        if pin.generation != library.generation:
            copy = await self._rooms.in_thread(self._rooms.stores.pins.copy, library, pin.id)
            if copy is None:
                return None
            described = await self._parts.described(visit, copy, pin.query.region)
            vector = described.vector
            await self._rooms.in_thread(self._rooms.stores.pins.renew, library, pin.id, vector)
        search = self._rooms.stores.images.search
        hits, _ = await self._rooms.in_thread(
            search, library, vector, pin.classes, 0, PIN_RANK_MAX, pin.query.digest
        )
        scores = calls.scores(library, hits)
        for rank, (hit, score) in enumerate(zip(hits, scores, strict=True), 1):
            if hit.sign == pin.sign:
                return pin.id, rank, score
        return pin.id, None, None


def _number(form: Form) -> int:
    text = form.one("pin")
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Refusal(404, "page")
    return int(text)
