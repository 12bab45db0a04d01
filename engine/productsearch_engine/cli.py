"""The command line: ``productsearch-engine serve``, ``library …``, ``evaluate``.

Parses the arguments, runs the command, and turns a failure into one line and an exit status: 1
for a command that was refused or failed, 2 for wrong usage or settings.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import psycopg

from productsearch_engine import logs, settings
from productsearch_engine.console import people
from productsearch_engine.database.cause import cause_of
from productsearch_engine.database.migrate import SchemaTooNewError
from productsearch_engine.database.pool import open_pool
from productsearch_engine.database.postgres import is_begun
from productsearch_engine.database.programs import EmbeddedError
from productsearch_engine.embedding.load import UnknownEmbeddingError, load
from productsearch_engine.evaluation import command as evaluate
from productsearch_engine.evaluation.dataset import DatasetError
from productsearch_engine.limits import CAPACITY_DEFAULT, DOCTOR_CHECK_S
from productsearch_engine.reembed import command as reembed
from productsearch_engine.settings import Settings, SettingsError
from productsearch_engine.store.libraries import Libraries, LibraryError, UnknownLibraryError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "doctor":
        return _doctor(options)
    flags = {name: getattr(options, name, None) for name in settings.FLAGS}
    try:
        chosen = settings.load(os.environ, flags)
        logs.start(chosen.log_level)
        _prepare_data(chosen, options)
        options.run(chosen, options)
    except (SettingsError, UnknownEmbeddingError) as error:
        print(error, file=sys.stderr)
        return 2
    except UnknownLibraryError as error:
        place = "the database" if chosen.database else str(chosen.data)
        print(f"productsearch-engine: {error} in {place}", file=sys.stderr)
        return 1
    except (LibraryError, DatasetError, EmbeddedError, SchemaTooNewError, OSError) as error:
        print(f"productsearch-engine: {error}", file=sys.stderr)
        return 1
    except psycopg.Error as error:
        print(
            f"productsearch-engine: database: {cause_of(error, chosen.database)}", file=sys.stderr
        )
        return 1
    return 0


def _doctor(options: argparse.Namespace) -> int:
    # Imported here: the other commands need none of its checks. It makes no folder.
    from productsearch_engine.server.doctor.command import command

    flags = {name: getattr(options, name, None) for name in settings.FLAGS}
    return command(os.environ, flags, as_json=options.json, limit_s=options.limit)


def _prepare_data(chosen: Settings, options: argparse.Namespace) -> None:
    """Make the data directory for a command that may begin one. Raises LibraryError for others."""
    if getattr(options, "makes_data", False):
        _make_folder(chosen.data)
        return
    # Images can be evaluated without a library.
    needs_none = options.run is evaluate.run and options.calibrate is None
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
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(0o711)  # whatever the umask is


def _serve(chosen: Settings, _options: argparse.Namespace) -> None:
    # Imported here: the commands about libraries need no HTTP server in memory.
    from productsearch_engine.server.compose import serve

    serve(chosen)


def _create(chosen: Settings, options: argparse.Namespace) -> None:
    embedding = load(chosen.embedding)
    with open_pool(chosen, 1) as pool:
        made = Libraries(pool).create(
            options.name,
            capacity=options.capacity,
            embedding=embedding.name,
            dimensions=embedding.dimensions,
            api_key=options.api_key,
            keep_images=chosen.keep_images,
        )
    if options.json:
        print(json.dumps({"name": options.name, **asdict(made)}))
        return
    print(f"library     {options.name}\nAPI key     {made.api_key}")
    print(f"secret key  {made.secret_key or '(as before)'}")
    if made.secret_key:
        print("The secret key is shown this once; only a digest of it is stored.")


def _grow(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        library = Libraries(pool).grow(options.name, options.by)
    print(f"{library.name}: room for {library.capacity} images, {library.image_count} stored")


def _keep(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        Libraries(pool).keep_images(options.name, options.keep == "on")
    kept = "a small copy of each image added from now on" if options.keep == "on" else "no copies"
    print(f"{options.name}: keeps {kept}")


def _list(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        libraries = Libraries(pool).list()
    if options.json:
        print(json.dumps([asdict(library) for library in libraries]))
        return
    print(f"{'LIBRARY':24} {'IMAGES':>10} {'CAPACITY':>10}  {'EMBEDDING':12} API KEY")
    for library in libraries:
        print(
            f"{library.name:24} {library.image_count:10} {library.capacity:10}"
            f"  {library.embedding:12} {library.api_key}"
        )


def _delete(chosen: Settings, options: argparse.Namespace) -> None:
    if not options.yes:
        raise LibraryError(f"this deletes every image of {options.name!r}: confirm with --yes")
    with open_pool(chosen, 1) as pool:
        Libraries(pool).delete(options.name)
    print(f"library {options.name} deleted; its key pair remains")


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
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _add_serve(commands.add_parser("serve", parents=[common], help="answer calls until stopped"))
    library = commands.add_parser("library", help="create, grow, list and delete libraries")
    _add_library_actions(library, common)
    users = commands.add_parser("user", help="let people sign in to the console")
    people.add_actions(users, plain)
    erasing = commands.add_parser(
        "purge", parents=[plain], help="erase images everywhere, without undo"
    )
    people.add_purge(erasing)
    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="check all that the engine needs: exit 0, 1 with warnings, 2 if broken",
    )
    doctor.add_argument("--json", action="store_true")
    doctor.add_argument("--limit", type=float, default=DOCTOR_CHECK_S, help="seconds of a check")
    measuring = commands.add_parser(
        "evaluate", parents=[plain], help="measure embeddings on your own labelled images"
    )
    evaluate.add_arguments(measuring)
    measuring.set_defaults(run=evaluate.run)
    changing = commands.add_parser(
        "reembed", parents=[plain], help="give a library another embedding while it is used"
    )
    reembed.add_arguments(changing)
    changing.set_defaults(run=reembed.run)
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


def _add_library_actions(library: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = library.add_subparsers(required=True, metavar="ACTION")
    create = actions.add_parser("create", parents=[common], help="create one and its key pair")
    create.add_argument("name")
    create.add_argument("--capacity", type=_positive, default=CAPACITY_DEFAULT, help="images")
    create.add_argument("--api-key", help="reuse the key pair of a deleted library")
    create.add_argument("--json", action="store_true")
    create.set_defaults(run=_create, makes_data=True)
    grow = actions.add_parser("grow", parents=[common], help="raise the capacity")
    grow.add_argument("name")
    grow.add_argument("--by", type=_positive, default=CAPACITY_DEFAULT, help="images")
    grow.set_defaults(run=_grow)
    keep = actions.add_parser(
        "keep-images", parents=[common], help="keep small copies of images, or drop them"
    )
    keep.add_argument("name")
    keep.add_argument("keep", choices=("on", "off"))
    keep.set_defaults(run=_keep)
    listing = actions.add_parser("list", parents=[common], help="show all")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=_list)
    delete = actions.add_parser("delete", parents=[common], help="drop one with its images")
    delete.add_argument("name")
    delete.add_argument("--yes", action="store_true")
    delete.set_defaults(run=_delete)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**12:
        raise argparse.ArgumentTypeError(f"not a positive number: {text!r}")
    return int(text)
