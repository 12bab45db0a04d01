"""``delete``: any number of stored images."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from productsearch.cli import looking_up, options

if TYPE_CHECKING:
    from pathlib import Path

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

    What was imported is better deleted with `forget`, which keeps the journal right: `import` adds
    only what its journal does not know.
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
    known: tuple[Path, str] | None = None
    with open_channel(profile) as channel:
        results = delete_all(
            stub_of(channel), profile.library, names, allow_missing=allow_missing, fit=fit,
            timeout_s=timeout,
        )  # fmt: skip
        for name, failure in results:
            if failure is None:
                deleted += 1
                known = known or looking_up.who_knows(name, profile.library)
            else:
                failures.append(failure)
                note(failure.lines())
            if as_json:
                fields = {} if failure is None else failure.fields()
                print_json({"reference": name, "deleted": failure is None, **fields})
    if not as_json:
        print_fields({"deleted": deleted, "failed": len(failures)})
    if known is not None:
        journal, key = known
        note(
            f"{journal} still counts {key} as imported; the next import would not add it\n"
            f"  next: productsearch forget {shlex.quote(key)} --journal {shlex.quote(str(journal))}"
        )
    if not failures:
        return int(ExitCode.DONE)
    missing = all(failure.reason == "IMAGE_NOT_FOUND" for failure in failures)
    return int(ExitCode.SOME_REJECTED if deleted or missing else failures[0].code)
