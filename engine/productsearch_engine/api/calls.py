"""The four calls: from a typed request to the answer's JSON object.

Joins images, workers and the store. SQL and what else takes longer runs in threads, images are
decoded and embedded by worker processes. Lets exceptions pass: ``api.error_mapping`` gives
them codes. Does not know HTTP, forms or tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.image_field import decode_base64
from productsearch_engine.api.parameters import Add, Delete, Request, Search, Source, Update
from productsearch_engine.database.watch import Watch
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.store import signs
from productsearch_engine.store.images import DuplicateError, Images, LibraryGoneError, NewImage
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.statements import Key
from productsearch_engine.workers.describe import Described
from productsearch_engine.workers.pool import Workers

Answer = dict[str, object]
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Calls:
    """The four calls over one database, with the embedding of ``workers``.

    ``watch`` is asked before an image is decoded: without a database, or without room on its
    disk, the work would be in vain.
    """

    def __init__(
        self,
        *,
        libraries: Libraries,
        stored: Images,
        workers: Workers,
        threads: Executor,
        watch: Watch,
    ):
        self._watch = watch
        self._libraries = libraries
        self._stored = stored
        self._workers = workers
        self._threads = threads
        self._library_of_app: dict[int, Library] = {}

    async def answer(self, app_id: int, request: Request, download: bytes | None) -> Answer:
        """Do the call and return its answer without ``log_id``.

        ``download`` is the content of the request's URL, if it has one. Raises ApiError,
        ImageError, DuplicateError, LibraryFullError, WorkersUnavailableError, and
        psycopg.Error when the database fails.
        """
        if self._watch.is_down:
            raise ApiError(codes.UNAVAILABLE)
        try:
            return await self._do(app_id, request, download)
        except LibraryGoneError:
            # The library was deleted, and perhaps created again, since it was remembered.
            self._library_of_app.pop(app_id, None)
            return await self._do(app_id, request, download)

    async def _do(self, app_id: int, request: Request, download: bytes | None) -> Answer:
        match request:
            case Add():
                library, image = await self._in_thread(self._new, app_id, request.source, download)
                described = await self._described(app_id, image)
                return await self._in_thread(self._add, library, request, image, described)
            case Search():
                library, image = await self._in_thread(self._any, app_id, request.source, download)
                described = await self._described(app_id, image)
                return await self._in_thread(self._search, library, request, described)
            case Update():
                return await self._in_thread(self._update, app_id, request, download)
            case Delete():
                return await self._in_thread(self._delete, app_id, request, download)

    async def _described(self, app_id: int, image: ImageFile) -> Described:
        return await self._workers.describe(
            image.needed, caller=app_id, large=image.structure.large
        )

    async def _in_thread(
        self,
        function: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **_: _Arguments.kwargs,
    ) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _library(self, app_id: int) -> Library:
        library = self._library_of_app.get(app_id)
        if library is None:
            exists, library = self._libraries.of_app(app_id)
            if library is None:
                raise ApiError(codes.NOT_INITIALIZED if exists else codes.APP_UNKNOWN)
            self._library_of_app[app_id] = library
        if library.embedding != self._workers.embedding.embedding:
            raise ApiError(codes.EMBEDDING_MISMATCH)
        return library

    def _any(
        self, app_id: int, source: Source, download: bytes | None
    ) -> tuple[Library, ImageFile]:
        return self._library(app_id), _image(source, download)

    def _new(
        self, app_id: int, source: Source, download: bytes | None
    ) -> tuple[Library, ImageFile]:
        library, image = self._any(app_id, source, download)
        # Imports are often run twice: a stored image is not embedded a second time.
        known = self._stored.find(library, image.digest)
        if known is not None:
            raise DuplicateError(known)
        if self._watch.disk_is_full():
            raise codes.disk_full()
        return library, image

    def _add(
        self, library: Library, request: Add, image: ImageFile, described: Described
    ) -> Answer:
        new = NewImage(
            digest=image.digest,
            brief=request.brief,
            class_id1=request.class_id1,
            class_id2=request.class_id2,
            embedding=described.vector,
        )
        return {"cont_sign": signs.to_text(self._stored.add(library, new))}

    def _search(self, library: Library, request: Search, described: Described) -> Answer:
        hits, more = self._stored.search(
            library, described.vector, request.class_filter, request.start, request.count
        )
        result = [
            {"cont_sign": signs.to_text(hit.sign), "score": hit.score, "brief": hit.brief.decode()}
            for hit in hits
        ]
        return {"result_num": len(result), "result": result, "has_more": more}

    def _update(self, app_id: int, request: Update, download: bytes | None) -> Answer:
        updated = self._stored.update(
            self._library(app_id),
            _key(request.source, download),
            brief=request.brief,
            class_id1=request.class_id1,
            class_id2=request.class_id2,
        )
        if not updated:
            raise ApiError(codes.ITEM_UNKNOWN)
        return {}

    def _delete(self, app_id: int, request: Delete, download: bytes | None) -> Answer:
        if not self._stored.delete(self._library(app_id), _key(request.source, download)):
            raise ApiError(codes.ITEM_UNKNOWN)
        return {}


def _image(source: Source, download: bytes | None) -> ImageFile:
    if source.image is not None:
        return ImageFile.checked(decode_base64(source.image))
    assert download is not None  # noqa: S101 - app downloads every url before it calls
    return ImageFile.checked(download)


def _key(source: Source, download: bytes | None) -> Key:
    return list(source.signs) if source.signs else _image(source, download).digest
