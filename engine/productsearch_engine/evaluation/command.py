"""The command ``productsearch-engine evaluate``: its arguments, its table, its exit.

The folder or CSV file has labelled images; every embedding is measured on the same ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from errno import EACCES, EISDIR
from pathlib import Path
from typing import TYPE_CHECKING, Any

from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.load import DEFAULT, UnknownEmbeddingError, load
from productsearch_engine.evaluation.dataset import UNDERSTOOD, DatasetError, Item, read
from productsearch_engine.evaluation.protocols import NAMES, Protocol
from productsearch_engine.progress import Bar
from productsearch_engine.settings import Settings
from productsearch_engine.store.libraries import Calibration, Libraries
from productsearch_engine.store.library_settings import LibrarySettings

if TYPE_CHECKING:
    from productsearch_engine.embedding.interface import Embedding
    from productsearch_engine.evaluation.calibrate import Fitted
    from productsearch_engine.evaluation.measure import Result
    from productsearch_engine.evaluation.pins import Pin

COMPARED = (DEFAULT, "hsv")
"""What is measured if no embedding is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evaluate``."""
    parser.description = (
        "Measure embeddings on your own labelled images: recall, mean average precision, what a"
        f" score is worth, cost. Understood are: {UNDERSTOOD}."
    )
    parser.add_argument("source", type=Path, metavar="DIR|CSV")
    parser.add_argument(
        "--embedding",
        action="append",
        dest="measured",
        metavar="NAME",
        help="measure this one, several times for several; beside those of libraries there are"
        f" hsv, hog and phash (default {' and '.join(COMPARED)})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("evaluation"),
        metavar="FOLDER",
        help="write the page and its charts to it (default: evaluation, in the working directory)",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all numbers to it: figures, errors, reliability curves, differences, cost,"
        " calibration, pins",
    )
    parser.add_argument(
        "--pin", type=Path, metavar="FILE", help="keep the searches that find the right product"
    )
    parser.add_argument(
        "--check-pins", type=Path, metavar="FILE", help="fail if one of these searches got lost"
    )
    parser.add_argument(
        "--protocol",
        action="append",
        dest="protocols",
        metavar="NAME",
        choices=NAMES,
        help=f"search by this one of {', '.join(NAMES)}; several times for several"
        " (default: all that the labels allow)",
    )
    parser.add_argument(
        "--calibrate",
        metavar="LIBRARY",
        help="let the scores of this library mean what these images say",
    )


def run(chosen: Settings, options: argparse.Namespace) -> None:
    """Measure and report.

    Raises DatasetError, UnknownEmbeddingError, LibraryError, EmbeddedError, OSError, psycopg.Error.
    """
    # Imported here: the other commands need none of it.
    from productsearch_engine.evaluation import as_json, charts, labels, measure, page, pins, table

    items = read(options.source)
    names = options.measured or list(COMPARED)
    if options.calibrate:
        names = [_embedding_of(chosen, options.calibrate), *names]
    offered = _searched(options, items)
    named = [_named(name) for name in names]
    # Two names may stand for one: compact is the newest of its kind.
    embeddings = [*{each.name: each for each in named}.values()]
    # Whatever can fail early does: embedding may take minutes.
    pinned = _pinned(options)
    _require_writable(options)
    with_charts = charts.are_possible()
    about = labels.described(items)
    print("\n".join(about), flush=True)
    if not with_charts:
        print(
            "without charts: they need matplotlib: pip install './engine[evaluate]' in the clone",
            file=sys.stderr,
        )
    embedded = measure.embed_all(embeddings, [item.path for item in items], _progress(len(items)))
    results = {
        each.name: [measure.search(items, each, protocol) for protocol in offered]
        for each in embedded
    }
    print("\n".join(table.lines(items, embedded, results)), flush=True)
    chart = charts.drawn(embedded, results) if with_charts else None
    if chart is not None:
        (options.out / "evaluation.png").write_bytes(chart)
    page.write(options.out / "index.html", about, items, embedded, results, chart)
    print(f"report: {options.out / 'index.html'}")
    first = results[embedded[0].name]
    told = as_json.document(items, embedded, results) if options.json else {}
    if options.pin:
        kept = pins.made(items, first, options.pin.resolve().parent)
        pins.write(options.pin, kept)
        print(f"{len(kept)} searches with {embedded[0].name} are pinned in {options.pin}")
    if options.calibrate:
        fitted = _calibrate(chosen, options.calibrate, embedded[0].name, items, first)
        told["calibration"] = as_json.calibration(options.calibrate, fitted)
    lost: list[Pin] = []
    if options.check_pins:
        lost, told["pins"] = _check_pins(items, first, options.check_pins, pinned)
    if options.json:
        as_json.write(options.json, told)
    if lost:
        raise DatasetError(f"{len(lost)} pinned searches got lost")


def _searched(options: argparse.Namespace, items: Sequence[Item]) -> list[Protocol]:
    """Return the protocols to search by. Raises DatasetError."""
    from productsearch_engine.evaluation import calibrate, protocols

    offered = protocols.offered(items)
    if not offered:
        raise DatasetError(
            f"{options.source}: no product with at least two images. Understood are: {UNDERSTOOD}."
        )
    if options.protocols:
        offered = protocols.chosen(offered, options.protocols)
    if options.calibrate:
        calibrate.require_enough(items, offered)
    return offered


def _pinned(options: argparse.Namespace) -> list[Pin]:
    """Return the pins that are to be checked. Raises DatasetError, OSError."""
    from productsearch_engine.evaluation import pins

    if not options.check_pins:
        return []
    found = pins.read(options.check_pins)
    kept = [pin for pin in found if not options.protocols or pin.protocol in options.protocols]
    if not kept:
        of = f" of {' or '.join(options.protocols)}" if found else ""
        raise DatasetError(f"{options.check_pins}: has no pinned search{of}: nothing to check")
    return kept


def _require_writable(options: argparse.Namespace) -> None:
    """Make the folders that are written to. Raises OSError."""
    files = [file for file in (options.pin, options.json) if file]
    for file in files:
        if file.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(file))
    for folder in (options.out, *(file.parent for file in files)):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES), str(folder))


def _named(name: str) -> Embedding:
    from productsearch_engine.evaluation import baselines

    known = baselines.named()
    if name in known:
        return known[name]
    try:
        return load(name)
    except UnknownEmbeddingError as error:
        raise UnknownEmbeddingError(f"{error}; to compare with: {', '.join(known)}") from None


def _progress(total: int) -> Callable[[int], None]:
    bar = Bar("embedding", total)
    return lambda done: bar(done, f", {done} of {total} images")


def _embedding_of(chosen: Settings, library: str) -> str:
    with open_pool(chosen, 1) as pool:
        return Libraries(pool).named(library).embedding


def _calibrate(
    chosen: Settings,
    library: str,
    embedding: str,
    items: Sequence[Item],
    results: Sequence[Result],
) -> Fitted:
    from productsearch_engine.evaluation import calibrate

    fitted = calibrate.fit(items, results)
    with open_pool(chosen, 1) as pool:
        knots = Calibration(tuple(fitted.cosines), tuple(fitted.scores))
        LibrarySettings(pool).calibrate(library, embedding, knots)
    searches = sum(len(result.protocol.queries) for result in results)
    print(
        f"{library}: scores are calibrated on {searches} searches; on products that were not used"
    )
    for protocol, error in fitted.errors.items():
        print(f"the error of {protocol} is {error}")
    if fitted.count < calibrate.MANY:
        print(f"{fitted.count} first hits are few: 600 searches of 150 products are enough for .05")
    if any(error.found > error.by_chance_max for error in fitted.errors.values()):
        several = len(results) > 1
        print(f"{'one --protocol alone' if several else 'more labelled products'} would lower it")
    return fitted


def _check_pins(
    items: Sequence[Item],
    results: Sequence[Result],
    file: Path,
    pinned: Sequence[Pin],
) -> tuple[list[Pin], dict[str, Any]]:
    """Tell which pinned searches got lost; return them, and the same for programs."""
    from productsearch_engine.evaluation import pins

    folder = file.resolve().parent
    lost = pins.lost(items, results, pinned, folder)
    print(f"{len(pinned) - len(lost)} of {len(pinned)} pinned searches hold")
    for pin in lost:
        gone = pins.not_there(items, pin, folder)
        why = f"; not among the images: {' and '.join(gone)}" if gone else ""
        print(f"lost: {pin.query} does not find {pin.find} ({pin.protocol}){why}")
    return lost, {"kept": len(pinned), "lost": [asdict(pin) for pin in lost]}
