"""The page of a library's images: filters, order, pages.

Knows the store. Does not know how a page looks.
"""

from __future__ import annotations

from starlette.responses import Response

from productsearch_engine.console import pages
from productsearch_engine.console.card import card
from productsearch_engine.console.facets import FacetCounts
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.view import View
from productsearch_engine.console.visit import Visit
from productsearch_engine.limits import CONSOLE_PAGE, FILTERED_COUNTED_MAX


class GalleryPage:
    """The gallery."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms
        self._facets = FacetCounts(rooms)

    async def show(self, visit: Visit) -> Response:
        """Answer with a page of images."""
        view = View.of(visit.request.query_params)
        images = await self._rooms.in_thread(
            self._rooms.stores.gallery.page,
            visit.library,
            view.selection,
            view.sort,
            CONSOLE_PAGE + 1,
            place=view.place,
            backwards=view.backwards,
        )
        # One image more than shown says that there is a further page.
        more = len(images) > CONSOLE_PAGE
        if more:
            images = images[1:] if view.backwards else images[:CONSOLE_PAGE]
        has_next = (more or view.backwards) and bool(images)
        has_previous = (more if view.backwards else view.place is not None) and bool(images)
        return pages.page(
            visit,
            "gallery.html",
            section="images",
            view=view,
            cards=[card(image) for image in images],
            next=view.after(images[-1]) if has_next else None,
            previous=view.before(images[0]) if has_previous else None,
            facets=await self._facets.of(visit),
            matches=await self._matches(visit, view, len(images), has_previous, has_next),
        )

    async def _matches(
        self, visit: Visit, view: View, shown: int, has_previous: bool, has_next: bool
    ) -> tuple[int, bool] | None:
        """Return how many images pass the filters, and whether these are all; None: no filter."""
        if not view.is_filtered:
            return None
        if not has_previous and not has_next:
            return shown, True
        count = self._rooms.stores.gallery.count
        found, are_all = await self._rooms.in_thread(
            count, visit.library, view.selection, FILTERED_COUNTED_MAX
        )
        # The page itself may know of more.
        return max(found, shown), are_all
