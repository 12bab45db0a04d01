"""The command ``productsearch-engine reembed``: its arguments and what it prints."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.interface import Embedding
from productsearch_engine.embedding.load import UnknownEmbeddingError, load
from productsearch_engine.limits import COMMAND_PATIENCE_S
from productsearch_engine.pasteable import pasteable
from productsearch_engine.progress import Bar
from productsearch_engine.reembed import comparison
from productsearch_engine.reembed.change import Change
from productsearch_engine.reembed.room import Room
from productsearch_engine.settings import Settings
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.reembeddings import Other, Reembeddings
from productsearch_engine.store.rights import alone

if TYPE_CHECKING:
    from productsearch_engine.evaluation.pins import Pin

_SAMPLE = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``reembed``."""
    parser.description = (
        "Give a library another embedding while it is used. The old one serves until the new one"
        " is complete; for a day the same command leads back. It can be stopped and run again."
    )
    parser.add_argument("library", metavar="LIBRARY")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--embedding", dest="to", metavar="NAME", help="the new one")
    what.add_argument(
        "--discard", action="store_true", help="drop the vectors of the embedding not in use"
    )
    parser.add_argument(
        "--pins",
        type=Path,
        metavar="FILE",
        help="say which pinned searches the switch loses; their images are read again, from their"
        " paths relative to the file",
    )
    parser.add_argument(
        "--no-switch", action="store_true", help="compute and compare, and let the old one serve"
    )


def run(chosen: Settings, options: argparse.Namespace) -> None:
    """Change a library's embedding, or drop the one that it does not use.

    Raises LibraryError, DatasetError, UnknownEmbeddingError, EmbeddedError, OSError, psycopg.Error.
    """
    pins = _pins(options.pins) if options.pins else []
    with open_pool(chosen, 3, COMMAND_PATIENCE_S) as pool:
        libraries, reembeddings = Libraries(pool), Reembeddings(pool)
        reembeddings.drop_old()
        library = libraries.named(options.library)
        with alone(pool, library) as require:
            if options.discard:
                reembeddings.discard(library)
                print(f"{library.name} has no vectors but those of {library.embedding}")
                return
            to = load(options.to)
            room = Room(pool.watch.shortage)
            command = partial(pasteable, chosen)
            change = Change(reembeddings, library, to, room, command)
            other = change.begin()
            change.fill()
            _compare(reembeddings, library, other, to)
            if pins:
                _check_pins(reembeddings, library, other, to, options.pins.parent, pins)
            if options.no_switch:
                print(f"{library.embedding} goes on serving. To switch:")
                print(command("reembed", library.name, "--embedding", to.name))
                return
            require()
            change.switch(other)
    print(f"{library.name} is served with {to.name}. Back, within a day:")
    print(command("reembed", library.name, "--embedding", library.embedding))


def _pins(file: Path) -> list[Pin]:
    """Read pinned searches, whose images must be there. Raises DatasetError, OSError."""
    from productsearch_engine.evaluation import pins

    found = pins.read(file)
    pins.require_queries(file, found)
    return found


def _compare(reembeddings: Reembeddings, library: Library, other: Other, to: Embedding) -> None:
    if library.calibration:
        print(
            f"the calibration that was fitted on this library's labels stays with"
            f" {library.embedding}: fit one for {other.embedding} after the switch"
            " (evaluate --calibrate)"
        )
    serving, second = reembeddings.sample(library, _SAMPLE)
    if len(serving) < 2:
        return
    before, after = comparison.pairs(serving), to.calibrate(comparison.pairs(second))
    if library.calibration:
        before = np.interp(before, library.calibration.cosines, library.calibration.scores)
    else:
        try:
            before = load(library.embedding).calibrate(before)
        except UnknownEmbeddingError:
            return
    print("\n".join(comparison.lines(comparison.min_scores(before, after))))


def _check_pins(
    reembeddings: Reembeddings,
    library: Library,
    other: Other,
    to: Embedding,
    folder: Path,
    pins: Sequence[Pin],
) -> None:
    from productsearch_engine.evaluation import photographs

    now = load(library.embedding)
    held, lost = 0, []
    bar = Bar("pinned searches", len(pins))
    for done, pin in enumerate(pins, 1):
        path = folder / pin.query
        pixels, own = photographs.read(path), hashlib.sha256(path.read_bytes()).digest()
        found = []
        for embedding, second in ((now, None), (to, other)):
            vector = embedding.embed([pixels])[0]
            # The image searched with may be stored as well.
            nearest = reembeddings.nearest(library, second, vector, pin.within + 1)
            found.append(
                bytes.fromhex(pin.digest) in [each for each in nearest if each != own][: pin.within]
            )
        held += found == [True, True]
        if found == [True, False]:
            lost.append(pin)
        bar(done, f", {done} of {len(pins)}")
    print(f"pinned searches: {held} hold, {len(lost)} get lost")
    if unfound := len(pins) - held - len(lost):
        print(f"  {unfound} say nothing: {library.embedding} does not find their hits here either")
    for pin in lost:
        print(f"  lost: {pin.query} does not find {pin.find}")
