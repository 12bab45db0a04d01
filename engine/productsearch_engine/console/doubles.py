"""Two lists: pairs of files of the same image, and pairs of images of the same product.

The library is looked through from the newest image on, so many images a page; each pair stands at
its newer image. Knows the store and asks the workers for marks. Decodes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import numpy as np
from starlette.responses import Response

from productsearch_engine.api import calls
from productsearch_engine.console import notice, pages
from productsearch_engine.console.card import Card, card
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.search import is_calibrated
from productsearch_engine.console.view import View
from productsearch_engine.console.visit import Visit, safe
from productsearch_engine.embedding.calibration import SIMILAR
from productsearch_engine.limits import (
    DOUBLES_LOOKED_AT,
    DOUBLES_NEIGHBOURS,
    DOUBLES_PAIRS,
    DOUBLES_REACH,
    MARKS_KNOWN_MAX,
)
from productsearch_engine.store import signs
from productsearch_engine.store.gallery import Stored
from productsearch_engine.store.journal import Values
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.queries import Query
from productsearch_engine.store.statements import ClassFilter
from productsearch_engine.workers.describe import Task, Wanted

Kind = Literal["image", "product"]

_DIFFERENCE_MAX = 16
"""No place of the marks of one image's files differs by more, of 255."""
_COSINE_MIN = 0.9
"""Files of one image are nearer than this to each other in every embedding."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images; the newer one is the first."""

    cards: tuple[Card, Card]
    score: float


@dataclass(frozen=True, kw_only=True)
class _Near:
    newer: Stored
    older: Stored
    score: float
    cosine: float

    @property
    def signs(self) -> tuple[int, int]:
        """Return the signs of both, the lesser one first."""
        one, other = sorted((self.newer.sign, self.older.sign))
        return one, other


class Doubles:
    """The page of the two lists."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms
        self._marks: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    async def show(self, visit: Visit) -> Response:
        """Answer with the pairs among the next images."""
        library, view = visit.library, View.of(visit.request.query_params)
        calibrated = is_calibrated(library)
        asked = visit.request.query_params.get("kind")
        kind: Kind = "product" if asked == "product" and calibrated else "image"
        images = await self._rooms.in_thread(
            self._rooms.stores.gallery.page,
            library,
            view.selection,
            "newest",
            DOUBLES_LOOKED_AT + 1,
            place=view.place,
        )
        more, images = len(images) > DOUBLES_LOOKED_AT, images[:DOUBLES_LOOKED_AT]
        near = await self._rooms.in_thread(self._near, library, images)
        dismissed = await self._rooms.in_thread(
            self._rooms.stores.dismissals.among, library, [each.signs for each in near]
        )
        near = [each for each in near if each.signs not in dismissed]
        pairs: list[Pair] = []
        for at, each in enumerate(near):
            if len(pairs) >= DOUBLES_PAIRS and each.newer is not near[at - 1].newer:
                # The next page goes on with this image.
                more, images = True, images[: images.index(each.newer)]
                break
            if await self._same_image(visit, each) == (kind == "image") and (
                kind == "image" or each.score >= SIMILAR
            ):
                cards = card(each.newer), card(each.older)
                pairs.append(Pair(cards=cards, score=each.score))
        base = View().at(None)
        return pages.page(
            visit,
            "doubles.html",
            section="doubles",
            kind=kind,
            calibrated=calibrated,
            line=SIMILAR,
            pairs=pairs,
            looked_at=len(images),
            next=f"{base.after(images[-1])}&kind={kind}" if more else None,
            placed=view.place is not None,
        )

    def _near(self, library: Library, images: list[Stored]) -> list[_Near]:
        """Return each image with those added before it that are near to it."""
        stores = self._rooms.stores
        found: list[_Near] = []
        for newer in images:
            query = stores.queries.stored(library, newer.sign)
            if query is not None:
                found += self._older(library, newer, query)
        return found

    def _older(self, library: Library, newer: Stored, query: Query) -> list[_Near]:
        stores, count = self._rooms.stores, DOUBLES_NEIGHBOURS + 1
        everything = ClassFilter(class_id1=None, class_id2=None, any_class=False)
        while True:
            hits, more = stores.images.search(
                library, query.vector, everything, 0, count, query.digest
            )
            scores = calls.scores(library, hits)
            near = {
                hit.sign: (score, hit.cosine)
                for hit, score in zip(hits, scores, strict=True)
                if not hit.same and (hit.cosine >= _COSINE_MIN or score >= SIMILAR)
            }
            older = [
                _Near(newer=newer, older=each, score=near[each.sign][0], cosine=near[each.sign][1])
                for each in stores.gallery.find(library, [*near])
                if (each.created_at, each.sign) < (newer.created_at, newer.sign)
            ]
            # Equal images that were added later may fill the first places.
            if older or not more or len(near) < count - 1 or count >= DOUBLES_REACH:
                return older
            count = min(4 * count, DOUBLES_REACH)

    async def _same_image(self, visit: Visit, near: _Near) -> bool:
        if near.cosine < _COSINE_MIN:
            return False
        one, other = [await self._mark(visit, each) for each in (near.newer, near.older)]
        return one is not None and other is not None and _differ(one, other) <= _DIFFERENCE_MAX

    async def _mark(self, visit: Visit, image: Stored) -> bytes | None:
        """Return the mark of an image; None without a copy."""
        key = visit.library.id, image.sign
        if key not in self._marks:
            gallery = self._rooms.stores.gallery
            copy = await self._rooms.in_thread(gallery.copy, visit.library, image.sign)
            if copy is None:
                return None
            wanted = Wanted(embedding=visit.library.embedding, task=Task.MARK)
            described = await self._rooms.workers.describe(
                wanted, copy, caller=-visit.app_id, large=False
            )
            self._marks[key] = described.kept or b""
            if len(self._marks) > MARKS_KNOWN_MAX:
                self._marks.popitem(last=False)
        return self._marks[key]

    async def merge(self, visit: Visit, form: Form) -> Response:
        """Keep one image of a pair and delete the other one, as one change.

        What the kept one has not is taken over: the brief, the class ids. If somebody else has
        changed one of them since the pair was shown, nothing is done.
        """
        chosen = [signs.from_text(form.one(name).encode()) for name in ("keep", "drop")]
        find = self._rooms.stores.gallery.find
        both = [each for each in chosen if each is not None]
        images = await self._rooms.in_thread(find, visit.library, both)
        if len(images) < 2 or images[0].sign == images[1].sign:
            raise Refusal(404, "gone")
        kept, dropped = images
        back = safe(form.one("back"))
        seen = [form.one(name) for name in ("keep_version", "drop_version")]
        if any(text and text != str(each.version) for text, each in zip(seen, images, strict=True)):
            return notice.told(visit, back, told="merge_conflict")
        done = await self._rooms.in_thread(
            self._rooms.stores.journal.merge,
            visit.library,
            {each.sign: each.version for each in images},
            dropped.sign,
            _taken_over(kept, dropped),
            visit.author,
        )
        told = "merge_conflict" if done is None else None
        return notice.told(visit, back, done=done, told=told)


def _differ(one: bytes, other: bytes) -> int:
    """Return by how much two marks differ where they differ most."""
    first, second = (np.frombuffer(each, np.uint8).astype(np.int16) for each in (one, other))
    return int(np.abs(first - second).max())


def _taken_over(kept: Stored, dropped: Stored) -> Values | None:
    numbers = {
        name: getattr(dropped, name)
        for name in ("class_id1", "class_id2")
        if getattr(kept, name) is None and getattr(dropped, name) is not None
    }
    text = dropped.brief if not kept.brief.strip() and dropped.brief.strip() else None
    if text is None and not numbers:
        return None
    return Values(brief=text, **numbers, sets=frozenset(numbers))
