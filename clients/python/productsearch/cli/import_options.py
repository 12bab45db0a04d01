"""Options that import, sync and plan share, and what they mean together."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from productsearch.cli.failures import usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.profile import Profile
    from productsearch.cli.sources import Mapping, Source

_PAIRS = {"columns": "--map", "class_names": "--class-name"}
_FLAGS = ("fit", "fetch")
_REMEMBERED = ("columns", "brief", "class_id1", "class_id2", "class_names", *_FLAGS)
_FIELDS = ("image", "sku", "brief", "class_id1", "class_id2")


def mapping(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what the columns of a list, or the parts of a path, mean."""
    for option in reversed(
        (
            click.option(
                "--map",
                "columns",
                multiple=True,
                metavar="FIELD=COLUMN",
                help=f"Column of a list for {', '.join(_FIELDS)}.",
            ),
            click.option(
                "--brief",
                metavar="TEMPLATE",
                help="""Brief of each image, such as '{"id":"{sku}"}'. Names are columns; of a """
                "folder: path, name, stem (sku), folder, top. Default: column brief, or the path.",
            ),
            click.option("--class-id1", metavar="TEMPLATE", help="Such as 7 or {folder}."),
            click.option("--class-id2", metavar="TEMPLATE", help="The same for class id 2."),
            click.option(
                "--class-name",
                "class_names",
                multiple=True,
                metavar="NAME=NUMBER",
                help="Number of a class that is a name in the list or a folder.",
            ),
            click.option("--journal", metavar="FILE", help="Default: beside the source."),
        )
    ):
        command = option(command)
    return command


def running(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of what runs an import."""
    for option in reversed(
        (
            click.option("--retry-rejected", is_flag=True, help="Try what was rejected once more."),
            click.option(
                "--check",
                is_flag=True,
                help="Ask the library for each image that the journal knows; add what is gone.",
            ),
            click.option(
                "--fetch/--no-fetch",
                default=None,
                help="Download addresses here, not upstream. Not given: as in the last import.",
            ),
            click.option("--rejects", metavar="FILE", help="Where rejects go. Default: beside."),
            click.option("--events", metavar="FILE", help="Write NDJSON events; - is stdout."),
            click.option(
                "--time-limit", metavar="TIME", help="Stop after, such as 90s, 30m, 8h; exit 4."
            ),
            click.option(
                "--patience",
                metavar="TIME",
                default="5m",
                show_default=True,
                help="How long a service that cannot be reached is waited for.",
            ),
            click.option(
                "--at-once",
                type=click.IntRange(1, 64),
                default=8,
                show_default=True,
                help="Images under way together.",
            ),
        )
    ):
        command = option(command)
    return command


def source_of(name: str, library: str, asked: dict[str, Any]) -> Source:
    """Open the source; what is not given of its mapping is as in its last import. Raises Failure.

    A list that cannot be read to its end is refused here, before anything is begun.
    """
    from productsearch.cli.sources import open_source
    from productsearch.cli.sources.entry import SourceError
    from productsearch.cli.sources.folder import JOURNAL

    place = Path(name)
    is_folder = "://" in name or place.is_dir()
    if is_folder and asked["columns"]:
        raise usage(f"--map {asked['columns'][0]}: {name} is a folder, which has no columns")
    usual = place / JOURNAL if is_folder else place.with_name(f"{place.name}.journal")
    chosen = journal_path(asked)
    if chosen or "://" not in name:
        _go_on(asked, chosen or usual, library, _REMEMBERED)
    try:
        source = open_source(name, _mapping(asked))
        source.check()
    except SourceError as wrong:
        raise usage(str(wrong), wrong.next_step) from None
    if source.is_rejects and source.journal and not chosen:
        _go_on(asked, source.journal, library, _FLAGS)  # its rows have their briefs and classes
    asked |= {option: bool(asked.get(option)) for option in _FLAGS}
    return source


def mapping_of(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the options that say what a source means, as the journal keeps them."""
    return {name: asked.get(name) for name in _REMEMBERED}


def _go_on(asked: dict[str, Any], file: Path, library: str, names: tuple[str, ...]) -> None:
    """Take what is not asked from the last import: without it, each brief would change.

    An empty text takes an option away.
    """
    from productsearch.cli.journal import Journal, JournalError
    from productsearch.cli.output import note

    before: dict[str, Any] = {}
    if file.exists():
        with suppress(JournalError), Journal(file, library) as journal:
            before = journal.mapping()  # who opens it for writing says what is wrong
    told: dict[str, Any] = {}
    for option in names:
        given, known = asked.get(option), before.get(option)
        if option in _PAIRS:
            new = {text.partition("=")[0] for text in given or ()}
            told[option] = [text for text in known or () if text.partition("=")[0] not in new]
            asked[option] = (*told[option], *(given or ()))
        elif given is None and known is not None:
            told[option] = asked[option] = known
        if asked.get(option) == "":
            asked[option] = None
    if words := _as_options(told):
        note(f"as before: {words}")


def _as_options(told: dict[str, Any]) -> str:
    """Return the options that say the same on a command line."""
    words: list[str] = []
    for name, given in told.items():
        if isinstance(given, bool):
            words += [f"--{name}"] if given else []
            continue
        for value in given if name in _PAIRS else [given]:
            words += [_PAIRS.get(name, f"--{name.replace('_', '-')}"), str(value)]
    return shlex.join(words)


def _mapping(asked: dict[str, Any]) -> Mapping:
    from productsearch.cli.sources import Mapping
    from productsearch.cli.sources.entry import SourceError
    from productsearch.cli.sources.template import Template

    columns = pairs(asked.get("columns", ()), "--map")
    for name in columns:
        if name not in _FIELDS:
            raise usage(f"--map {name}: no such field", f"use one of {', '.join(_FIELDS)}")
    try:
        templates = {
            name: Template(asked[name])
            for name in ("brief", "class_id1", "class_id2")
            if asked.get(name) is not None
        }
    except SourceError as wrong:
        raise usage(str(wrong), wrong.next_step) from None
    names = pairs(asked.get("class_names", ()), "--class-name")
    return Mapping(columns=columns, class_names=names, **templates)


def pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    """Return what ``NAME=VALUE`` texts say. Raises Failure."""
    split = [text.partition("=") for text in given]
    for text, (name, _, value) in zip(given, split, strict=True):
        if not name or not value:
            raise usage(f"{option} {text}: use {option} NAME=VALUE")
    return {name: value for name, _, value in split}


def seconds_of(text: str | None, option: str) -> float:
    """Return the seconds of a time such as ``90s``, ``30m``, ``8h``; 0 for None. Raises Failure."""
    if text is None:
        return 0.0
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:])
    try:
        number = float(text[:-1] if unit else text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:
        raise usage(f"{option} {text}: use a time such as 90s, 30m or 8h")
    return number * (unit or 1)


def settings_of(profile: Profile, asked: dict[str, Any]) -> Settings:
    """Return the settings of an import, once its source is open. Raises Failure."""
    from productsearch.cli.importing.settings import Settings

    if asked["check"] and asked.get("dry_run"):
        raise usage("--check and --dry-run exclude each other: a dry run asks no library")
    return Settings(
        library=profile.library,
        fit=asked["fit"],
        on_duplicate=asked["on_duplicate"],
        dry_run=asked.get("dry_run", False),
        fetch=asked["fetch"],
        retry_rejected=asked["retry_rejected"],
        check=asked["check"],
        at_once=asked["at_once"],
        time_limit_s=seconds_of(asked["time_limit"], "--time-limit"),
        patience_s=seconds_of(asked["patience"], "--patience"),
        call_timeout_s=asked["timeout"],
        rejects=Path(asked["rejects"]) if asked["rejects"] else None,
        class_templates=tuple(
            (name, asked[name]) for name in ("class_id1", "class_id2") if asked.get(name)
        ),
    )


def journal_path(asked: dict[str, Any]) -> Path | None:
    """Return the journal that was named."""
    return Path(asked["journal"]) if asked["journal"] else None
