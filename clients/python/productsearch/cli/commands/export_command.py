"""``export``: what was imported, with the signatures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from productsearch.cli import looking_up, options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile

COLUMNS = ("sku", "key", "cont_sign", "brief", "class_id1", "class_id2", "outcome", "digest")


@click.command("export")
@click.option(
    "--format", "kind", type=click.Choice(["csv", "ndjson"]), default="csv", show_default=True
)
@looking_up.source_argument
@looking_up.source_option
@options.which_library
def command(
    kind: str, place: str | None, source: str, journal: str | None, profile: Profile
) -> None:
    """Write what is in the library by this journal: own id, path, signature, brief, classes.

    Asks no service: the service has no call that lists what is stored. Brief and classes are empty
    where the library has another's: `import` kept what was there.
    """
    import csv
    import json

    with looking_up.opened(place or source, journal, profile.library) as found:
        table = csv.writer(sys.stdout, lineterminator="\n")
        if kind == "csv":
            table.writerow(COLUMNS)
        for row in found.in_library():
            values = [getattr(row, name) for name in COLUMNS]
            if not row.is_stored_as_told:
                values[3:6] = "", "", ""
            if kind == "csv":
                table.writerow(values)
            else:
                fields = dict(zip(COLUMNS, values, strict=True))
                sys.stdout.write(json.dumps(fields, ensure_ascii=False) + "\n")
