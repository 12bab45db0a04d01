"""Changes of several images at once: delete, and edit of class ids and brief.

Each is one change of the journal, so one undo takes it back.
"""

from __future__ import annotations

from collections import Counter

from starlette.responses import Response

from productsearch_engine.console import notice, pages
from productsearch_engine.console.card import card
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.view import brief, class_id
from productsearch_engine.console.visit import Visit, safe, to
from productsearch_engine.limits import SELECTION_MAX
from productsearch_engine.store import signs
from productsearch_engine.store.gallery import Stored
from productsearch_engine.store.journal import Values

_SHOWN_MAX = 12
_VALUES_MAX = 8


class Bulk:
    """The forms about a selection."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

    async def delete(self, visit: Visit, form: Form) -> Response:
        """Delete the selected images."""
        journal = self._rooms.stores.journal
        chosen = _selected(form)
        done, count = await self._rooms.in_thread(
            journal.delete, visit.library, chosen, visit.author
        )
        if not count:
            raise Refusal(404, "gone")
        return to(notice.with_fields(safe(form.one("back")), done=done))

    async def show(self, visit: Visit, form: Form) -> Response:
        """Answer with the form to edit the selected images."""
        return await self._page(visit, form)

    async def apply(self, visit: Visit, form: Form) -> Response:
        """Edit the selected images."""
        chosen = _selected(form)
        try:
            values = _values(form)
        except Refusal as refused:
            return await self._page(visit, form, refused.key, 400)
        if await self._has_changed(visit, form):
            return await self._page(visit, form, "bulk_conflict", 409)
        done, count = await self._rooms.in_thread(
            self._rooms.stores.journal.edit, visit.library, chosen, values, visit.author
        )
        if not count:
            raise Refusal(404, "gone")
        return to(notice.with_fields(safe(form.one("back")), done=done))

    async def _has_changed(self, visit: Visit, form: Form) -> bool:
        """Return whether somebody has changed or deleted one of the images since the form was made.

        A form without versions, of no page of ours, is not asked.
        """
        seen = dict(zip(form.values("sign"), form.values("version"), strict=False))
        find = self._rooms.stores.gallery.find
        images = await self._rooms.in_thread(find, visit.library, _selected(form))
        now = {signs.to_text(image.sign): str(image.version) for image in images}
        return any(now.get(sign) != version for sign, version in seen.items())

    async def _page(
        self, visit: Visit, form: Form, refused: str | None = None, status: int = 200
    ) -> Response:
        find = self._rooms.stores.gallery.find
        images = await self._rooms.in_thread(find, visit.library, _selected(form))
        if not images:
            raise Refusal(404, "gone")
        return pages.page(
            visit,
            "bulk.html",
            status,
            section="images",
            cards=[card(image) for image in images],
            shown=_SHOWN_MAX,
            counts={name: _counts(images, name) for name in ("class_id1", "class_id2")},
            briefs=len({image.brief for image in images}),
            back=safe(form.one("back")),
            entered={name: form.one(name) for name in ("brief", "class_id1", "class_id2")},
            doing={name: form.one(f"{name}_do", "keep") for name in _FIELDS},
            refused=refused,
        )


_FIELDS = ("brief", "class_id1", "class_id2")


def _counts(images: list[Stored], name: str) -> list[tuple[int | None, int]]:
    counted = Counter(getattr(image, name) for image in images)
    return counted.most_common(_VALUES_MAX)


def _selected(form: Form) -> list[int]:
    chosen = [signs.from_text(text.encode()) for text in form.values("sign")]
    known = sorted({sign for sign in chosen if sign is not None})
    if not known:
        raise Refusal(400, "nothing_selected")
    if len(known) > SELECTION_MAX:
        raise Refusal(400, "selection")
    return known


def _values(form: Form) -> Values:
    doing = {name: form.one(f"{name}_do") for name in _FIELDS}
    beside = any(form.one(name).strip() and doing[name] not in ("set", "remove") for name in doing)
    if beside or not {*doing.values()} & {"set", "remove"}:
        raise Refusal(400, "choice")
    text = brief(form.one("brief")) if form.one("brief_do") == "set" else None
    numbers: dict[str, int | None] = {}
    for name in ("class_id1", "class_id2"):
        match form.one(f"{name}_do"):
            case "set":
                number = class_id(form.one(name))
                if number is None:
                    raise Refusal(400, "class_id")
                numbers[name] = number
            case "remove":
                numbers[name] = None
    return Values(
        brief=text,
        class_id1=numbers.get("class_id1"),
        class_id2=numbers.get("class_id2"),
        sets=frozenset(numbers),
    )
