"""The commands ``productsearch-engine library …``: their arguments and what they print."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from productsearch_engine.database import tuning
from productsearch_engine.database.cause import place_of
from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.load import load
from productsearch_engine.limits import CAPACITY_DEFAULT, DELETE_LAG_MAX_S, KEY_OVERLAP_MAX_S
from productsearch_engine.settings import Settings
from productsearch_engine.store.app_keys import AppKeys
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.class_indexes import ClassIndexes
from productsearch_engine.store.key_pairs import Credentials
from productsearch_engine.store.libraries import Libraries, LibraryError
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.nearest_builds import NearestBuilds
from productsearch_engine.store.quotas import Quota, Quotas
from productsearch_engine.store.rights import alone

_DIGITS_MAX = 12


def add_actions(library: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add the actions of ``library``."""
    actions = library.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, says: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, parents=[common], help=says)

    create = action("create", "create one and its key pair")
    create.add_argument("name")
    create.add_argument("--capacity", type=positive, default=CAPACITY_DEFAULT, help="images")
    create.add_argument("--api-key", help="reuse the key pair of a deleted library")
    create.add_argument("--json", action="store_true")
    create.set_defaults(run=_create, makes_data=True)
    grow = action("grow", "raise the capacity")
    grow.add_argument("name")
    grow.add_argument("--by", type=positive, default=CAPACITY_DEFAULT, help="images")
    grow.set_defaults(run=_grow)
    rename = action("rename", "give one another name; its key pair stays")
    rename.add_argument("name")
    rename.add_argument("new", metavar="NEW_NAME")
    rename.set_defaults(run=_rename)
    rotate = action("rotate-key", "give one another secret key; the old one's tokens end")
    rotate.add_argument("name")
    rotate.add_argument(
        "--overlap",
        type=_overlap,
        default=0,
        metavar="SECONDS",
        help="how long the old key and its tokens serve beside the new one; default: not at all",
    )
    rotate.add_argument("--json", action="store_true")
    rotate.set_defaults(run=_rotate)
    quota = action("quota", "bound the calls of one, or show what it has used")
    quota.add_argument("name")
    says = "calls, or none"
    quota.add_argument("--per-second", type=_bound, metavar="CALLS", help=says)
    quota.add_argument("--per-day", type=_bound, metavar="CALLS", help=says)
    quota.add_argument("--in-total", type=_bound, metavar="CALLS", help=says)
    quota.add_argument("--json", action="store_true")
    quota.set_defaults(run=_quota)
    keep = action("keep-images", "keep small copies of images, or drop them")
    keep.add_argument("name")
    keep.add_argument("keep", choices=("on", "off"))
    keep.set_defaults(run=_keep)
    lag = action("delete-lag", "let searches find deleted images for a while, as the vendor's do")
    lag.add_argument("name")
    lag.add_argument(
        "seconds", type=_lag, nargs="?", metavar="SECONDS|off", help="default: show it"
    )
    lag.set_defaults(run=_delete_lag)
    indexing = action("index-class", "index the vectors of a large class, or show such indexes")
    indexing.add_argument("name")
    which = indexing.add_mutually_exclusive_group()
    which.add_argument("--class-id1", type=positive, metavar="N", help="index this class now")
    which.add_argument("--class-id2", type=positive, metavar="N", help="index this class now")
    indexing.add_argument("--json", action="store_true")
    indexing.set_defaults(run=_index_class)
    listing = action("list", "show all")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=_list)
    empty = action("empty", "delete every image of one; key pair and settings stay")
    empty.add_argument("name")
    empty.add_argument("--yes", action="store_true")
    empty.set_defaults(run=_empty)
    delete = action("delete", "drop one with its images")
    delete.add_argument("name")
    delete.add_argument("--yes", action="store_true")
    delete.set_defaults(run=_delete)


def positive(text: str) -> int:
    """Return a number of images or calls. Raises ArgumentTypeError."""
    if not text.isdecimal() or len(text) > _DIGITS_MAX or not int(text):
        raise argparse.ArgumentTypeError(f"must be a number from 1 on, not {text!r}")
    return int(text)


def _bound(text: str) -> int:
    """Return a number of calls, 0 for none."""
    return _within(text, 2**31 - 1, "calls", none="none")


def _lag(text: str) -> int:
    """Return a number of seconds, 0 for off."""
    return _within(text, DELETE_LAG_MAX_S, "seconds", none="off")


def _overlap(text: str) -> int:
    """Return a number of seconds."""
    return _within(text, KEY_OVERLAP_MAX_S, "seconds", none="0")


def _within(text: str, most: int, unit: str, *, none: str) -> int:
    """Return a number from 1 to ``most``, 0 for the word ``none``. Raises ArgumentTypeError."""
    if text == none:
        return 0
    if text.isdecimal() and len(text) <= _DIGITS_MAX and 1 <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be {none}, or 1 to {most} {unit}, not {text!r}")


def show(name: str, made: Credentials, *, as_json: bool) -> None:
    """Print a library's key pair."""
    if as_json:
        print(json.dumps({"name": name, **asdict(made)}))
        return
    print(f"library     {name}\nAPI key     {made.api_key}")
    print(f"secret key  {made.secret_key or '(as before)'}")
    if made.secret_key:
        print("The secret key is shown this once; only a digest of it is stored.")


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
    show(options.name, made, as_json=options.json)
    if not options.json:
        place = chosen.database and place_of(chosen.database)
        print(f"It is in {place or chosen.data}{', which is new' if options.is_new else ''}.")


def _grow(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        library = Libraries(pool).grow(options.name, options.by)
    print(f"{library.name}: room for {library.capacity} images, {library.image_count} stored")


def _rename(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        Libraries(pool).rename(options.name, options.new)
    print(f"library {options.name} is {options.new} from now on; its key pair is the same")


def _rotate(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        made = AppKeys(pool).rotate_named(options.name, options.overlap)
    show(options.name, made, as_json=options.json)


def _quota(chosen: Settings, options: argparse.Namespace) -> None:
    asked = {name: getattr(options, name) for name in ("per_second", "per_day", "in_total")}
    changes = {name: number or None for name, number in asked.items() if number is not None}
    with open_pool(chosen, 1) as pool:
        quotas = Quotas(pool)
        quota = quotas.of(options.name)
        if changes:
            before = {name: getattr(quota, name) for name in asked}
            quotas.bound(options.name, Quota(**(before | changes)))
            quota = quotas.of(options.name)
    if options.json:
        print(json.dumps({"name": options.name, **asdict(quota)}))
    elif quota.is_none:
        print(f"{options.name}: any number of calls; none is counted")
    else:
        print(f"{options.name}, calls")
        print(f"  a second  {quota.per_second or 'any number'}")
        print(f"  a day     {quota.per_day or 'any number'}, {quota.today} today")
        print(f"  in total  {quota.in_total or 'any number'}, {quota.total} so far")


def _keep(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        LibrarySettings(pool).keep_images(options.name, options.keep == "on")
    kept = "a small copy of each image added from now on" if options.keep == "on" else "no copies"
    print(f"{options.name}: keeps {kept}")


def _delete_lag(chosen: Settings, options: argparse.Namespace) -> None:
    with open_pool(chosen, 1) as pool:
        libraries = Libraries(pool)
        if options.seconds is not None:
            LibrarySettings(pool).lag_deletes(options.name, options.seconds)
        seconds = libraries.named(options.name).delete_lag_s
    told = f"searches find a deleted image for {seconds} s more" if seconds else "deletes at once"
    print(f"{options.name}: {told}")


def _index_class(chosen: Settings, options: argparse.Namespace) -> None:
    indexes = ClassIndexes()
    with open_pool(chosen, 2) as pool:
        library = Libraries(pool).named(options.name)
        builds = NearestBuilds(
            pool,
            class_indexes=indexes,
            shortage=pool.watch.shortage,
            memory_bytes=tuning.index_memory_bytes(chosen),
        )
        if options.class_id1 is not None:
            builds.index_class(library, ("class_id1", options.class_id1))
        if options.class_id2 is not None:
            builds.index_class(library, ("class_id2", options.class_id2))
        found = indexes.listed(pool, library)
    if options.json:
        keys = ("column", "class_id", "images", "bytes")
        print(json.dumps([dict(zip(keys, (*of, *rest), strict=True)) for of, *rest in found]))
        return
    if not found:
        print(f"{options.name}: no class has an index of its own")
        return
    print(f"{'CLASS':24} {'IMAGES':>10} {'INDEX MB':>10}")
    for (column, class_id), images, size_bytes in found:
        print(f"{f'{column} {class_id}':24} {images:10} {size_bytes >> 20:10}")


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


def _empty(chosen: Settings, options: argparse.Namespace) -> None:
    if not options.yes:
        raise LibraryError(f"this deletes every image of {options.name!r}: confirm with --yes")
    with open_pool(chosen, 2) as pool:
        library = Libraries(pool).named(options.name)
        with alone(pool, library):
            count = BulkRows(pool).empty(library)
    print(f"library {options.name}: {count} images deleted; it is empty")


def _delete(chosen: Settings, options: argparse.Namespace) -> None:
    if not options.yes:
        raise LibraryError(f"this deletes every image of {options.name!r}: confirm with --yes")
    with open_pool(chosen, 1) as pool:
        Libraries(pool).delete(options.name)
    print(f"library {options.name} deleted; its key pair remains")
