"""All numbers of an evaluation as one JSON document, for programs: ``evaluate --json FILE``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from productsearch_engine.evaluation import bootstrap, reliability, table
from productsearch_engine.evaluation.calibrate import Fitted
from productsearch_engine.evaluation.dataset import Item
from productsearch_engine.evaluation.measure import Embedded, Result


def document(
    items: Sequence[Item],
    embedded: Sequence[Embedded],
    results: Mapping[str, Sequence[Result]],
) -> dict[str, Any]:
    """Return what table, differences and charts are made of.

    results: by the embedding's name, one for each protocol. Shares and errors are 0 to 1, ``ms`` is
    processor time for one image, ``bytes`` is the size of one stored vector.
    """
    return {
        "images": len(items),
        "products": len({item.product for item in items}),
        "embeddings": [
            {"name": each.name, "ms": each.cost_ms, "bytes": each.image_bytes} for each in embedded
        ],
        "protocols": [
            {
                "name": result.protocol.name,
                "queries": len(result.protocol.queries),
                "stored": len(result.protocol.stored),
                "results": [_result(each, results[each.name][place]) for each in embedded],
                "differences": _differences(items, embedded, results, place),
            }
            for place, result in enumerate(results[embedded[0].name])
        ],
    }


def calibration(library: str, fitted: Fitted) -> dict[str, Any]:
    """Return the knots that were stored with a library, and their errors by protocol."""
    return {
        "library": library,
        "cosines": fitted.cosines.tolist(),
        "scores": fitted.scores.tolist(),
        "first_hits": fitted.count,
        "errors": {protocol: asdict(error) for protocol, error in fitted.errors.items()},
    }


def write(path: Path, written: Mapping[str, Any]) -> None:
    """Write a document. Raises OSError."""
    text = json.dumps(written, indent=1, ensure_ascii=False)
    # Names of files need not be UTF-8; what stands for their bytes is JSON's own.
    path.write_text(text + "\n", "utf-8", "backslashreplace")


def _result(each: Embedded, result: Result) -> dict[str, Any]:
    cosine, right = reliability.questions(result.answers)
    scores = each.score(cosine)
    curve = reliability.curve(scores, right)
    mean, most = reliability.by_chance(scores)
    return {
        "embedding": each.name,
        **{figure: result.mean(figure) for figure in result.figures},
        "error": {"found": curve.error, "by_chance": mean, "by_chance_max": most},
        "reliability": {
            "score": curve.score.tolist(),
            "right": curve.right.tolist(),
            "count": curve.count.tolist(),
        },
    }


def _differences(
    items: Sequence[Item],
    embedded: Sequence[Embedded],
    results: Mapping[str, Sequence[Result]],
    place: int,
) -> list[dict[str, Any]]:
    one = results[embedded[0].name][place]
    products = [items[i].product for i in one.protocol.queries]
    first = one.figures[table.COMPARED_BY]
    found = []
    for other in embedded[1:]:
        second = results[other.name][place].figures[table.COMPARED_BY]
        difference = bootstrap.difference(first, second, products)
        found.append({"figure": table.COMPARED_BY, "other": other.name, **asdict(difference)})
    return found
