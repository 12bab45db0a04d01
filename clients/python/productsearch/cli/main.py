"""The group of commands. Each command is imported when it is used: ``--help`` imports none."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.failures import Failure, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = {
    "add": "Add images to the library.",
    "search": "Find the stored images most like one.",
    "update": "Change brief or class ids of a stored image.",
    "delete": "Delete stored images, by signature or by image.",
    "import": "Import a folder, CSV, NDJSON or Parquet; goes on where it was stopped.",
    "sync": "Make the library equal to a folder, after showing the plan.",
    "plan": "Say what an import or sync will take: calls, days, money.",
    "find": "Look up what was imported: own id or path <-> signature.",
    "forget": "Delete what was imported under an own id or path.",
    "export": "Write what was imported, with the signatures, as CSV or NDJSON.",
    "status": "Say whether the service answers, and how far an import is.",
    "config": "Show and change profiles.",
    "completion": "Print the completion script of a shell.",
}
"""Name -> the line in ``--help``, said here so that it needs no import."""
_OTHER_NAMES: Final = {"upload": "add", "list": "export", "ls": "export", "query": "search"} | (
    dict.fromkeys(("rm", "remove"), "delete")
)
PROGRAM: Final = "productsearch"


class LazyGroup(click.Group):
    """A group whose commands are modules of ``productsearch.cli.commands``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of use."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        # `import` is a keyword, so no module can have the name.
        module = import_module(f"productsearch.cli.commands.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take options of commands that stand before the command as its own."""
        from productsearch.cli.options import BEFORE_COMMAND

        moved: list[str] = []
        rest = [*args]
        while rest and (name := rest[0].partition("=")[0]) in BEFORE_COMMAND:
            count = 2 if BEFORE_COMMAND[name] and rest[0] == name else 1
            moved += rest[:count]
            del rest[:count]
        return super().parse_args(ctx, [*rest[:1], *moved, *rest[1:]])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; name the nearest one where there is none."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            name = _OTHER_NAMES.get(args[0])
            near = [name] if name else get_close_matches(args[0], COMMANDS, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Whoever reads its output may leave early, as `head` does."""
        try:
            returned = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Python would complain when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return int(ExitCode.DONE)
        return returned

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete names from the table above; options as usual."""
        if not incomplete or incomplete[0].isalnum():
            from click.shell_completion import CompletionItem

            return [
                CompletionItem(name, help=line)
                for name, line in COMMANDS.items()
                if name.startswith(incomplete)
            ]
        return super().shell_complete(ctx, incomplete)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{PROGRAM} {version('productsearch-client')}")
        ctx.exit()


@click.group(cls=LazyGroup, name=PROGRAM, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Search products by images.

    \b
      productsearch add shoe.jpg --brief '{"id":"sku-1"}'
      productsearch search photo.jpg
      productsearch import photos/

    Where the service is: --target, PRODUCTSEARCH_CLI_TARGET, or a profile (`productsearch config`).
    Exit codes: 0 all done, 2 usage, 3 some rejected, 4 go on later, 5 refused, 6 unreachable,
    130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        returned = cli.main(
            args=None if arguments is None else [*arguments],
            prog_name=PROGRAM,
            standalone_mode=False,
        )
    except click.ClickException as wrong:
        return _told_usage(wrong, given)
    except Failure as failure:
        return _told(failure, given)
    except OSError as wrong:  # the terminal, the disk, a file that was named
        what = ": ".join(str(part) for part in (wrong.filename, wrong.strerror or wrong) if part)
        return _told(Failure(what, code=ExitCode.USAGE, reason="NOT_WRITTEN"), given)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return int(ExitCode.INTERRUPTED)
    return int(returned) if isinstance(returned, int) else int(ExitCode.DONE)


def _told_usage(wrong: click.ClickException, arguments: Sequence[str]) -> int:
    from productsearch.cli.output import wants_json

    if not wants_json(arguments):
        wrong.show()
        return int(ExitCode.USAGE)
    context = getattr(wrong, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    return _told(usage(wrong.format_message(), f"{command} --help"), arguments)


def _told(failure: Failure, arguments: Sequence[str]) -> int:
    from productsearch.cli.output import note, wants_json

    if wants_json(arguments):
        import json

        click.echo(json.dumps(failure.fields()))
    else:
        note(f"{PROGRAM}: {failure.lines()}")
    return int(failure.code)
