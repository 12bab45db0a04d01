"""The four calls: from a typed request to the answer's JSON object.

Joins images, workers and the store. SQL and what else takes longer runs in threads, images are
decoded and embedded by worker processes. Lets exceptions pass: ``api.error_mapping`` gives
them codes. Does not know HTTP, forms or tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np

from productsearch_engine import traces
from productsearch_engine.api import codes, second_look
from productsearch_engine.api.apps import Apps
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.parameters import Add, Delete, Request, Search, Source, Update
from productsearch_engine.database.watch import Watch
from productsearch_engine.embedding.calibration import calibrated
from productsearch_engine.embedding.interface import Box
from productsearch_engine.embedding.load import UnknownEmbeddingError
from productsearch_engine.images.glance_chunk import glance_or_copy
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.limits import SECOND_LOOK_MAX
from productsearch_engine.store import signs
from productsearch_engine.store.delete_lag import DeleteLag
from productsearch_engine.store.images import (
    DuplicateError,
    Hit,
    Images,
    Known,
    LibraryGoneError,
    NewImage,
)
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.originals import Original
from productsearch_engine.store.search_counts import SearchCounts
from productsearch_engine.store.statements import Key
from productsearch_engine.workers.describe import Described, Wanted
from productsearch_engine.workers.pool import Workers

Answer = dict[str, object]
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class CallerGoneError(Exception):
    """Nobody waits for the answer any more, and nothing was stored."""


async def _nobody_left() -> bool:
    return False


class Ranked(NamedTuple):
    """Hits with their scores, best first, from rank ``start`` on; ``more``: others follow."""

    start: int
    hits: list[tuple[float, Hit]]
    more: bool


class Calls:
    """The four calls over one database, each library with its own embedding.

    ``watch`` is asked before an image is decoded: without a database, or without room on its
    disk, the work would be in vain. ``rerank``: searches that do not say get a second look.
    """

    def __init__(
        self,
        *,
        apps: Apps,
        stored: Images,
        workers: Workers,
        threads: Executor,
        watch: Watch,
        searches: SearchCounts,
        found: DeleteLag,
        rerank: bool = False,
    ):
        self._rerank = rerank
        self._watch = watch
        self._searches = searches
        self._found = found
        self._apps = apps
        self._stored = stored
        self._workers = workers
        self._threads = threads

    async def answer(
        self,
        app_id: int,
        request: Request,
        download: bytes | None,
        is_gone: Callable[[], Awaitable[bool]] = _nobody_left,
    ) -> Answer:
        """Do the call and return its answer without ``log_id``.

        ``download`` is the content of the request's URL, if it has one. ``is_gone`` says whether
        the caller has left: an add that waited for a worker is not stored then, because the caller
        may have repeated it since, and deleted the image. Raises ApiError, ImageError,
        DuplicateError, LibraryFullError, WorkersUnavailableError, CallerGoneError, and
        psycopg.Error when the database fails.
        """
        if self._watch.is_down:
            raise ApiError(codes.UNAVAILABLE)
        try:
            return await self._do(app_id, request, download, is_gone)
        except LibraryGoneError:
            # Since it was remembered, the library was deleted, and perhaps created again, or
            # it was given another embedding.
            self._apps.forget(app_id)
            return await self._do(app_id, request, download, is_gone)

    async def describe(
        self, app_id: int, source: Source, download: bytes | None
    ) -> tuple[Library, bytes, Described]:
        """Return the app's library, the digest of an image, and what is known of it, with a copy.

        Nothing is stored. Raises what ``answer`` raises.
        """
        if self._watch.is_down:
            raise ApiError(codes.UNAVAILABLE)
        library, image = await self._in_thread(self._any, app_id, source, download)
        described = await self._described(app_id, library, image, None, copy=True)
        return library, image.digest, described

    async def _do(
        self,
        app_id: int,
        request: Request,
        download: bytes | None,
        is_gone: Callable[[], Awaitable[bool]],
    ) -> Answer:
        match request:
            case Add():
                return await self._add(app_id, request, download, is_gone)
            case Search():
                library, image = await self._in_thread(self._any, app_id, request.source, download)
                again = self._rerank if request.rerank is None else request.rerank
                reach = SECOND_LOOK_MAX if again and library.keep_images else 0
                described = await self._described(
                    app_id, library, image, request.region, glance=reach > 0
                )
                found = await self._in_thread(
                    self._ranked, library, request, image.digest, described, reach
                )
                if reach:
                    found = await self._looked_again(app_id, library, described, found)
                self._searches.count(library.id)
                return _found(found, request, described)
            case Update():
                return await self._in_thread(self._update, app_id, request, download)
            case Delete():
                return await self._in_thread(self._delete, app_id, request, download)

    async def _add(
        self,
        app_id: int,
        request: Add,
        download: bytes | None,
        is_gone: Callable[[], Awaitable[bool]],
    ) -> Answer:
        # Imports are often run twice: a stored image is not embedded a second time.
        library, image, known = await self._in_thread(self._find, app_id, request.source, download)
        if known is not None and (not known.copy_missing or self._watch.disk_is_full()):
            raise DuplicateError(known.sign)
        described = await self._described(
            app_id, library, image, request.region, copy=library.keep_images
        )
        if await is_gone():
            raise CallerGoneError
        if known is not None:
            if described.kept is not None:
                keep = (library, known.sign, described.kept, request.region)
                await self._in_thread(self._stored.keep, *keep)
            raise DuplicateError(known.sign)
        new = NewImage(
            digest=image.digest,
            brief=request.brief,
            class_id1=request.class_id1,
            class_id2=request.class_id2,
            embedding=described.vector,
            kept=described.kept,
            region=request.region,
            original=Original(*described.upright_sides, len(image.content)),
        )
        sign = await self._in_thread(self._stored.add, library, new)
        return {"cont_sign": signs.to_text(sign)} | _subject(described)

    async def _described(
        self,
        app_id: int,
        library: Library,
        image: ImageFile,
        region: Box | None,
        *,
        copy: bool = False,
        glance: bool = False,
    ) -> Described:
        wanted = Wanted(embedding=library.embedding, copy=copy, glance=glance, region=region)
        try:
            return await self._workers.describe(
                wanted, image.needed, caller=app_id, large=image.structure.large
            )
        except UnknownEmbeddingError:
            raise ApiError(codes.EMBEDDING_MISMATCH) from None

    async def _in_thread(
        self,
        function: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **_: _Arguments.kwargs,
    ) -> _Result:
        work = traces.carried(function)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _any(
        self, app_id: int, source: Source, download: bytes | None
    ) -> tuple[Library, ImageFile]:
        return self._apps.library(app_id), _image(source, download)

    def _find(
        self, app_id: int, source: Source, download: bytes | None
    ) -> tuple[Library, ImageFile, Known | None]:
        library, image = self._any(app_id, source, download)
        known = self._stored.find(library, image.digest)
        if known is None and self._watch.disk_is_full():
            raise codes.disk_full()
        return library, image, known

    def _ranked(
        self, library: Library, request: Search, digest: bytes, described: Described, reach: int
    ) -> Ranked:
        """Return the hits of a page; if it begins among the first ``reach``, all of those too."""
        start, end = request.start, request.start + request.count
        if start < reach:
            start, end = 0, max(end, reach)
        hits, more = self._found.search(
            library, described.vector, request.class_filter, start, end - start, digest
        )
        more = more or len(hits) > request.start + request.count - start
        scored = sorted(zip(scores(library, hits), hits, strict=True), key=lambda it: -it[0])
        return Ranked(start, scored, more)

    async def _looked_again(
        self, app_id: int, library: Library, described: Described, found: Ranked
    ) -> Ranked:
        """Compare the image with the leaders, if these leave doubt."""
        hits = found.hits
        of_hits = [score for score, _ in hits]
        doubted = second_look.in_doubt(of_hits, same=bool(hits) and hits[0][1].same)
        if found.start or not doubted or described.glance is None:
            return found
        leaders = [hit for _, hit in hits[:doubted]]
        copies = await self._in_thread(self._stored.copies, library, [hit.sign for hit in leaders])
        agreeing = await self._workers.agreeing(
            Wanted(embedding=library.embedding),
            described.glance,
            [glance_or_copy(copy) for copy in copies],
            caller=app_id,
        )
        raised = second_look.raised(of_hits[:doubted], agreeing)
        again = sorted(zip(raised, leaders, strict=True), key=lambda it: -it[0])
        return Ranked(found.start, again + hits[doubted:], found.more)

    def _update(self, app_id: int, request: Update, download: bytes | None) -> Answer:
        updated = self._stored.update(
            self._apps.library(app_id),
            _key(request.source, download),
            brief=request.brief,
            class_id1=request.class_id1,
            class_id2=request.class_id2,
        )
        if not updated:
            raise ApiError(codes.ITEM_UNKNOWN)
        return {}

    def _delete(self, app_id: int, request: Delete, download: bytes | None) -> Answer:
        if not self._stored.delete(self._apps.library(app_id), _key(request.source, download)):
            raise ApiError(codes.ITEM_UNKNOWN)
        return {}


def _found(found: Ranked, request: Search, described: Described) -> Answer:
    begin = request.start - found.start
    result = [
        {"cont_sign": signs.to_text(hit.sign), "score": score, "brief": hit.brief.decode()}
        for score, hit in found.hits[begin : begin + request.count]
    ]
    answer: Answer = {"result_num": len(result), "result": result, "has_more": found.more}
    return answer | _subject(described)


def _subject(described: Described) -> Answer:
    """Return the answer's field ``subject``, which the vendor's SDKs ignore."""
    if described.subject is None:
        return {}
    left, top, width, height = described.subject
    return {"subject": {"left": left, "top": top, "width": width, "height": height}}


def scores(library: Library, hits: Sequence[Hit]) -> list[float]:
    """Return what the cosines mean in this library; the very same image is 1."""
    cosines = np.array([hit.cosine for hit in hits], np.float64)
    fitted = library.calibration
    if fitted is None:
        found = calibrated(library.embedding, cosines)
    else:
        found = np.interp(cosines, fitted.cosines, fitted.scores)
    return [1.0 if hit.same else float(score) for score, hit in zip(found, hits, strict=True)]


def _image(source: Source, download: bytes | None) -> ImageFile:
    content = source.content()
    if content is None:
        content = download
    assert content is not None  # noqa: S101 - app downloads every url before it calls
    return ImageFile.checked(content)


def _key(source: Source, download: bytes | None) -> Key:
    return list(source.signs) if source.signs else _image(source, download).digest
