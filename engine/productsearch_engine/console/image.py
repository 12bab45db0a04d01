"""The page of one image: large, with what is known of it, and the form to change it.

Whoever edits an image that somebody else has changed meanwhile is told, and sees both.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from starlette.responses import Response

from productsearch_engine.console import notice, pages
from productsearch_engine.console.card import card, is_broken_json, readable
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.view import View, brief, class_id, refused
from productsearch_engine.console.visit import Visit, safe
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
        try:
            image = await self._image(visit)
        except Refusal as refused:
            # Back to the list: where the image was in it, nobody knows any more.
            back = _results(visit) or "/console/" + View.of(visit.request.query_params).query()
            raise Refusal(refused.status, refused.key, back=back) from None
        return await self._page(visit, image)

    async def edit(self, visit: Visit, form: Form) -> Response:
        """Change an image, if nobody else has since the form was shown."""
        image = await self._image(visit)
        mine = {name: form.one(name) for name in ("brief", "class_id1", "class_id2")}
        version = form.one("version")
        if wrong := refused(mine):
            return await self._page(visit, image, mine=mine, wrong=wrong, status=400)
        values = Values(
            brief=_written(mine["brief"], image),
            class_id1=class_id(mine["class_id1"]),
            class_id2=class_id(mine["class_id2"]),
            sets=frozenset(("class_id1", "class_id2")),
        )
        if _is_same(values, image):
            return await self._after_edit(visit, image, form, None)
        journal = self._rooms.stores.journal
        done, count = await self._rooms.in_thread(
            journal.edit,
            visit.library,
            [image.sign],
            values,
            visit.author,
            versions=[int(version) if version.isdecimal() and len(version) < 19 else -1],
        )
        if not count:
            image = await self._image(visit)
            return await self._page(visit, image, mine=mine, is_conflict=True, status=409)
        return await self._after_edit(visit, image, form, done)

    async def _after_edit(
        self, visit: Visit, image: Stored, form: Form, done: int | None
    ) -> Response:
        """Go to the same image, or on to the next one."""
        view = View.of(visit.request.query_params)
        sign = image.sign
        if form.one("then") == "next":
            _, following = await self._beside(visit, view, image)
            # Of results the page knows which one follows.
            chosen = signs.from_text(form.one("next").encode())
            if _results(visit):
                sign = sign if chosen is None else chosen
            elif following is not None:
                sign = following.sign
        address = f"/console/images/{signs.to_text(sign)}{_query(visit, view)}"
        return notice.told(visit, address, done=done)

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
                2,
                place=place_of(image, view.sort),
                backwards=backwards,
            )
            for backwards in (True, False)
        ]
        # After an edit the place is that of before, and the image may have another one.
        before, after = ([each for each in some if each.sign != image.sign] for some in found)
        return (before[-1] if before else None), (after[0] if after else None)

    async def _page(
        self,
        visit: Visit,
        image: Stored,
        *,
        mine: dict[str, str] | None = None,
        wrong: Mapping[str, str] = MappingProxyType({}),
        is_conflict: bool = False,
        status: int = 200,
    ) -> Response:
        view = View.of(visit.request.query_params)
        results = _results(visit)
        before, after = (None, None) if results else await self._beside(visit, view, image)
        # The list begins with this image, for whoever comes back to it.
        listed = results or "/console/" + (view.after(before) if before else view.query())
        return pages.page(
            visit,
            "image.html",
            status,
            section="images",
            card=card(image),
            is_broken_json=is_broken_json,
            copy_side=KEPT_SIDE_PX,
            query=_query(visit, view),
            results=results,
            listed=listed,
            mine=mine,
            wrong=wrong,
            is_conflict=is_conflict,
            previous=before and signs.to_text(before.sign),
            next=after and signs.to_text(after.sign),
        )


def _results(visit: Visit) -> str:
    """Return the address of the results that somebody came from, empty if from the list."""
    return safe(visit.request.query_params.get("from", ""), "")


def _query(visit: Visit, view: View) -> str:
    return view.query(**({"from": results} if (results := _results(visit)) else {}))


def _is_same(values: Values, image: Stored) -> bool:
    """Return whether a save changes nothing: it is no change, and no conflict for others."""
    numbers = (values.class_id1, values.class_id2) == (image.class_id1, image.class_id2)
    return numbers and values.brief in (None, image.brief)


def _written(text: str, image: Stored) -> bytes | None:
    """Return the brief that somebody wrote, None if it is the one that was shown. Raises Refusal.

    What nobody has changed stays as it is stored, byte by byte.
    """
    written = brief(text)
    shown = readable(image.brief.decode(errors="replace")).replace("\r\n", "\n")
    return None if written == shown.encode() else written
