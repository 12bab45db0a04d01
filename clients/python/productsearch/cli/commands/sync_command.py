"""``sync``: makes the library equal to a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from productsearch.cli import import_options, options

if TYPE_CHECKING:
    from productsearch.cli.failures import Failure
    from productsearch.cli.profile import Profile


@click.command("sync")
@click.argument("source", metavar="SOURCE")
@import_options.mapping
@options.fit(default=False)
@options.on_duplicate("update")
@click.option("--yes", "-y", is_flag=True, help="Do not ask after showing the plan.")
@import_options.running
@options.timeout
@options.connection
@options.as_json
def command(source: str, profile: Profile, as_json: bool, **asked: Any) -> int:
    """Make the library equal to SOURCE, after showing the plan: adds, updates, deletes.

    Deletes only what was imported from this source: what its journal knows and the source no
    longer has.
    """
    import sys

    from productsearch.cli import output, planning
    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.failures import usage
    from productsearch.cli.forgetting import forget
    from productsearch.cli.importing import events, session

    settings = import_options.settings_of(profile, asked)
    opened = import_options.source_of(source, profile.library, asked)
    if opened.is_rejects:
        raise usage(f"{source} is a rejects file", f"productsearch import {source}")
    chosen = import_options.journal_path(asked)
    with (
        session.journal_of(opened, profile.library, chosen=chosen) as journal,
        events.opened(asked["events"]) as told,
    ):
        plan = planning.plan_of(opened, journal, settings)
        shown = planning.fields_of(plan, profile, with_deletes=True)
        for name, value in shown.items():
            output.note(f"{name:<16} {value}")
        for row in plan.deletes[:_DELETES_SHOWN]:
            output.note(f"  - {row.key}")
        if len(plan.deletes) > _DELETES_SHOWN:
            output.note(f"  - and {len(plan.deletes) - _DELETES_SHOWN} more")
        if plan.deletes and not plan.total:
            raise usage(
                f"{source} has no images: is it the right place, and mounted?",
                "productsearch forget deletes what is really to go",
            )
        something = plan.adds or plan.updates or plan.deletes
        if something and not asked["yes"]:
            if not sys.stdin.isatty():
                raise usage("nobody can be asked here", "add --yes once the plan is right")
            if not click.confirm("go on?", err=True):
                output.note("nothing was done")
                return int(ExitCode.DONE)
        if not (settings.dry_run or opened.is_rejects):
            journal.remember(import_options.mapping_of(asked))
        ended = session.run(opened, journal, settings, profile, told)
        deleted = 0
        failures: list[tuple[str, Failure]] = []
        if ended.complete:
            stale = planning.plan_of(opened, journal, settings).deletes
            with open_channel(profile) as channel:
                deleted, failures = forget(stub_of(channel), journal, stale)
            for sign, failure in failures:
                output.note(f"{sign}: {failure.lines()}")
        ended = session.ended_with(ended, deleted=deleted, not_deleted=len(failures))
        failed = {"error": ended.failure.what} if ended.failure else {}
        told.tell("finished", **ended.fields, **failed, exit_code=int(ended.code))
    code = session.report(ended, as_json=as_json)
    return int(ExitCode.SOME_REJECTED if failures and code is ExitCode.DONE else code)


_DELETES_SHOWN = 10
