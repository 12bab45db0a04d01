"""``forget``: deletes what was imported, by own id or path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from productsearch.cli import looking_up, options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile


@click.command("forget")
@click.argument("names", nargs=-1, required=True, metavar="SKU|PATH|SIGN...")
@looking_up.source_option
@options.connection
@options.as_json
def command(
    names: tuple[str, ...], source: str, journal: str | None, profile: Profile, as_json: bool
) -> int:
    """Delete images from the library and from the journal, by own id, path or signature.

    The next import adds them again if they are still in the source.
    """
    from productsearch.cli import output
    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.forgetting import forget

    missing = 0
    with (
        looking_up.opened(source, journal, profile.library) as found,
        open_channel(profile) as channel,
    ):
        rows = []
        for name in names:
            known = found.found(name)
            missing += not known
            rows += known
            if not known:
                output.note(f"{name}: not in {found.file}")
        forgotten, failures = forget(stub_of(channel), found, rows)
    for sign, failure in failures:
        output.note(f"{sign}: {failure.lines()}")
    fields = {"forgotten": forgotten, "unknown": missing, "failed": len(failures)}
    output.print_json(fields) if as_json else output.print_fields(fields)
    if not missing and not failures:
        return int(ExitCode.DONE)
    return int(ExitCode.SOME_REJECTED if forgotten else ExitCode.REFUSED)
