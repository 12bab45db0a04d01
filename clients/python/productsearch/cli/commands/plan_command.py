"""``plan``: what an import or sync will take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from productsearch.cli import import_options, options

if TYPE_CHECKING:
    from pathlib import Path

    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.profile import Profile
    from productsearch.cli.sources import Source


@click.command("plan")
@click.argument("source", metavar="SOURCE")
@import_options.mapping
@options.fit(default=None)
@options.on_duplicate("keep")
@click.option("--quota-qps", type=options.Finite(min=0), help="Calls a second of the key.")
@click.option("--quota-per-day", type=click.IntRange(min=0), help="Calls a day of the key.")
@click.option("--price-per-1000", type=options.Finite(min=0), help="Price of 1000 calls.")
@click.option("--currency", help="Of the price.")
@options.which_library
@options.as_json
def command(source: str, profile: Profile, as_json: bool, **asked: Any) -> None:
    """Say what an import or sync of SOURCE will take, before anything is sent.

    Calls are counted without those that are repeated. Quota and price come from the flags or the
    profile.
    """
    from productsearch.cli.importing.settings import Settings

    told = ("quota_qps", "quota_per_day", "price_per_1000", "currency")
    profile = replace(profile, **{name: asked[name] for name in told if asked[name] is not None})
    opened = import_options.source_of(source, profile.library, asked)
    settings = Settings(
        library=profile.library, fit=asked["fit"], on_duplicate=asked["on_duplicate"]
    )
    show(opened, import_options.journal_path(asked), settings, profile, as_json=as_json)


def show(
    source: Source,
    journal: Path | None,
    settings: Settings,
    profile: Profile,
    *,
    as_json: bool,
    also_kept: bool = False,
) -> None:
    """Print the plan; nothing is left behind beside the source. Raises Failure."""
    import tempfile
    from pathlib import Path

    from productsearch.cli import output, planning
    from productsearch.cli.failures import usage
    from productsearch.cli.journal import Journal, JournalError
    from productsearch.cli.sources.entry import SourceError

    file = journal or source.journal
    try:
        with tempfile.TemporaryDirectory() as scratch:
            known = file if file is not None and file.exists() else Path(scratch) / "journal"
            with Journal(known, profile.library) as opened:
                plan = planning.plan_of(source, opened, settings, also_kept=also_kept)
    except (SourceError, JournalError) as wrong:
        raise usage(str(wrong)) from None
    fields = planning.fields_of(plan, profile, with_deletes=True)
    output.print_json(fields) if as_json else output.print_fields(fields)
    if not as_json:
        planning.tell_deletes(plan)
    if not as_json and not (profile.quota_qps or profile.quota_per_day):
        output.note(
            "time and money: give --quota-qps, --quota-per-day, --price-per-1000, or set them in "
            "the profile"
        )
