"""What a command prints: a table for people, TSV into pipes, JSON for programs.

Rich is imported where a table is drawn. Progress and errors go to stderr, results to stdout.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON, also one that failed before it was read."""
    ended = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:ended]


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_rows(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = ""
) -> None:
    """Print rows: a table in a terminal, else tab-separated lines with a head."""
    if not sys.stdout.isatty():
        click.echo("\t".join(columns))
        for row in rows:
            click.echo("\t".join(_flat(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        number = column in ("score", "#", "count", "images", "calls")
        table.add_column(
            column,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number or column == "cont_sign",  # what is copied stays on one line
        )
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    Console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, fields), default=0)
    for name, told in fields.items():
        value = {True: "yes", False: "no"}[told] if isinstance(told, bool) else told
        click.echo(f"{name:<{width}}  {value}" if sys.stdout.isatty() else f"{name}\t{value}")


def note(text: str) -> None:
    """Print lines for people beside the result; a line of progress that stands there is cleared."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(clear + "\n".join(map(printable, text.split("\n"))), err=True)


def printable(text: str) -> str:
    """Return a text that moves no cursor: briefs and names are other people's."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _flat(cell: object) -> str:
    return printable(str(cell).replace("\\", "\\\\"))
