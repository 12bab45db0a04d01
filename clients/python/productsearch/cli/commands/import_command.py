"""``import``: a folder or a list into the library; goes on where it was stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from productsearch.cli import import_options, options

if TYPE_CHECKING:
    from productsearch.cli.profile import Profile


@click.command("import")
@click.argument("source", metavar="SOURCE")
@import_options.mapping
@options.fit(default=None)
@options.on_duplicate("keep")
@click.option("--dry-run", is_flag=True, help="Check each image here and by the service only.")
@click.option("--verify", type=click.IntRange(min=1), metavar="N", help="Then search N of them.")
@import_options.running
@options.timeout
@options.connection
@options.as_json
def command(source: str, profile: Profile, as_json: bool, **asked: Any) -> int:
    """Import a folder, a CSV, NDJSON or Parquet list, or a folder of object storage.

    \b
      productsearch import photos/ --brief '{"id":"{stem}"}'
      productsearch import products.csv --map image=photo --map sku=id
      productsearch import photos/rejects.csv        what was rejected, mended

    A journal beside the source keeps what became of each image. The same command goes on where it
    was stopped, by whatever, and reads nothing again that has not changed. The journal moves with
    the source. Bad images are rejected into a file with the reasons; the rest is imported.
    """
    from dataclasses import replace

    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.importing import events, session, verify
    from productsearch.cli.output import note

    opened = import_options.source_of(source, profile.library, asked)
    settings = import_options.settings_of(profile, asked)
    session.ask_first(profile, asked["timeout"])
    with (
        session.journal_of(
            opened, profile.library, chosen=import_options.journal_path(asked)
        ) as journal,
        events.opened(asked["events"]) as told,
    ):
        if not (settings.dry_run or opened.is_rejects):
            journal.remember(import_options.mapping_of(asked))
        ended = session.run(opened, journal, settings, profile, told)
        if asked["verify"] and ended.complete and not settings.dry_run:
            with open_channel(profile) as channel:
                tried, missed = verify.verify(
                    stub_of(channel), opened, journal, settings, asked["verify"]
                )
            for row, first in missed:
                note(f"not found first: {row.key} ({row.cont_sign}); first came {first}")
            if missed:
                note("  next: look at both; images that are nearly the same can come first")
            ended = session.ended_with(ended, verified=tried, verify_missed=len(missed))
            if missed and ended.code is ExitCode.DONE:
                ended = replace(ended, code=ExitCode.SOME_REJECTED)
        failed = {"error": ended.failure.what} if ended.failure else {}
        told.tell("finished", **ended.fields, **failed, exit_code=int(ended.code))
    if asked["events"] == "-":
        return int(ended.code)
    return int(session.report(ended, as_json=as_json))
