"""The page of one image: large, with what is known of it, and the form to change it.

Whoever edits an image that somebody else has changed meanwhile is told, and sees both.
"""

from __future__ import annotations

from starlette.responses import Response

from productsearch_engine.console import notice, pages
from productsearch_engine.console.card import card, is_broken_json
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.view import View, brief, class_id
from productsearch_engine.console.visit import Visit, to
from productsearch_engine.limits import KEPT_SIDE_PX
from productsearch_engine.store import signs
from productsearch_engine.store.gallery import Stored, place_of
from productsearch_engine.store.journal import Values


class ImagePage:
    """The preview."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

    async def show(self, visit: Visit) -> Response:
        """Answer with the page of an image."""
        return await self._page(visit, await self._image(visit))

    async def edit(self, visit: Visit, form: Form) -> Response:
        """Change an image, if nobody else has since the form was shown."""
        image = await self._image(visit)
        mine = {name: form.one(name) for name in ("brief", "class_id1", "class_id2")}
        version = form.one("version")
        try:
            values = Values(
                brief=brief(mine["brief"]),
                class_id1=class_id(mine["class_id1"]),
                class_id2=class_id(mine["class_id2"]),
                sets=frozenset(("class_id1", "class_id2")),
            )
        except Refusal as refused:
            return await self._page(visit, image, mine=mine, refused=refused.key, status=400)
        journal = self._rooms.stores.journal
        done, count = await self._rooms.in_thread(
            journal.edit,
            visit.library,
            [image.sign],
            values,
            visit.author,
            version=int(version) if version.isdecimal() and len(version) < 19 else -1,
        )
        if not count:
            image = await self._image(visit)
            return await self._page(visit, image, mine=mine, refused="conflict", status=409)
        return to(await self._after_edit(visit, image, form, done))

    async def _after_edit(self, visit: Visit, image: Stored, form: Form, done: int | None) -> str:
        """Return where to go: to the same image, or on to the next one."""
        view = View.of(visit.request.query_params)
        if form.one("then") == "next":
            _, following = await self._beside(visit, view, image)
            if following is not None:
                image = following
        address = f"/console/images/{signs.to_text(image.sign)}{view.query()}"
        return notice.with_fields(address, done=done)

    async def _image(self, visit: Visit) -> Stored:
        sign = signs.from_text(visit.request.path_params["sign"].encode())
        if sign is None:
            raise Refusal(404, "gone")
        find = self._rooms.stores.gallery.find
        found = await self._rooms.in_thread(find, visit.library, [sign])
        if not found:
            raise Refusal(404, "gone")
        return found[0]

    async def _beside(
        self, visit: Visit, view: View, image: Stored
    ) -> tuple[Stored | None, Stored | None]:
        """Return the images before and after one in a list."""
        found = [
            await self._rooms.in_thread(
                self._rooms.stores.gallery.page,
                visit.library,
                view.selection,
                view.sort,
                1,
                place=place_of(image, view.sort),
                backwards=backwards,
            )
            for backwards in (True, False)
        ]
        before, after = (each[0] if each else None for each in found)
        return before, after

    async def _page(
        self,
        visit: Visit,
        image: Stored,
        *,
        mine: dict[str, str] | None = None,
        refused: str | None = None,
        status: int = 200,
    ) -> Response:
        view = View.of(visit.request.query_params)
        before, after = await self._beside(visit, view, image)
        return pages.page(
            visit,
            "image.html",
            status,
            section="images",
            card=card(image),
            is_broken_json=is_broken_json,
            copy_side=KEPT_SIDE_PX,
            view=view,
            mine=mine,
            refused=refused,
            previous=before and signs.to_text(before.sign),
            next=after and signs.to_text(after.sign),
            notice=await notice.of(visit, self._rooms),
        )
