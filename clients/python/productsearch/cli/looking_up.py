"""Opens the journal of a source for commands that only look things up, or forget them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from productsearch.cli.failures import usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from productsearch.cli.journal import Journal


def source_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add SOURCE, as ``import`` has it, beside ``--source``."""
    return click.argument("place", metavar="[SOURCE]", required=False)(command)


def source_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--source`` and ``--journal``."""
    for option in (
        click.option("--journal", metavar="FILE", help="The journal itself, in place of --source."),
        click.option(
            "--source",
            "-s",
            default=".",
            show_default=True,
            metavar="SOURCE",
            help="What was imported: its journal is looked up.",
        ),
    ):
        command = option(command)
    return command


def journal_file(source: str, journal: str | None) -> Path:
    """Return the path of the journal of a source."""
    from productsearch.cli.sources import Mapping, open_source
    from productsearch.cli.sources.entry import SourceError

    if journal is not None:
        return Path(journal)
    # A list may be gone, or have changed; its journal is named after it all the same.
    beside = Path(f"{source}.journal")
    if not Path(source).is_dir() and beside.exists():
        return beside
    try:
        found = open_source(source, Mapping()).journal
    except SourceError as wrong:
        raise usage(str(wrong), wrong.next_step) from None
    if found is None:
        raise usage(f"{source} has no journal beside it", "name one with --journal FILE")
    return found


@contextmanager
def opened(source: str, journal: str | None, library: str) -> Iterator[Journal]:
    """Open a journal that exists. Raises Failure."""
    from productsearch.cli.journal import Journal, JournalError

    try:
        with Journal(journal_file(source, journal), library, must_exist=True) as found:
            yield found
    except JournalError as wrong:
        raise usage(str(wrong), "name the source with --source, or its --journal") from None


_FOLDERS_MAX: Final = 8


def who_knows(name: str, library: str) -> tuple[Path, str] | None:
    """Return a journal near by that counts an image as imported, and the image's key in it.

    ``name`` is a signature or a file. Journals are looked for in the working folder and, of a file,
    in the folders above it.
    """
    import hashlib

    from productsearch.cli.images_given import is_sign
    from productsearch.cli.journal import Journal, JournalError

    file = None if is_sign(name) else Path(name)
    above = [] if file is None else [*file.absolute().parents[:_FOLDERS_MAX]]
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if file else ""
    except OSError:  # an address, or stdin
        return None
    for folder in dict.fromkeys([Path(), *above]):
        for place in sorted(folder.glob("*.journal")):
            try:
                with Journal(place, library) as journal:
                    found = (
                        journal.done_with(digest)
                        if file
                        else next(iter(journal.users_of(name.strip())), None)
                    )
            except JournalError:
                continue
            if found is not None:
                return place, found.key
    return None
