"""The commands ``export``, ``import`` and ``copy``: their arguments and what they print."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from productsearch_engine.bulk import copying, exporting
from productsearch_engine.bulk.embedding import Describer, describer
from productsearch_engine.bulk.fields import RowError
from productsearch_engine.bulk.heads import Head
from productsearch_engine.bulk.importing import Importer
from productsearch_engine.bulk.indexing import alone, indexing, shortage_of
from productsearch_engine.bulk.source import Source, files_of
from productsearch_engine.database.dsn import has_password
from productsearch_engine.database.other import blamed
from productsearch_engine.database.pool import WatchedPool, open_pool
from productsearch_engine.limits import CAPACITY_DEFAULT, COMMAND_PATIENCE_S
from productsearch_engine.progress import Bar, duration
from productsearch_engine.settings import Settings
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.key_pairs import Credentials
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.rows import Progress

_SHOWN = 20
_T = TypeVar("_T")


def add_commands(
    add_parser: Callable[..., argparse.ArgumentParser], plain: argparse.ArgumentParser
) -> None:
    """Add the three commands."""
    export = add_parser(
        "export", parents=[plain], help="write a library to files: vectors, briefs, small copies"
    )
    export.add_argument("library", metavar="LIBRARY")
    export.add_argument(
        "--to", type=Path, required=True, metavar="FILE|FOLDER", help="of NDJSON; new files only"
    )
    export.set_defaults(run=run_export)
    load = add_parser(
        "import", parents=[plain], help="load files of vectors or of images into a library"
    )
    load.add_argument("file", type=Path, metavar="FILE|FOLDER")
    load.add_argument("--library", required=True, metavar="LIBRARY")
    load.add_argument(
        "--create", action="store_true", help="create the library as the file says it was"
    )
    load.add_argument(
        "--skip-wrong", action="store_true", help="leave out wrong rows, and say which"
    )
    load.set_defaults(run=run_import, goes_on=True)
    copy = add_parser(
        "copy", parents=[plain], help="copy a library to another database, with its key pair"
    )
    copy.add_argument("library", metavar="LIBRARY")
    copy.add_argument("--to", required=True, metavar="DSN", help="without a password: PGPASSFILE")
    copy.add_argument("--name", metavar="NAME", help="there; default: the same")
    copy.set_defaults(run=run_copy, goes_on=True)


def run_export(chosen: Settings, options: argparse.Namespace) -> None:
    """Write a library to a file or a folder. Raises LibraryError, OSError, psycopg.Error."""
    with open_pool(chosen, 2, COMMAND_PATIENCE_S) as pool:
        library = Libraries(pool).named(options.library)
        written = _of(library, lambda: exporting.export(BulkRows(pool), library, options.to))
    print(f"{library.name}: {written} images in {options.to}")


def run_import(chosen: Settings, options: argparse.Namespace) -> None:
    """Load files into a library. Raises LibraryError, OSError, psycopg.Error."""
    sources = [Source.of(file) for file in files_of(options.file)]
    head = sources[0].head
    with open_pool(chosen, 4, COMMAND_PATIENCE_S) as pool:
        libraries = Libraries(pool)
        if options.create:
            _create(libraries, options.library, head)
        library = libraries.named(options.library)
        for source in sources:
            _require_same_vectors(library, source)
        with (
            alone(pool, library) as require,
            indexing(chosen, pool, library, _new_of(BulkRows(pool), library, sources)),
        ):
            total = _of(library, lambda: _load(chosen, options, pool, library, sources, require))
        for source in sources:
            BulkRows(pool).forget(library, source.identity)
    print(
        f"{library.name}: {total.rows_read} rows, {total.added} added, {total.duplicates}"
        f" duplicates, {total.rejected} rejected"
    )
    if head is not None and total.rows_read < head.images:
        raise LibraryError(f"{options.file} tells of {head.images} images: it is cut short")


def run_copy(chosen: Settings, options: argparse.Namespace) -> None:
    """Copy a library to another database.

    Raises LibraryError, OtherDatabaseError, psycopg.Error.
    """
    if has_password(options.to):
        raise LibraryError(
            "--to has a password, which every account of this machine can read while this runs:"
            " put it in the file that PGPASSFILE names, or in a service file"
        )
    there = replace(chosen, database=options.to)
    with open_pool(chosen, 2, COMMAND_PATIENCE_S) as here:
        library = Libraries(here).named(options.library)
        name = options.name or library.name
        with (
            blamed(options.to, "--to", here.watch),
            open_pool(there, 4, COMMAND_PATIENCE_S) as pool,
        ):
            target = copying.target(here, pool, library, name)
            with (
                alone(pool, target) as require,
                indexing(there, pool, target, library.image_count - target.image_count),
            ):
                ways = BulkRows(here), library, BulkRows(pool), target
                counts = _of(library, lambda: copying.copy(*ways, require))
    print(
        f"{name}: {counts.rows_read} images, {counts.added} added, {counts.duplicates} were there"
    )


def _of(library: Library, work: Callable[[], _T]) -> _T:
    try:
        return work()
    except LibraryGoneError:
        raise LibraryError(
            f"{library.name!r} was deleted, or given another embedding, meanwhile"
        ) from None


def _load(
    chosen: Settings,
    options: argparse.Namespace,
    pool: WatchedPool,
    library: Library,
    sources: list[Source],
    require: Callable[[], None],
) -> Progress:
    total = Progress()
    began_s, began = time.monotonic(), 0
    shown = 0

    def reject(error: RowError) -> None:
        nonlocal shown
        shown += 1
        if shown <= _SHOWN:
            print(error, file=sys.stderr)
        elif shown == _SHOWN + 1:
            print("further wrong rows are only counted", file=sys.stderr)

    with ExitStack() as stack:
        describers: list[Describer] = []

        def images() -> Describer:
            if not describers:
                folder = options.file if options.file.is_dir() else options.file.parent
                made = describer(folder, library, chosen.decoders)
                describers.append(stack.enter_context(made))
            return describers[0]

        importer = Importer(
            BulkRows(pool),
            library,
            describer=images,
            require=require,
            shortage=shortage_of(pool, library),
            rejected=reject if options.skip_wrong else None,
        )
        for source in sources:
            before = BulkRows(pool).progress(library, source.identity)
            bar = Bar(f"import of {source.file.name}", source.size, before.position)
            began += before.rows_read
            if before.rows_read:
                print(f"going on after row {before.rows_read} of {source.file}", file=sys.stderr)
            found = importer.load(source, partial(_tell, bar))
            total = Progress(
                rows_read=total.rows_read + found.rows_read,
                added=total.added + found.added,
                rejected=total.rejected + found.rejected,
            )
    seconds = max(time.monotonic() - began_s, 1e-3)
    rate = (total.rows_read - began) / seconds
    print(f"loaded in {duration(seconds)}, {rate:.0f} rows a second", file=sys.stderr)
    return total


def _tell(bar: Bar, done: Progress) -> None:
    bar(done.position, f", {done.rows_read} rows")


def _create(libraries: Libraries, name: str, head: Head | None) -> None:
    """Create the library of a file, if there is none of the name."""
    if head is None:
        raise LibraryError("--create needs a file whose first line says of which embedding it is")
    if any(each.name == name for each in libraries.list()):
        return
    made: Credentials = libraries.create(
        name,
        capacity=max(CAPACITY_DEFAULT, head.images),
        embedding=head.embedding,
        dimensions=head.dimensions,
        api_key=None,
        keep_images=head.keep_images,
    )
    if head.calibration is not None:
        libraries.calibrate(name, head.embedding, head.calibration)
    print(f"library {name} created\nAPI key     {made.api_key}\nsecret key  {made.secret_key}")


def _require_same_vectors(library: Library, source: Source) -> None:
    head = source.head
    if head and (head.embedding, head.dimensions) != (library.embedding, library.dimensions):
        raise LibraryError(
            f"{source.file} has vectors of {head.embedding} ({head.dimensions} numbers);"
            f" {library.name!r} has {library.embedding} ({library.dimensions}). Import it into a"
            " library of the same embedding (--create), and change that with reembed"
        )


def _new_of(rows: BulkRows, library: Library, sources: list[Source]) -> int:
    """Return about how many rows of the files are not stored."""
    digests = [each.row.digest for source in sources for each in source.sampled()]
    stored = rows.stored(library, [digest for digest in digests if digest])
    share = sum(digest in stored for digest in digests) / max(len(digests), 1)
    return round(_rows_of(sources) * (1 - share))


def _rows_of(sources: list[Source]) -> int:
    """Return about how many rows the files have."""
    rows = 0
    for source in sources:
        first = next(iter(source.rows(0, 0)), None)
        length = first.end - source.first if first else 1
        rows += (source.size - source.first) // max(length, 1)
    return rows
