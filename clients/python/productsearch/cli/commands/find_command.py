"""``find``: own id or path to signature, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from productsearch.cli import looking_up, options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile

_HELPS = "check the name, --library and --source; `productsearch export` lists what was imported"
COLUMNS = ("sku", "key", "cont_sign", "brief")


@click.command("find")
@click.argument("names", nargs=-1, metavar="[SKU|PATH|SIGN]...")
@click.option("--cont-sign", multiple=True, metavar="SIGN", help="A signature, such as of a hit.")
@looking_up.source_option
@options.which_library
@options.as_json
def command(
    names: tuple[str, ...],
    cont_sign: tuple[str, ...],
    source: str,
    journal: str | None,
    profile: Profile,
    as_json: bool,
) -> int:
    """Look up what was imported, in the journal of a source. Asks no service.

    The brief is empty where the library has another's: `import` kept what was there.
    """
    from productsearch.cli import output
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.failures import usage

    wanted = (*names, *cont_sign)
    if not wanted:
        raise usage("nothing to look up", "give an own id, a path or a signature")
    missing = False
    rows = []
    with looking_up.opened(source, journal, profile.library) as found:
        for name in wanted:
            known = found.found(name)
            missing = missing or not known
            rows += [(row.sku, row.key, row.cont_sign, row.stored_brief) for row in known]
            if not known:
                output.note(f"{name}: not in {found.file}")
        if missing:
            output.note(f"  next: {_HELPS}")
    if as_json:
        for row in rows:
            output.print_json(dict(zip(COLUMNS, row, strict=True)))
    elif rows:
        output.print_rows(COLUMNS, rows)
    return int(ExitCode.SOME_REJECTED if missing else ExitCode.DONE)
