"""Parts of images: where the product is, and a search by a part that a person chose.

A part is searched with by the small copy of its image. Knows boxes, in percent on pages, and asks
the workers. Decodes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from starlette.responses import Response

from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit
from productsearch_engine.embedding.interface import Box
from productsearch_engine.embedding.load import UnknownEmbeddingError
from productsearch_engine.limits import SUBJECTS_KNOWN_MAX
from productsearch_engine.store import signs
from productsearch_engine.store.queries import Query
from productsearch_engine.workers.describe import Described, Task, Wanted

WHOLE = Box(0, 0, 1, 1)
SIDES = ("left", "top", "width", "height")

_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" preserveAspectRatio="none">'
    "%s</svg>"
)
_FRAME = (
    '<rect x="{0}" y="{1}" width="{2}" height="{3}" fill="none" stroke="{4}" stroke-width="{5}"'
    ' vector-effect="non-scaling-stroke"/>'
)


class Parts:
    """Subjects of stored images, and searches by a part."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms
        self._subjects: OrderedDict[tuple[int, int, int], Box | None] = OrderedDict()

    async def copy(self, visit: Visit, asked: Mapping[str, str]) -> bytes | None:
        """Return the small copy of what is searched with, None if there is none."""
        if asked.get("like"):
            copy, number = self._rooms.stores.gallery.copy, signs.from_text(asked["like"].encode())
            return await self._rooms.in_thread(copy, visit.library, number or 0)
        of_query = self._rooms.stores.queries.copy
        key = bytes.fromhex(asked["query"])
        return await self._rooms.in_thread(of_query, visit.library, key) or None

    async def subject(self, visit: Visit, sign: int, copy: bytes) -> Box | None:
        """Return where the product is in a stored image.

        None if the embedding does not look for it, or if it does not stand out as one thing.
        """
        key = visit.library.id, visit.library.generation, sign
        if key in self._subjects:
            self._subjects.move_to_end(key)
            return self._subjects[key]
        described = await self.described(visit, copy, None)
        self._subjects[key] = subject = described.subject if described.is_clear else None
        if len(self._subjects) > SUBJECTS_KNOWN_MAX:
            self._subjects.popitem(last=False)
        return subject

    async def described(
        self, visit: Visit, copy: bytes, region: Box | None, embedding: str | None = None
    ) -> Described:
        """Return vector and subject of a small copy, or of a part of it. Raises Refusal.

        ``embedding``: another one than the library's.
        """
        embedding = embedding or visit.library.embedding
        wanted = Wanted(embedding=embedding, task=Task.DESCRIBE_COPY, region=region)
        try:
            return await self._rooms.workers.describe(
                wanted, copy, caller=-visit.app_id, large=False
            )
        except UnknownEmbeddingError:
            raise Refusal(400, "embedding") from None

    async def keep(self, visit: Visit, query: Query, copy: bytes, box: Box) -> bytes:
        """Keep a part of what is searched with as a search of its own; return its key."""
        described = await self.described(visit, copy, box)
        part = Query(vector=described.vector, digest=query.digest, region=box)
        keep = self._rooms.stores.queries.keep
        return await self._rooms.in_thread(keep, visit.library, part, copy)

    async def of_image(self, visit: Visit) -> Response:
        """Answer with a frame around the product of a stored image, to lie over the image."""
        sign = signs.from_text(visit.request.path_params["sign"].encode())
        if sign is None:
            raise Refusal(404, "gone")
        copy = await self._rooms.in_thread(self._rooms.stores.gallery.copy, visit.library, sign)
        box = None if copy is None else await self.subject(visit, sign, copy)
        return _frame(box)

    async def frame(self, visit: Visit) -> Response:
        """Answer with the frame that the address says."""
        values = visit.request.path_params["box"].split(",")
        return _frame(box_of(dict(zip(SIDES, values, strict=False))))


def box_of(fields: Mapping[str, str]) -> Box:
    """Return the box of ``left``, ``top``, ``width`` and ``height`` in percent. Raises Refusal."""
    try:
        box = Box(*(float(fields[name]) / 100 for name in SIDES))
    except (KeyError, ValueError):
        raise Refusal(400, "part") from None
    # A sum of decimal fractions may end a little above 1.
    ends = (box.left + box.width, box.top + box.height)
    if not all(0 <= each <= 1 + 1e-6 for each in (*box, *ends)) or not (box.width and box.height):
        raise Refusal(400, "part")
    return box


def percents(box: Box) -> dict[str, str]:
    """Return what ``box_of`` reads, rounded so that it stays inside the image."""
    left, top = round(100 * box.left, 1), round(100 * box.top, 1)
    width = max(0.1, min(round(100 * box.width, 1), round(100 - left, 1)))
    height = max(0.1, min(round(100 * box.height, 1), round(100 - top, 1)))
    values = (left, top, width, height)
    return {name: f"{value:g}" for name, value in zip(SIDES, values, strict=True)}


def _frame(box: Box | None) -> Response:
    """Draw a light line on a dark one, to be seen on every image."""
    drawn = ""
    if box is not None:
        values = percents(box).values()
        drawn = _FRAME.format(*values, "#10131a", 4) + _FRAME.format(*values, "#fff", 2)
    headers = {"Cache-Control": "private, no-cache"}
    return Response(_SVG % drawn, media_type="image/svg+xml", headers=headers)
