"""Images for the pages: thumbnails, small copies, and images that were searched with.

A thumbnail is made by a worker process and stays in memory for a while; whether its image is
still in the library is asked each time. Knows HTTP and the store. Decodes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

from starlette.responses import RedirectResponse, Response

from productsearch_engine.console import assets
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit, number
from productsearch_engine.limits import THUMBNAILS_AT_ONCE, THUMBNAILS_BYTES_MAX
from productsearch_engine.store import signs
from productsearch_engine.workers.describe import Task, Wanted

_Key = tuple[int, bytes]


class Thumbnails:
    """Thumbnails by library and content, at most so many bytes; used from the event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._bytes = 0

    def find(self, key: _Key) -> bytes | None:
        """Return a thumbnail that is there."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: _Key, webp: bytes) -> None:
        """Keep a thumbnail, and drop those that were not asked for longest."""
        self._bytes += len(webp) - len(self._kept.get(key, b""))
        self._kept[key] = webp
        while self._bytes > THUMBNAILS_BYTES_MAX:
            self._bytes -= len(self._kept.popitem(last=False)[1])


class Media:
    """The endpoints of images."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms
        self._thumbnails = Thumbnails()
        self._making = asyncio.Semaphore(THUMBNAILS_AT_ONCE)

    async def thumbnail(self, visit: Visit) -> Response:
        """Answer with the thumbnail of an image of the visitor's library."""
        copy = await self._copy(visit)
        if copy is None:
            return RedirectResponse(assets.address("no-copy.svg"), 303)
        key = visit.library.id, _mark(copy)
        webp = self._thumbnails.find(key)
        if webp is None:
            async with self._making:
                webp = self._thumbnails.find(key) or await self._made(visit, copy)
            self._thumbnails.keep(key, webp)
        return _webp(visit, webp)

    async def copy(self, visit: Visit) -> Response:
        """Answer with the small copy of an image of the visitor's library."""
        copy = await self._copy(visit)
        if copy is None:
            return RedirectResponse(assets.address("no-copy.svg"), 303)
        return _webp(visit, copy)

    async def pin(self, visit: Visit) -> Response:
        """Answer with the image of a pinned search."""
        pin = number(visit.request.path_params["pin"])
        if pin is None:
            raise Refusal(404, "gone")
        copy = self._rooms.stores.pins.copy
        webp = await self._rooms.in_thread(copy, visit.library, pin)
        if webp is None:
            raise Refusal(404, "gone")
        return _webp(visit, webp)

    async def query(self, visit: Visit) -> Response:
        """Answer with an image that somebody searched this library with."""
        try:
            digest = bytes.fromhex(visit.request.path_params["digest"])
        except ValueError:
            raise Refusal(404, "gone") from None
        queries = self._rooms.stores.queries
        webp = await self._rooms.in_thread(queries.copy, visit.library, digest)
        if webp is None:
            raise Refusal(404, "gone")
        return _webp(visit, webp)

    async def _copy(self, visit: Visit) -> bytes | None:
        sign = signs.from_text(visit.request.path_params["sign"].encode())
        if sign is None:
            raise Refusal(404, "gone")
        gallery = self._rooms.stores.gallery
        return await self._rooms.in_thread(gallery.copy, visit.library, sign)

    async def _made(self, visit: Visit, copy: bytes) -> bytes:
        wanted = Wanted(embedding=visit.library.embedding, task=Task.SHRINK)
        # A caller of its own: the calls of the same app do not wait behind a page.
        described = await self._rooms.workers.describe(
            wanted, copy, caller=-visit.app_id, large=False
        )
        return described.kept or copy


def _mark(copy: bytes) -> bytes:
    """Return what tells two copies apart, at little cost."""
    return hashlib.blake2b(copy, digest_size=16).digest()


def _webp(visit: Visit, content: bytes) -> Response:
    """Answer with an image, or that the browser has it: it asks each time whether it still may."""
    tag = f'"{_mark(content).hex()}"'
    headers = {"Cache-Control": "private, no-cache", "ETag": tag}
    known = visit.request.headers.get("if-none-match", "")
    if tag in known.split(", "):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/webp", headers=headers)
