"""The commands ``user add``, ``set``, ``remove`` and ``list``, ``undo`` and ``purge``.

Knows arguments and what is printed. Does not know HTTP.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from datetime import UTC

from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.load import load
from productsearch_engine.limits import PASSWORD_BYTES_MAX
from productsearch_engine.settings import Settings
from productsearch_engine.store import signs
from productsearch_engine.store.images import LibraryFullError
from productsearch_engine.store.journal import Author, Journal
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.renewals import Renewals
from productsearch_engine.store.undo_errors import (
    ChangedSinceError,
    ErasedError,
    NothingToUndoError,
    OtherEmbeddingError,
    RoomUsedError,
)
from productsearch_engine.store.users import Users

_PASSWORD_CHARACTERS_MIN = 10
_RENEWED_AT_ONCE = 32


def add_actions(users: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Declare the actions of ``user``."""
    actions = users.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", parents=[common], help="let a person sign in")
    add.add_argument("name")
    add.add_argument("--library", required=True, metavar="NAME")
    add.add_argument("--role", required=True, choices=("look", "edit"))
    add.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password from stdin; without it one is made and printed",
    )
    add.set_defaults(run=_add)
    change = actions.add_parser(
        "set", parents=[common], help="give a person another role or password"
    )
    change.add_argument("name")
    change.add_argument("--role", choices=("look", "edit"))
    passwords = change.add_mutually_exclusive_group()
    passwords.add_argument(
        "--new-password", action="store_true", help="make one, print it, and end open sessions"
    )
    passwords.add_argument(
        "--password-stdin", action="store_true", help="read one from stdin, and end open sessions"
    )
    change.set_defaults(run=_change)
    remove = actions.add_parser("remove", parents=[common], help="end a person's access")
    remove.add_argument("name")
    remove.set_defaults(run=_remove)
    listing = actions.add_parser("list", parents=[common], help="show all")
    listing.set_defaults(run=_list)


def add_purge(purge: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``purge``."""
    purge.add_argument("name", help="the library")
    purge.add_argument("cont_sign", nargs="+", help="the images, as uint32,uint32")
    purge.set_defaults(run=_purge)


def add_undo(undo: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``undo``."""
    undo.add_argument("name", help="the library")
    undo.add_argument(
        "change", nargs="?", type=int, help="its number; without one those of a day are listed"
    )
    undo.set_defaults(run=_undo)


def _add(chosen: Settings, options: argparse.Namespace) -> None:
    from productsearch_engine.console.passwords import hashed

    password = _password(options)
    with open_pool(chosen, 1) as pool:
        Users(pool).add(
            options.name,
            library=options.library,
            role=options.role,
            password_hash=hashed(password),
        )
    print(f"{options.name} may sign in at /console to {options.role} ({options.library})")
    _show(password, options)


def _change(chosen: Settings, options: argparse.Namespace) -> None:
    from productsearch_engine.console.passwords import hashed

    renews = options.new_password or options.password_stdin
    if not renews and options.role is None:
        raise LibraryError("nothing to change: give --role, --new-password or --password-stdin")
    password = _password(options) if renews else None
    with open_pool(chosen, 1) as pool:
        stored = None if password is None else hashed(password)
        Users(pool).change(options.name, role=options.role, password_hash=stored)
    if options.role is not None:
        print(f"{options.name} may {options.role} from now on")
    if password is not None:
        print(f"{options.name} has another password, and is signed out everywhere")
        _show(password, options)


def _password(options: argparse.Namespace) -> str:
    """Return a password from stdin, or a new one. Raises LibraryError."""
    if not options.password_stdin:
        return secrets.token_urlsafe(15)
    try:
        line = sys.stdin.buffer.readline(PASSWORD_BYTES_MAX + 2).decode()
    except UnicodeDecodeError:
        raise LibraryError("a password is UTF-8") from None
    # Windows ends lines with two characters.
    password = line.rstrip("\r\n")
    most = PASSWORD_BYTES_MAX // 4
    if not _PASSWORD_CHARACTERS_MIN <= len(password) <= most:
        raise LibraryError(f"a password has {_PASSWORD_CHARACTERS_MIN} to {most} characters")
    return password


def _show(password: str, options: argparse.Namespace) -> None:
    if not options.password_stdin:
        print(f"password    {password}")
        print("It is not stored and not shown again.")


def _remove(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        Users(pool).remove(options.name)
    print(f"{options.name} may no longer sign in")


def _list(chosen: Settings, _options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        users = Users(pool).list()
    print(f"{'LIBRARY':24} {'ROLE':6} NAME")
    for user in users:
        print(f"{user.library:24} {user.role:6} {user.name}")


def _undo(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        library, journal = Libraries(pool).named(options.name), Journal(pool)
        if options.change is None:
            print(f"{'CHANGE':>10} {'WHEN (UTC)':19} {'KIND':6} {'IMAGES':>6} WHO")
            for each in journal.undoable(library):
                when = each.changed_at.astimezone(UTC).isoformat(" ", "seconds")[:19]
                print(f"{each.id:10} {when} {each.kind:6} {each.image_count:6} {each.who}")
            return
        try:
            author = Author(name="a command", address="")
            change = journal.find(library, options.change)
            if change is not None and change.undoable:
                _renew(Renewals(pool), library, options.change)
            restored, wanted = journal.undo(library, options.change, author)
        except NothingToUndoError:
            raise LibraryError(f"{options.name!r} has no such change to undo") from None
        except ErasedError:
            raise LibraryError("all of its images were purged since") from None
        except ChangedSinceError:
            raise LibraryError("all of its images were changed or added again since") from None
        except OtherEmbeddingError:
            raise LibraryError(
                "the library has another embedding since then, and no copies of these images"
            ) from None
        except RoomUsedError:
            raise LibraryError(
                f"{options.name!r} has more images than it would have room for"
            ) from None
        except LibraryFullError:
            raise LibraryError(f"{options.name!r} is full: grow it, then undo again") from None
    what = "places are taken back" if change and change.kind == "grow" else "images are as before"
    print(f"{options.name}: {restored} of {wanted} {what}")


def _renew(renewals: Renewals, library: Library, change: int) -> None:
    """Make vectors of the library's embedding of images that were deleted under another one."""
    from productsearch_engine.images.small_copy import read_kept

    embedding = None
    while copies := renewals.copies(library, change, _RENEWED_AT_ONCE):
        embedding = embedding or load(library.embedding)
        vectors = {
            each.sign: embedding.embed([read_kept(each.webp)], [each.region])[0] for each in copies
        }
        renewals.store(library, change, vectors)


def _purge(chosen: Settings, options: argparse.Namespace) -> None:
    found = [signs.from_text(text.encode()) for text in options.cont_sign]
    known = [sign for sign in found if sign is not None]
    if len(known) < len(found):
        raise LibraryError("a cont_sign is two numbers up to 4294967295, as 1,2")
    with open_pool(chosen, 1) as pool:
        erased = Journal(pool).purge(Libraries(pool).named(options.name), known)
    wanted = len(set(known))
    print(f"{options.name}: {erased} of {wanted} images erased, also from the journal")
    if erased < wanted:
        raise LibraryError(f"{wanted - erased} cont_sign of no image here, nor of a deleted one")
