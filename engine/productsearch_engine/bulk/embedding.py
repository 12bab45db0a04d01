"""Has vectors and small copies made, in worker processes, of the images that rows bring.

Knows the workers and image files. Does not know the database.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from productsearch_engine.bulk.fields import Incoming, RowError
from productsearch_engine.embedding.interface import Box
from productsearch_engine.images.errors import ImageError, ImageSizeError
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.limits import DOWNLOAD_BYTES_MAX
from productsearch_engine.store import signs
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.originals import Original
from productsearch_engine.store.rows import Row
from productsearch_engine.workers.describe import Wanted
from productsearch_engine.workers.pool import Workers, WorkersUnavailableError, started

_ATTEMPTS = 3


class Describer:
    """Makes complete rows of those that bring an image below ``folder``."""

    def __init__(self, workers: Workers, runner: asyncio.Runner, folder: Path, embedding: str):
        self._workers = workers
        self._runner = runner
        self._folder = folder.resolve()
        self._embedding = embedding

    def content(self, incoming: Incoming) -> bytes:
        """Return a row's image file. Raises RowError."""
        try:
            file = (self._folder / (incoming.image or "")).resolve()
            if not file.is_relative_to(self._folder):
                raise RowError(
                    incoming.number, "image", f"{incoming.image} is not below {self._folder}"
                )
            if file.exists() and not file.is_file():
                # A pipe would be waited for.
                raise RowError(incoming.number, "image", f"no file: {file}")
            with file.open("rb") as stream:
                content = stream.read(DOWNLOAD_BYTES_MAX + 1)
        except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
            told = error.strerror if isinstance(error, OSError) else "links in a circle"
            raise RowError(incoming.number, "image", f"{told}: {incoming.image}") from None
        if len(content) > DOWNLOAD_BYTES_MAX:
            raise RowError(incoming.number, "image", f"over {DOWNLOAD_BYTES_MAX} bytes: {file}")
        given = incoming.row.digest
        if given and given != hashlib.sha256(content).digest():
            raise RowError(incoming.number, "digest", f"it is not that of {file}")
        return content

    def described(
        self, rows: Sequence[tuple[Incoming, bytes]], *, copies: bool
    ) -> list[Row | RowError]:
        """Return each row with its vector, or why its image is refused.

        copies: whether a row without a small copy gets one.
        Raises LibraryError if the processes do not do it.
        """
        return self._runner.run(self._all(rows, copies))

    async def _all(
        self, rows: Sequence[tuple[Incoming, bytes]], copies: bool
    ) -> list[Row | RowError]:
        return await asyncio.gather(*(self._one(*each, copies) for each in rows))

    async def _one(self, incoming: Incoming, content: bytes, copies: bool) -> Row | RowError:
        row, region = incoming.row, incoming.row.region
        try:
            image = ImageFile.checked(content)
            wanted = Wanted(
                embedding=self._embedding,
                copy=copies and row.copy is None,
                region=None if region is None else Box(*region),
            )
            for attempt in range(_ATTEMPTS):
                try:
                    described = await self._workers.describe(
                        wanted, image.needed, caller=0, large=image.structure.large
                    )
                    break
                except WorkersUnavailableError:
                    if attempt + 1 == _ATTEMPTS:
                        raise LibraryError("the worker processes do not answer") from None
        except ImageError as error:
            return RowError(incoming.number, "image", f"{incoming.image}: {_told(error)}")
        digest = hashlib.sha256(content).digest()
        return replace(
            row,
            digest=digest,
            sign=row.sign or signs.derive(digest, 0),
            vector=described.vector.astype("<f2").tobytes(),
            copy=row.copy or described.kept,
            original=Original(*described.upright_sides, len(content)),
        )


@contextmanager
def describer(folder: Path, library: Library, processes: int) -> Iterator[Describer]:
    """Yield a describer whose processes end with the context."""
    with started(library.embedding, processes) as workers, asyncio.Runner() as runner:
        yield Describer(workers, runner, folder, library.embedding)


def _told(error: ImageError) -> str:
    if isinstance(error, ImageSizeError):
        return "too large or too small: a side has 300 to 4096 pixels"
    return "no JPEG, PNG or BMP that can be decoded"
