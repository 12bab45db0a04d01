"""Changes of several images at once: delete, and edit of class ids and briefs.

Each is one change of the journal, so one undo takes it back. Before it is made, the page tells how
many images it would change, and how.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from productsearch_engine.console import bulk_form, notice, pages
from productsearch_engine.console.briefs import LongBriefsError, counted, edited
from productsearch_engine.console.bulk_form import Asked
from productsearch_engine.console.card import card, readable
from productsearch_engine.console.difference import Difference, differences, short, summed
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit, safe
from productsearch_engine.store import signs
from productsearch_engine.store.details import Written
from productsearch_engine.store.gallery import Stored
from productsearch_engine.store.journal import Values

_SHOWN_MAX = 12
_VALUES_MAX = 8
_DIFFERENCES_MAX = 8


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """What an edit would do: the images that it changes, and to what."""

    images: list[Stored]
    after: list[Written]


class Bulk:
    """The forms about a selection."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

    async def delete(self, visit: Visit, form: Form) -> Response:
        """Delete the selected images."""
        journal = self._rooms.stores.journal
        chosen = bulk_form.selected(form)
        done, count = await self._rooms.in_thread(
            journal.delete, visit.library, chosen, visit.author
        )
        if not count:
            raise Refusal(404, "gone")
        return notice.told(visit, safe(form.one("back")), done=done)

    async def show(self, visit: Visit, form: Form) -> Response:
        """Answer with the form to edit the selected images; with what it would change, if asked."""
        images = await self._images(visit, form)
        if not form.one("preview"):
            return await self._page(visit, form, images)
        try:
            planned = await self._planned(images, bulk_form.asked(form))
        except Refusal as refused:
            return await self._page(visit, form, images, refused, 400)
        return await self._page(visit, form, images, planned=planned)

    async def apply(self, visit: Visit, form: Form) -> Response:
        """Edit the selected images: those that are not so already."""
        images = await self._images(visit, form)
        try:
            asked = bulk_form.asked(form)
            planned = await self._planned(images, asked, changes=True)
        except Refusal as refused:
            return await self._page(visit, form, images, refused, 400)
        if _has_changed(form, images):
            return await self._page(visit, form, images, Refusal(409, "bulk_conflict"), 409)
        done, count = await self._rooms.in_thread(
            self._rooms.stores.journal.edit,
            visit.library,
            [image.sign for image in planned.images],
            _values(asked, planned),
            visit.author,
            versions=[image.version for image in planned.images],
        )
        if not count:
            images = await self._images(visit, form)
            return await self._page(visit, form, images, Refusal(409, "bulk_conflict"), 409)
        return notice.told(visit, safe(form.one("back")), done=done)

    async def _images(self, visit: Visit, form: Form) -> list[Stored]:
        find = self._rooms.stores.gallery.find
        images = await self._rooms.in_thread(find, visit.library, bulk_form.selected(form))
        if not images:
            raise Refusal(404, "gone")
        return images

    async def _planned(
        self, images: list[Stored], asked: Asked, *, changes: bool = False
    ) -> _Planned:
        """Return what an edit would do. Raises Refusal, if it ``changes`` also for nothing."""
        try:
            planned = await self._rooms.in_thread(_planned, images, asked)
        except LongBriefsError as error:
            field = "brief" if asked.brief.doing == "set" else "value"
            raise Refusal(400, "briefs", field=field, n=error.count) from None
        if changes and not planned.images:
            raise Refusal(400, "unchanged")
        return planned

    async def _page(
        self,
        visit: Visit,
        form: Form,
        images: list[Stored],
        refused: Refusal | None = None,
        status: int = 200,
        *,
        planned: _Planned | None = None,
    ) -> Response:
        count = partial(counted, [image.brief for image in images])
        return pages.page(
            visit,
            "bulk.html",
            status,
            section="images",
            cards=[card(image) for image in images],
            shown=_SHOWN_MAX,
            counts={name: _counts(images, name) for name in ("class_id1", "class_id2")},
            briefs=await self._rooms.in_thread(count),
            versions=_versions(form, images, anew=refused is not None and refused.status == 409),
            brief_values_shown=_VALUES_MAX,
            choice=bulk_form.choice,
            readable=readable,
            short=short,
            back=safe(form.one("back")),
            entered={name: form.one(name) for name in bulk_form.TEXTS},
            doing={name: form.one(f"{name}_do", "keep") for name in bulk_form.FIELDS},
            refused=refused,
            beside={} if refused is None else refused.beside,
            planned=None if planned is None else await self._rooms.in_thread(_told, planned),
        )


def _planned(images: list[Stored], asked: Asked) -> _Planned:
    briefs = edited([image.brief for image in images], asked.brief)
    found = _Planned(images=[], after=[])
    for image, brief in zip(images, briefs, strict=True):
        first, second = (
            asked.numbers.get(name, now)
            for name, now in (("class_id1", image.class_id1), ("class_id2", image.class_id2))
        )
        after = Written(image.brief if brief is None else brief, first, second)
        if after != _written(image):
            found.images.append(image)
            found.after.append(after)
    return found


def _values(asked: Asked, planned: _Planned) -> Values:
    briefs = {
        image.sign: after.brief
        for image, after in zip(planned.images, planned.after, strict=True)
        if after.brief != image.brief
    }
    return Values(
        briefs=briefs,
        class_id1=asked.numbers.get("class_id1"),
        class_id2=asked.numbers.get("class_id2"),
        sets=frozenset(asked.numbers),
    )


def _told(planned: _Planned) -> tuple[int, list[tuple[Difference, int]], int]:
    """Return how many images change, the most frequent differences, and how many others."""
    each = (
        differences(_written(image), after)
        for image, after in zip(planned.images, planned.after, strict=True)
    )
    return len(planned.images), *summed(each, _DIFFERENCES_MAX)


def _written(image: Stored) -> Written:
    return Written(image.brief, image.class_id1, image.class_id2)


def _versions(form: Form, images: list[Stored], *, anew: bool) -> dict[str, str]:
    """Return which version of each image somebody has seen: that of the form, unless ``anew``."""
    now = {signs.to_text(image.sign): str(image.version) for image in images}
    seen = dict(zip(form.values("sign"), form.values("version"), strict=False))
    return now if anew else {sign: seen.get(sign, version) for sign, version in now.items()}


def _has_changed(form: Form, images: list[Stored]) -> bool:
    """Return whether somebody has changed or deleted one of the images since the form was made.

    A form without versions, of no page of ours, is not asked.
    """
    seen = dict(zip(form.values("sign"), form.values("version"), strict=False))
    now = {signs.to_text(image.sign): str(image.version) for image in images}
    return any(now.get(sign) != version for sign, version in seen.items())


def _counts(images: list[Stored], name: str) -> tuple[list[tuple[int | None, int]], int]:
    """Return the most frequent values with their counts, and how many further ones there are."""
    counts = Counter(getattr(image, name) for image in images)
    found = sorted(counts.items(), key=lambda each: (-each[1], each[0] is None, each[0] or 0))
    return found[:_VALUES_MAX], len(found) - _VALUES_MAX
