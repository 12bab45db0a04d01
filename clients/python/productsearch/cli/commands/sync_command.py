"""``sync``: makes the library equal to a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from productsearch.cli import import_options, options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile


@click.command("sync")
@click.argument("source", metavar="SOURCE")
@import_options.mapping
@options.fit(default=None)
@options.on_duplicate("update")
@options.also_kept
@click.option("--dry-run", is_flag=True, help="Show the plan and stop, as `plan` does.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask after showing the plan.")
@import_options.running
@options.timeout
@options.connection
@options.as_json
def command(source: str, profile: Profile, dry_run: bool, as_json: bool, **asked: Any) -> int:
    """Make the library equal to SOURCE, after showing the plan: adds, updates, deletes.

    Deletes only what this source brought into the library: what its journal knows and the source no
    longer has.
    """
    import sys

    from productsearch.cli import output, planning
    from productsearch.cli.commands import plan_command
    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.failures import usage
    from productsearch.cli.forgetting import Forgotten, forget
    from productsearch.cli.importing import events, session

    opened = import_options.source_of(source, profile.library, asked)
    settings = import_options.settings_of(profile, asked)
    if opened.is_rejects:
        raise usage(f"{source} is a rejects file", f"productsearch import {source}")
    chosen = import_options.journal_path(asked)
    also_kept = asked["also_kept"]
    if dry_run:
        plan_command.show(opened, chosen, settings, profile, as_json=as_json, also_kept=also_kept)
        return int(ExitCode.DONE)
    session.ask_first(profile, asked["timeout"])
    with (
        session.journal_of(opened, profile.library, chosen=chosen) as journal,
        events.opened(asked["events"]) as told,
    ):
        plan = planning.plan_of(opened, journal, settings, also_kept=also_kept)
        shown = planning.fields_of(plan, profile, with_deletes=True)
        for name, value in shown.items():
            output.note(f"{name:<16} {value}")
        planning.tell_deletes(plan)
        if plan.gone and not plan.total:
            raise usage(
                f"{source} has no images: is it the right place, and mounted?",
                "productsearch forget deletes what is really to go",
            )
        something = plan.adds or plan.updates or plan.gone
        if something and not asked["yes"]:
            if not sys.stdin.isatty():
                raise usage(
                    "sync asks before it changes a library, and this is no terminal",
                    "add --yes once the plan is right",
                )
            if not click.confirm("go on?", err=True):
                output.note("nothing was done")
                return int(ExitCode.DONE)
        journal.remember(import_options.mapping_of(asked))
        ended = session.run(opened, journal, settings, profile, told)
        done = Forgotten()
        if ended.complete:
            gone = planning.plan_of(opened, journal, settings).gone
            with open_channel(profile) as channel:
                done = forget(stub_of(channel), journal, gone, also_kept=also_kept)
            for failure in done.failures:
                output.note(failure.lines())
            if done.not_ours:
                output.note(options.not_ours(done.not_ours))
        ended = session.ended_with(
            ended,
            deleted=done.deleted,
            shared=done.shared,
            not_ours=done.not_ours,
            not_deleted=len(done.failures),
        )
        failed = {"error": ended.failure.what} if ended.failure else {}
        told.tell("finished", **ended.fields, **failed, exit_code=int(ended.code))
    code = session.report(ended, as_json=as_json)
    return int(ExitCode.SOME_REJECTED if done.failures and code is ExitCode.DONE else code)
