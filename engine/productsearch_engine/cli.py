"""The command line: ``productsearch-engine serve``, ``library …``, ``evaluate``.

Parses the arguments, runs the command, and turns a failure into one line and an exit status: 1
for a command that was refused or failed, 2 for wrong usage or settings, 3 for an import that left
rows out as it was told to, 130 for one interrupted.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psycopg

from productsearch_engine import database_commands, library_commands, logs, settings
from productsearch_engine.bulk import command as bulk
from productsearch_engine.console import people
from productsearch_engine.database.cause import cause_of, place_of, words_of
from productsearch_engine.database.cluster import ClusterError
from productsearch_engine.database.migrate import SchemaTooNewError
from productsearch_engine.database.other import OtherDatabaseError
from productsearch_engine.database.postgres import is_begun
from productsearch_engine.database.programs import EmbeddedError
from productsearch_engine.embedding.load import UnknownEmbeddingError
from productsearch_engine.evaluation import command as evaluate
from productsearch_engine.evaluation.dataset import DatasetError
from productsearch_engine.limits import DOCTOR_LIMITS_S, DOCTOR_S
from productsearch_engine.reembed import command as reembed
from productsearch_engine.settings import Settings, SettingsError
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import LibraryError, UnknownLibraryError
from productsearch_engine.store.locks import InUseError

_INTERRUPTED = 130
"""As shells say it: 128 and SIGINT."""

_OWN_EMBEDDING = (evaluate.run, reembed.run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _require_text(parser, options)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a file, or of a library, can be one that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    status = _run(options)
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is left of it would fail once more when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"productsearch-engine: stdout: {error.strerror}", file=sys.stderr)
        return status or 1
    return status


def _require_text(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with status 2 if an argument, other than the name of a file, is not UTF-8."""
    for name, value in vars(options).items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and not settings.is_text(each):
                parser.error(f"argument {name}: {each!r} is not UTF-8")


def _run(options: argparse.Namespace) -> int:
    if options.command == "doctor":
        try:
            return _doctor(options)
        except OSError as error:
            print(f"productsearch-engine: {_words(error)}", file=sys.stderr)
            return 2
    flags = {name: getattr(options, name, None) for name in settings.FLAGS}
    try:
        chosen = settings.load(os.environ, flags)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        # What commands say is for who runs them.
        logs.start(chosen.log_level, chosen.log_format if options.command == "serve" else "text")
        _prepare_data(chosen, options)
        status: int | None = options.run(chosen, options)
    except KeyboardInterrupt:
        print("\nproductsearch-engine: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (SettingsError, UnknownEmbeddingError) as error:
        placed = settings.placed(SettingsError(str(error)), os.environ, flags)
        # What these two name is of their own option, or a library's, and not of a setting.
        own = isinstance(error, UnknownEmbeddingError) and options.run in _OWN_EMBEDDING
        print(error if own else placed, file=sys.stderr)
        return 2
    except UnknownLibraryError as error:
        place = "the database" if chosen.database else str(chosen.data)
        print(f"productsearch-engine: {error} in {place}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"productsearch-engine: {_words(error)}", file=sys.stderr)
        return 1
    except SchemaTooNewError as error:
        place = place_of(chosen.database) if chosen.database else str(chosen.data)
        print(f"productsearch-engine: database: {place}: {error}", file=sys.stderr)
        return 1
    except (LibraryError, InUseError, DatasetError, EmbeddedError, ClusterError) as error:
        print(f"productsearch-engine: {error}", file=sys.stderr)
        return 1
    except LibraryGoneError:
        told = "the library was deleted, or given another embedding, meanwhile"
        print(f"productsearch-engine: {told}", file=sys.stderr)
        return 1
    except OtherDatabaseError as error:
        print(f"productsearch-engine: database: {error}{_goes_on(options)}", file=sys.stderr)
        return 1
    except psycopg.Error as error:
        if chosen.database:
            told = cause_of(error, chosen.database)
        else:
            # Nobody gave a connection string that could be corrected.
            server = chosen.data / "postgres"
            told = f"{server}: {words_of(error)}; {server / 'server.log'} says more"
        print(f"productsearch-engine: database: {told}{_goes_on(options)}", file=sys.stderr)
        return 1
    return status or 0


def _goes_on(options: argparse.Namespace) -> str:
    """Return what a command adds whose work is stored step by step."""
    if not getattr(options, "goes_on", False):
        return ""
    return ". Nothing has to be undone: the same command goes on from what is stored"


def _words(error: OSError) -> str:
    told = error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {told}" if error.filename else told


def _doctor(options: argparse.Namespace) -> int:
    # Imported here: the other commands need none of its checks. It makes no folder.
    from productsearch_engine.server.doctor.command import command

    flags = {name: getattr(options, name, None) for name in settings.FLAGS}
    return command(
        os.environ,
        flags,
        as_json=options.json,
        limit_s=options.limit,
        expect_running=options.expect_running,
    )


def _limit(text: str) -> float:
    """Return the seconds of a check; raise ArgumentTypeError if nothing could end within them."""
    least, most = DOCTOR_LIMITS_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not least <= seconds <= most:
        raise argparse.ArgumentTypeError(f"must be {least:g} to {most:g} seconds, not {text!r}")
    return seconds


def _prepare_data(chosen: Settings, options: argparse.Namespace) -> None:
    """Make the data directory for a command that may begin one. Raises LibraryError for others."""
    if getattr(options, "makes_data", False):
        _make_folder(chosen.data)
        options.is_new = not chosen.database and not is_begun(chosen.data)
        return
    # Images can be evaluated without a library, and the embedded database is not distributed.
    needs_none = options.run is evaluate.run and options.calibrate is None
    needs_none = needs_none or options.command == "database"
    if chosen.database or needs_none or is_begun(chosen.data):
        return
    raise LibraryError(
        f"there is no data in {chosen.data}: name the data directory of the engine with --data,"
        " or begin one with `library create` or `serve`"
    )


def _make_folder(folder: Path) -> None:
    """Create a folder and those above it that are missing; PostgreSQL's account may pass them.

    Folders that are there stay as they are.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise SettingsError(f"data: {folder}: is not a directory; choose another --data")
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
    except OSError as error:
        raise SettingsError(f"data: {folder}: {error.strerror}; choose another --data") from None
    for each in reversed(missing):
        try:
            each.mkdir(exist_ok=True)
        except OSError as error:
            raise SettingsError(f"data: {each}: {error.strerror}; choose another --data") from None
        each.chmod(0o711)  # whatever the umask is


def _serve(chosen: Settings, _options: argparse.Namespace) -> None:
    # Imported here: the commands about libraries need no HTTP server in memory.
    from productsearch_engine.server.compose import serve

    serve(chosen)


def _parser() -> argparse.ArgumentParser:
    plain = argparse.ArgumentParser(add_help=False)
    plain.add_argument("--data", metavar="FOLDER", help="data directory")
    plain.add_argument("--log-level", choices=settings.LOG_LEVELS)
    common = argparse.ArgumentParser(add_help=False, parents=[plain])
    common.add_argument("--embedding", metavar="NAME", help="embedding of new libraries")
    parser = argparse.ArgumentParser(
        prog="productsearch-engine",
        description="Self-hosted product image search that speaks the vendor's REST contract.",
        epilog=f"Every setting can also be given as {settings.PREFIX}NAME in the environment.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {version('productsearch-engine')}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _add_serve(commands.add_parser("serve", parents=[common], help="answer calls until stopped"))
    library = commands.add_parser("library", help="create, list, change and delete libraries")
    library_commands.add_actions(library, common)
    users = commands.add_parser("user", help="let people sign in to the console")
    people.add_actions(users, plain)
    undoing = commands.add_parser(
        "undo", parents=[plain], help="take back a change that the console made in the last day"
    )
    people.add_undo(undoing)
    erasing = commands.add_parser(
        "purge", parents=[plain], help="erase images everywhere, without undo"
    )
    people.add_purge(erasing)
    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="check all that the engine needs: exit 0, 1 with warnings, 2 if broken,"
        " 3 if not all was found out",
    )
    doctor.add_argument("--json", action="store_true")
    doctor.add_argument("--expect-running", action="store_true", help="warn if no engine runs here")
    doctor.add_argument(
        "--limit", type=_limit, default=DOCTOR_S, help=f"seconds until all is told ({DOCTOR_S:g})"
    )
    measuring = commands.add_parser(
        "evaluate", parents=[plain], help="measure embeddings on your own labelled images"
    )
    evaluate.add_arguments(measuring)
    measuring.set_defaults(run=evaluate.run)
    changing = commands.add_parser(
        "reembed", parents=[plain], help="give a library another embedding while it is used"
    )
    reembed.add_arguments(changing)
    changing.set_defaults(run=reembed.run, goes_on=True)
    bulk.add_commands(commands.add_parser, plain)
    database = commands.add_parser("database", help="distribute the database over a cluster")
    database_commands.add_actions(database, plain)
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--listen", metavar="ADDRESS:PORT", help="default 127.0.0.1:8190")
    serve.add_argument("--workers", metavar="NUMBER", help="calls worked on at the same time")
    serve.add_argument("--decoders", metavar="NUMBER", help="processes that decode images")
    serve.add_argument(
        "--allow-private-urls",
        action="store_const",
        const="true",
        help="let url fields name private, loopback and link-local addresses",
    )
    serve.set_defaults(run=_serve, makes_data=True)
