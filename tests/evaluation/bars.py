"""``make evaluate``: the embeddings beside baselines, on shop photographs and on drawn images.

``../shared/photos`` and ``../shared/shop-photos`` are not part of the repository; where they are
absent, that is said, and the bars that need them are left out. Nothing is fitted on them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from productsearch_engine import embedding
from productsearch_engine.embedding.calibration import SAME
from productsearch_engine.embedding.interface import Embedding
from productsearch_engine.embedding.load import load
from productsearch_engine.evaluation import (
    baselines,
    calibrate,
    measure,
    protocols,
    reliability,
    table,
)
from productsearch_engine.evaluation.dataset import Item, read
from productsearch_engine.evaluation.measure import Embedded, Result
from tests.evaluation import again, drawings, robustness
from tests.soak.measures import Measure, at_least, at_most, report

SHARED = Path(__file__).resolve().parents[3] / "shared"
SETS = {
    "groceries": SHARED / "photos",
    "fashion": SHARED / "shop-photos" / "fashion",
    "devices": SHARED / "shop-photos" / "devices",
}
BARS = {
    ("fashion", "any", "recall@1"): 0.78,
    ("fashion", "colour", "recall@1"): 0.92,
    ("fashion", "view", "recall@1"): 0.66,
    ("devices", "any", "recall@1"): 0.58,
    ("groceries", "catalogue", "recall@5"): 0.75,
}
OURS, COMPARED = "compact", ("classic", "hsv", "hog", "phash")
MILLISECONDS_MAX = 60.0
MEGABYTES_MAX = 20.0
CALIBRATION_ERROR_MAX = 0.05
CALLED_SAME_MAX = 0.05
SAME_COSINE_MIN = 0.9999
AGAIN_MILLISECONDS_MAX = 150.0
STORED, SEARCHED = 1000, 200


def main() -> int:
    """Measure, print a table for each set and a line for each bar; 1 if one is short."""
    ours = load(OURS)
    lines: list[Measure] = []
    for name, folder in SETS.items():
        if not folder.is_dir():
            print(f"{name}: {folder} is absent; its bars are left out")
            continue
        lines += _photographs(name, folder, ours)
    lines += _robustness(ours)
    lines += _steadiness(ours)
    lines.append(at_most("size of the weights, MB", _megabytes(), MEGABYTES_MAX))
    print()
    return report(lines)


def _photographs(name: str, folder: Path, ours: Embedding) -> Iterator[Measure]:
    items = read(folder)
    known = baselines.named()
    others = [known[other] if other in known else load(other) for other in COMPARED]
    embedded = measure.embed_all([ours, *others], [item.path for item in items])
    results = {
        each.name: [measure.search(items, each, protocol) for protocol in protocols.offered(items)]
        for each in embedded
    }
    print(f"\n{name}: {len(items)} images")
    print("\n".join(table.lines(items, embedded, results)), flush=True)
    for result in results[ours.name]:
        protocol = result.protocol.name
        for figure in result.figures:
            bar = BARS.get((name, protocol, figure))
            if bar is not None:
                yield at_least(f"{name} {protocol} {figure}", result.mean(figure), bar)
    yield from _above_hsv(name, results, ours.name)
    yield from _reliability(name, items, embedded[0], results[ours.name])
    yield at_most(f"{name} ms an image", embedded[0].cost_ms, MILLISECONDS_MAX)
    yield from _looked_again(name, items, embedded[0], results[ours.name])


def _looked_again(
    name: str, items: Sequence[Item], embedded: Embedded, results: Sequence[Result]
) -> Iterator[Measure]:
    asked, stored = again.glances(items)
    for result in results:
        found = again.searched(embedded, result, asked, stored)
        what = f"{name} {result.protocol.name} second look"
        print(f"{what}: recall@1 {found} (mean, 95th percentile)", flush=True)
        yield at_least(f"{what} gains", found.after - found.before, 0.0)
    taken_ms = again.milliseconds(asked, stored)
    yield at_most(f"{name} second look at 50, ms", taken_ms, AGAIN_MILLISECONDS_MAX)


def _above_hsv(name: str, results: Mapping[str, Sequence[Result]], ours: str) -> Iterator[Measure]:
    for mine, histogram in zip(results[ours], results["hsv"], strict=True):
        if mine.protocol.name != "view":
            figure = table.COMPARED_BY
            what = f"{name} {mine.protocol.name} {figure} above HSV"
            yield at_least(what, mine.mean(figure) - histogram.mean(figure), 0.0)


def _reliability(
    name: str, items: Sequence[Item], embedded: Embedded, results: Sequence[Result]
) -> Iterator[Measure]:
    for result in results:
        cosine, right = reliability.questions(result.answers)
        error = reliability.curve(embedded.score(cosine), right).error
        what = f"{name} {result.protocol.name}"
        yield at_most(f"{what} calibration error", error, CALIBRATION_ERROR_MAX)
        (own,) = calibrate.fit(items, [result]).errors.values()
        print(f"{what}: error after --calibrate {own}")
        if len(cosine) >= calibrate.MANY:
            yield at_most(f"{what} error after --calibrate", own.found, CALIBRATION_ERROR_MAX)
        called = float((embedded.score(result.answers.unknown) >= SAME).mean())
        yield at_most(f"{what} unknown called same", called, CALLED_SAME_MAX)


def _robustness(ours: Embedding) -> Iterator[Measure]:
    print(f"\n{STORED} drawn products are stored, {SEARCHED} are searched for after each change")
    for found in robustness.measured(ours, STORED, SEARCHED):
        yield at_least(found.change, found.share, found.bar)


def _steadiness(ours: Embedding) -> Iterator[Measure]:
    images = [drawings.photograph(product, 1 + product) for product in range(16)]
    alone = np.concatenate([ours.embed([image]) for image in images])
    with ThreadPoolExecutor(2) as threads:
        beside = np.concatenate([*threads.map(lambda image: ours.embed([image]), images)])
    for what, other in (("batches of 1 and 16", ours.embed(images)), ("1 and 2 threads", beside)):
        cosine = float((alone * other).sum(1).min())
        yield at_least(f"cosine of the same image, {what}", cosine, SAME_COSINE_MIN)


def _megabytes() -> float:
    folder = Path(embedding.__file__).parent
    weights = [*folder.glob("model/*"), *folder.glob("*.npz")]
    return sum(path.stat().st_size for path in weights) / 1e6


if __name__ == "__main__":
    sys.exit(main())
