"""``forget``: deletes what was imported, by own id or path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from productsearch.cli import looking_up, options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile


@click.command("forget")
@click.argument("names", nargs=-1, required=True, metavar="SKU|PATH|SIGN...")
@options.also_kept
@looking_up.source_option
@options.connection
@options.as_json
def command(
    names: tuple[str, ...],
    also_kept: bool,
    source: str,
    journal: str | None,
    profile: Profile,
    as_json: bool,
) -> int:
    """Delete images from the library and from the journal, by own id, path or signature.

    What was in the library before this source was imported stays there. The next import adds the
    images again if they are still in the source.
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
        done = forget(stub_of(channel), found, rows, also_kept=also_kept)
    for failure in done.failures:
        output.note(failure.lines())
    fields = {"forgotten": done.total, "unknown": missing, "failed": len(done.failures)}
    stay = {"shared": done.shared, "not_ours": done.not_ours}
    if as_json:
        output.print_json(fields | stay)
    else:
        output.print_fields(fields | {name: count for name, count in stay.items() if count})
        if done.not_ours:
            output.note(options.not_ours(done.not_ours))
    if not missing and not done.failures:
        return int(ExitCode.DONE)
    refused = done.failures and not done.total
    return int(ExitCode.REFUSED if refused else ExitCode.SOME_REJECTED)
