"""Copies a library from one database to another without a file between them.

It can be repeated: what is there already is a duplicate. Knows rows. Does not know SQL.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from productsearch_engine.database.other import are_one
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.limits import IMPORT_BATCH_BYTES, IMPORT_BATCH_ROWS
from productsearch_engine.progress import Bar
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.rows import Progress, Row


def target(here: WatchedPool, there: WatchedPool, library: Library, name: str) -> Library:
    """Return the library to copy to, which is created with the same key pair if it is not there.

    Raises LibraryError if it has another embedding, or if it is the library itself.
    """
    libraries = Libraries(there)
    if not any(each.name == name for each in libraries.list()):
        digest = Libraries(here).secret_digest_of_key(library.api_key)
        libraries.adopt(library.api_key, digest)
        libraries.create(
            name,
            capacity=library.capacity,
            embedding=library.embedding,
            dimensions=library.dimensions,
            api_key=library.api_key,
            keep_images=library.keep_images,
        )
        if library.calibration is not None:
            libraries.calibrate(name, library.embedding, library.calibration)
    found = libraries.named(name)
    if (found.embedding, found.dimensions) != (library.embedding, library.dimensions):
        raise LibraryError(f"{name!r} has {found.embedding} there, and {library.embedding} here")
    if found.id == library.id and are_one(here, there):
        raise LibraryError(f"--to is the database that {library.name!r} is in: there is no copy")
    _tell_of_another_key(here, libraries, library, found)
    return found


def _tell_of_another_key(
    here: WatchedPool, libraries: Libraries, library: Library, found: Library
) -> None:
    """Say so if callers cannot go on with their key pair there: one was changed since."""
    key = library.api_key
    own = Libraries(here).secret_digest_of_key(key)
    if found.api_key != key:
        print(f"{found.name} has the API key {found.api_key} there, not {key}", file=sys.stderr)
    elif libraries.secret_digest_of_key(key) != own:
        print(
            f"the secret key of {found.name} was changed since it was copied first, here or there:"
            " callers need another one there, from library rotate-key",
            file=sys.stderr,
        )


def copy(
    here: BulkRows, library: Library, there: BulkRows, to: Library, require: Callable[[], None]
) -> Progress:
    """Copy all images as they are at one moment; return what became of them.

    ``require`` raises LibraryError before a batch if the right to load is lost. Raises LibraryError
    if there is no room, LibraryGoneError.
    """
    read = added = 0
    with here.reading(library) as rows:
        bar = Bar(f"copy of {library.name}", rows.images)
        batch: list[Row] = []
        size = 0
        for row in rows:
            batch.append(row)
            size += len(row.vector) + len(row.copy or b"")
            if len(batch) >= IMPORT_BATCH_ROWS or size >= IMPORT_BATCH_BYTES:
                require()
                added += _load(there, to, batch)
                read, batch, size = read + len(batch), [], 0
                bar(read)
        added += _load(there, to, batch)
    return Progress(rows_read=read + len(batch), added=added)


def _load(there: BulkRows, to: Library, batch: list[Row]) -> int:
    to = there.now(to)
    loaded = there.load(to, batch)
    if loaded.taken < len(batch):
        raise LibraryError(f"{to.name!r} is full there: give it room with library grow {to.name}")
    return loaded.added
