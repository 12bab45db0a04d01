"""``delete``: any number of stored images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from productsearch.cli import options

if TYPE_CHECKING:
    from productsearch.cli.failures import Failure
    from productsearch.cli.profile import Profile


@click.command("delete")
@click.argument("references", nargs=-1, required=True, metavar="SIGN|IMAGE...")
@click.option("--allow-missing", is_flag=True, help="What is not there counts as deleted.")
@options.fit(default=False)
@options.timeout
@options.connection
@options.as_json
def command(
    references: tuple[str, ...],
    allow_missing: bool,
    fit: bool,
    timeout: float,
    profile: Profile,
    as_json: bool,
) -> int:
    """Delete images by signature or by the very image; - reads signatures from stdin, one a line.

    What was imported is better deleted with `forget`, which keeps the journal right.
    """
    from productsearch.cli.connection import open_channel, stub_of
    from productsearch.cli.deletes import delete_all
    from productsearch.cli.exit_codes import ExitCode
    from productsearch.cli.output import note, print_fields, print_json

    names: list[str] = []
    for given in references:
        names += sys.stdin.read().splitlines() if given == "-" else [given]
    names = [name.strip() for name in names if name.strip()]
    deleted = 0
    failures: list[Failure] = []
    with open_channel(profile) as channel:
        results = delete_all(
            stub_of(channel), profile.library, names, allow_missing=allow_missing, fit=fit,
            timeout_s=timeout,
        )  # fmt: skip
        for name, failure in results:
            if failure is None:
                deleted += 1
            else:
                failures.append(failure)
                note(f"{name}: {failure.lines()}")
            if as_json:
                fields = {} if failure is None else failure.fields()
                print_json({"reference": name, "deleted": failure is None, **fields})
    if not as_json:
        print_fields({"deleted": deleted, "failed": len(failures)})
    if not failures:
        return int(ExitCode.DONE)
    return int(ExitCode.SOME_REJECTED if deleted else failures[0].code)
