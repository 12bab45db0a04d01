"""Copies a library from one database to another without a file between them.

It can be repeated: what is there already is a duplicate. Knows rows. Does not know SQL.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from shlex import quote

from productsearch_engine.database.other import are_one
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.limits import IMPORT_BATCH_BYTES, IMPORT_BATCH_ROWS
from productsearch_engine.progress import Bar
from productsearch_engine.store.app_keys import AppKeys
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.quotas import Quotas
from productsearch_engine.store.rows import Progress, Row


def target(here: WatchedPool, there: WatchedPool, library: Library, name: str) -> Library:
    """Return the library to copy to, which is created with the same key pair if it is not there.

    Raises LibraryError if it has another embedding, or if it is the library itself.
    """
    libraries = Libraries(there)
    known = libraries.list()
    same_key = next((each for each in known if each.api_key == library.api_key), None)
    if same_key and same_key.id == library.id and are_one(here, there):
        raise LibraryError(f"--to is the database that {library.name!r} is in: there is no copy")
    if not any(each.name == name for each in known):
        if same_key:
            raise LibraryError(
                f"{same_key.name!r} has the key pair of {library.name!r} there: copy to it with"
                " --name, or rename it"
            )
        digest = AppKeys(here).secret_digest_of_key(library.api_key)
        AppKeys(there).adopt(library.api_key, digest)
        libraries.create(
            name,
            capacity=library.capacity,
            embedding=library.embedding,
            dimensions=library.dimensions,
            api_key=library.api_key,
            keep_images=library.keep_images,
            calibration=library.calibration,
        )
    found = libraries.named(name)
    if (found.embedding, found.dimensions) != (library.embedding, library.dimensions):
        raise LibraryError(f"{name!r} has {found.embedding} there, and {library.embedding} here")
    if found.api_key == library.api_key and not found.image_count:  # new, or its copy has ended
        _settings(here, there, library, name)
    _tell_of_another_key(AppKeys(here), AppKeys(there), library, found)
    return found


def _settings(here: WatchedPool, there: WatchedPool, library: Library, name: str) -> None:
    """Set a new library as the one that it is a copy of; calls count from the first one again."""
    quota = Quotas(here).of(library.name)
    if not quota.is_none:
        Quotas(there).bound(name, quota)
    if library.delete_lag_s:
        try:
            LibrarySettings(there).lag_deletes(name, library.delete_lag_s)
        except LibraryError as error:
            print(error, file=sys.stderr)


def _tell_of_another_key(here: AppKeys, there: AppKeys, library: Library, found: Library) -> None:
    """Say so if callers cannot go on with their key pair there: one was changed since."""
    key = library.api_key
    own = here.secret_digest_of_key(key)
    if found.api_key != key:
        print(f"{found.name} has the API key {found.api_key} there, not {key}", file=sys.stderr)
    elif there.secret_digest_of_key(key) != own:
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
        raise LibraryError(
            f"{to.name!r} is full there: give it room with library grow {quote(to.name)}"
        )
    return loaded.added
