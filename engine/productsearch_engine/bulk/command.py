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
from shlex import quote
from typing import TypeVar

from productsearch_engine.bulk import copying, exporting, vectors
from productsearch_engine.bulk.embedding import Describer, describer
from productsearch_engine.bulk.fields import RowError
from productsearch_engine.bulk.heads import Head
from productsearch_engine.bulk.importing import Importer
from productsearch_engine.bulk.indexing import alone, indexing, shortage_of
from productsearch_engine.bulk.source import Source, files_of
from productsearch_engine.database.dsn import has_password, is_readable
from productsearch_engine.database.other import blamed
from productsearch_engine.database.pool import WatchedPool, open_pool
from productsearch_engine.limits import CAPACITY_DEFAULT, COMMAND_PATIENCE_S
from productsearch_engine.progress import Bar, duration
from productsearch_engine.settings import Settings
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.key_pairs import Credentials
from productsearch_engine.store.libraries import Libraries, Library, LibraryError, check_name
from productsearch_engine.store.rows import Progress

_SHOWN = 20
_LEFT_OUT = 3
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
        "--to",
        type=_path,
        required=True,
        metavar="FILE|FOLDER",
        help="of NDJSON; new files only",
    )
    export.set_defaults(run=run_export)
    load = add_parser(
        "import", parents=[plain], help="load files of vectors or of images into a library"
    )
    load.add_argument("file", type=_path, metavar="FILE|FOLDER")
    load.add_argument("--library", required=True, metavar="LIBRARY")
    load.add_argument(
        "--create", action="store_true", help="create the library as the file says it was"
    )
    load.add_argument(
        "--skip-wrong",
        action="store_true",
        help="leave out wrong rows, and say which; exit status 3 if there are any",
    )
    load.set_defaults(run=run_import, goes_on=True)
    copy = add_parser(
        "copy", parents=[plain], help="copy a library to another database, with its key pair"
    )
    copy.add_argument("library", metavar="LIBRARY")
    copy.add_argument(
        "--to", type=_dsn, required=True, metavar="DSN", help="without a password: PGPASSFILE"
    )
    copy.add_argument("--name", type=_name, metavar="NAME", help="there; default: the same")
    copy.set_defaults(run=run_copy, goes_on=True)


def _path(text: str) -> Path:
    """Return a path, which is not empty, as one is of a variable without a value.

    Raises ArgumentTypeError.
    """
    path = Path(text)
    if not text:
        raise argparse.ArgumentTypeError("must be a file or a folder, not ''")
    if text.endswith("/") and not path.is_dir():
        raise argparse.ArgumentTypeError(f"no such folder: {text!r}")
    return path


def _name(text: str) -> str:
    """Return a library's name. Raises ArgumentTypeError."""
    try:
        check_name(text)
    except LibraryError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _dsn(text: str) -> str:
    """Return a connection string. Raises ArgumentTypeError for none: it would be the default."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must be a libpq connection string, not {text!r}")
    if not is_readable(text):  # it is not repeated: it can hold a password
        told = "is no libpq connection string (host=... dbname=... user=...)"
        raise argparse.ArgumentTypeError(told)
    return text


def run_export(chosen: Settings, options: argparse.Namespace) -> None:
    """Write a library to a file or a folder. Raises LibraryError, OSError, psycopg.Error."""
    with open_pool(chosen, 2, COMMAND_PATIENCE_S) as pool:
        library = Libraries(pool).named(options.library)
        written = _of(library, lambda: exporting.export(BulkRows(pool), library, options.to))
    print(f"{library.name}: {written} images in {options.to}")


def run_import(chosen: Settings, options: argparse.Namespace) -> int:
    """Load files into a library; return the exit status: 3 if rows were left out.

    Raises LibraryError, OSError, psycopg.Error.
    """
    sources = [Source.of(file) for file in files_of(options.file)]
    head = sources[0].head
    vectors.require_one_embedding(sources)
    with open_pool(chosen, 4, COMMAND_PATIENCE_S) as pool:
        if options.create:
            _create(pool, options.library, head)
        library = Libraries(pool).named(options.library)
        for source in sources:
            vectors.require_same(library, source)
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
    told = sum(each.images for each in {source.head for source in sources if source.head})
    if total.rows_read < told:
        raise LibraryError(f"{options.file} tells of {told} images: it is cut short")
    return _LEFT_OUT if total.rejected else 0


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
            print(f"{source.file}: {error}", file=sys.stderr)
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
        done: dict[str, Progress] = {}
        for source in sources:
            if again := done.get(source.identity):
                print(f"{source.file} is the same as a file before it", file=sys.stderr)
                began += again.rows_read
                total = replace(
                    total,
                    rows_read=total.rows_read + again.rows_read,
                    rejected=total.rejected + again.rejected,
                )
                continue
            before = BulkRows(pool).progress(library, source.identity)
            bar = Bar(f"import of {source.file.name}", source.size, before.position)
            began += before.rows_read
            if before.rows_read:
                print(f"going on after row {before.rows_read} of {source.file}", file=sys.stderr)
            found = done[source.identity] = importer.load(source, partial(_tell, bar))
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


def _create(pool: WatchedPool, name: str, head: Head | None) -> None:
    """Create the library of a file, if there is none of the name."""
    if head is None:
        raise LibraryError(
            "--create needs a file whose first line says of which embedding it is, as an export's"
            f" does: create the library first, with library create {quote(name)}"
        )
    libraries = Libraries(pool)
    if any(each.name == name for each in libraries.list()):
        return
    made: Credentials = libraries.create(
        name,
        capacity=max(CAPACITY_DEFAULT, head.images),
        embedding=head.embedding,
        dimensions=head.dimensions,
        api_key=None,
        keep_images=head.keep_images,
        calibration=head.calibration,
    )
    print(f"library {name} created\nAPI key     {made.api_key}\nsecret key  {made.secret_key}")


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
