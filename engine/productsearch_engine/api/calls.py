"""The four calls: from a typed request to the answer's JSON object.

Joins images, the embedding and the store. Lets their exceptions pass: ``api.error_mapping``
gives them codes. Does not know HTTP, forms or tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.image_field import decode_base64
from productsearch_engine.api.parameters import Add, Delete, Request, Search, Source, Update
from productsearch_engine.embedding.interface import Box, Description, Embedding
from productsearch_engine.embedding.load import UnknownEmbeddingError, load
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.limits import LIBRARY_REMEMBERED_S
from productsearch_engine.store import signs
from productsearch_engine.store.images import (
    DuplicateError,
    Hit,
    Images,
    LibraryGoneError,
    NewImage,
)
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.statements import Key

Answer = dict[str, object]


class Calls:
    """The four calls over one database, each library with its own embedding; safe for threads."""

    def __init__(self, libraries: Libraries, stored: Images):
        self._libraries = libraries
        self._stored = stored
        self._library_of_app: dict[int, tuple[Library, float]] = {}

    def answer(self, app_id: int, request: Request, download: bytes | None) -> Answer:
        """Do the call and return its answer without ``log_id``.

        ``download`` is the content of the request's URL, if it has one. Raises ApiError,
        ImageError, DuplicateError, LibraryFullError, and psycopg.Error when the database
        fails.
        """
        try:
            return self._do(self._library(app_id), request, download)
        except LibraryGoneError:
            # Since it was remembered, the library was deleted, and perhaps created again, or
            # it was given another embedding.
            self._library_of_app.pop(app_id, None)
            return self._do(self._library(app_id), request, download)

    def _library(self, app_id: int) -> Library:
        library, until_s = self._library_of_app.get(app_id, (None, 0.0))
        if library is None or until_s < time.monotonic():
            exists, library = self._libraries.of_app(app_id)
            if library is None:
                raise ApiError(codes.NOT_INITIALIZED if exists else codes.APP_UNKNOWN)
            self._library_of_app[app_id] = library, time.monotonic() + LIBRARY_REMEMBERED_S
        return library

    def _do(self, library: Library, request: Request, download: bytes | None) -> Answer:
        match request:
            case Add():
                return self._add(library, request, _image(request.source, download))
            case Search():
                return self._search(library, request, _image(request.source, download))
            case Update():
                return self._update(library, request, _key(request.source, download))
            case Delete():
                return self._delete(library, _key(request.source, download))

    def _add(self, library: Library, request: Add, image: ImageFile) -> Answer:
        # Imports are often run twice: a stored image is not embedded a second time.
        known = self._stored.find(library, image.digest)
        if known is not None:
            if known.copy_missing:
                self._stored.keep(library, known.sign, image.small_copy())
            raise DuplicateError(known.sign)
        described = _described(library, image, request.region)
        new = NewImage(
            digest=image.digest,
            brief=request.brief,
            class_id1=request.class_id1,
            class_id2=request.class_id2,
            embedding=described.vector,
            kept=image.small_copy() if library.keep_images else None,
        )
        sign = self._stored.add(library, new)
        return {"cont_sign": signs.to_text(sign)} | _subject(described)

    def _search(self, library: Library, request: Search, image: ImageFile) -> Answer:
        described = _described(library, image, request.region)
        hits, more = self._stored.search(
            library,
            described.vector,
            request.class_filter,
            request.start,
            request.count,
            image.digest,
        )
        scored = sorted(zip(_scores(library, hits), hits, strict=True), key=lambda it: -it[0])
        result = [
            {"cont_sign": signs.to_text(hit.sign), "score": score, "brief": hit.brief.decode()}
            for score, hit in scored
        ]
        answer: Answer = {"result_num": len(result), "result": result, "has_more": more}
        return answer | _subject(described)

    def _update(self, library: Library, request: Update, key: Key) -> Answer:
        updated = self._stored.update(
            library,
            key,
            brief=request.brief,
            class_id1=request.class_id1,
            class_id2=request.class_id2,
        )
        if not updated:
            raise ApiError(codes.ITEM_UNKNOWN)
        return {}

    def _delete(self, library: Library, key: Key) -> Answer:
        if not self._stored.delete(library, key):
            raise ApiError(codes.ITEM_UNKNOWN)
        return {}


def _described(library: Library, image: ImageFile, region: Box | None) -> Description:
    return _embedding(library).describe([image.pixels()], [region])[0]


def _subject(described: Description) -> Answer:
    """Return the answer's field ``subject``, which the vendor's SDKs ignore."""
    if described.subject is None:
        return {}
    left, top, width, height = described.subject
    return {"subject": {"left": left, "top": top, "width": width, "height": height}}


def _scores(library: Library, hits: Sequence[Hit]) -> list[float]:
    """Return what the cosines mean in this library; the very same image is 1."""
    cosines = np.array([hit.cosine for hit in hits], np.float64)
    fitted = library.calibration
    if fitted is None:
        scores = _embedding(library).calibrate(cosines)
    else:
        scores = np.interp(cosines, fitted.cosines, fitted.scores)
    return [1.0 if hit.same else float(score) for score, hit in zip(scores, hits, strict=True)]


def _embedding(library: Library) -> Embedding:
    try:
        return load(library.embedding)
    except UnknownEmbeddingError:
        raise ApiError(codes.EMBEDDING_MISMATCH) from None


def _image(source: Source, download: bytes | None) -> ImageFile:
    if source.image is not None:
        return ImageFile.checked(decode_base64(source.image))
    assert download is not None  # noqa: S101 - app downloads every url before it calls
    return ImageFile.checked(download)


def _key(source: Source, download: bytes | None) -> Key:
    return list(source.signs) if source.signs else _image(source, download).digest
