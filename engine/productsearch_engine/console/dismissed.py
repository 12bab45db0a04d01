"""Pairs that are no doubles: dismissed from the list, on a page of their own, and taken back.

Knows the store. Does not know what makes two images a pair.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from starlette.responses import Response

from productsearch_engine.console import notice, pages
from productsearch_engine.console.card import card
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit, number, safe
from productsearch_engine.limits import DOUBLES_PAIRS
from productsearch_engine.store import signs

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE = "/console/doubles/dismissed"


class Dismissed:
    """The page of dismissed pairs, and both forms."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

    async def show(self, visit: Visit) -> Response:
        """Answer with the dismissed pairs whose images are both there, the newest first."""
        stores, library = self._rooms.stores, visit.library
        before = _time(visit.request.query_params.get("before", ""))
        found = await self._rooms.in_thread(
            stores.dismissals.last, library, DOUBLES_PAIRS + 1, before
        )
        more, shown = found[DOUBLES_PAIRS:], found[:DOUBLES_PAIRS]
        both = {sign for each in shown for sign in (each.sign, each.other)}
        images = await self._rooms.in_thread(stores.gallery.find, library, [*both])
        cards = {image.sign: card(image) for image in images}
        pairs = [
            ((cards[each.sign], cards[each.other]), each)
            for each in shown
            if each.sign in cards and each.other in cards
        ]
        return pages.page(
            visit,
            "dismissed.html",
            section="doubles",
            pairs=pairs,
            placed=before is not None,
            next="?" + urlencode({"before": _text(more[0].dismissed_at)}) if more else None,
        )

    async def dismiss(self, visit: Visit, form: Form) -> Response:
        """Show a pair no more."""
        pair = _pair(form)
        find = self._rooms.stores.gallery.find
        if len(await self._rooms.in_thread(find, visit.library, [*pair])) < 2:
            raise Refusal(404, "gone")
        dismiss = self._rooms.stores.dismissals.dismiss
        await self._rooms.in_thread(dismiss, visit.library, pair, visit.who)
        told = "~".join(map(signs.to_text, pair))
        return notice.told(visit, safe(form.one("back")), told="dismissed", pair=told)

    async def take_back(self, visit: Visit, form: Form) -> Response:
        """Show a pair again."""
        take_back = self._rooms.stores.dismissals.take_back
        if not await self._rooms.in_thread(take_back, visit.library, _pair(form)):
            raise Refusal(409, "shown")
        return notice.told(visit, safe(form.one("back"), _PAGE), told="undone")


def _pair(form: Form) -> tuple[int, int]:
    one, other = notice.pair_of(form.one("pair")) or (0, 0)
    if one == other:
        raise Refusal(404, "gone")
    return one, other


def _text(moment: datetime) -> str:
    return str((moment - _EPOCH) // timedelta(microseconds=1))


def _time(text: str) -> datetime | None:
    """Return the time of an address, None if it has none that is one."""
    try:
        return _EPOCH + timedelta(microseconds=number(text) or 0) if text else None
    except OverflowError:
        return None
