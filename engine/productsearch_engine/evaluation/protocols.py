"""Decides which images are stored and which are searched with.

A protocol is offered where the labels allow it:
``any``        each image is searched among all others (photographs only, if some are catalogue's);
``colour``     one colour of each product is stored, its other colours are searched with;
``view``       all fronts are stored, other views are searched with;
``catalogue``  catalogue images are stored, photographs are searched with.

Knows labels. Does not know pixels or vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.evaluation.dataset import CATALOGUE, FRONT, DatasetError, Item

NAMES = ("any", "colour", "view", "catalogue")


@dataclass(frozen=True)
class Protocol:
    """Places of images in the data set. A query that is stored as well does not find itself.

    queries: shape (queries,); stored: shape (stored,). Every query has a right answer.
    """

    name: str
    queries: NDArray[np.int_]
    stored: NDArray[np.int_]


def offered(items: Sequence[Item]) -> list[Protocol]:
    """Return the protocols that the labels allow, each with at least one query."""
    catalogue = [i for i, item in enumerate(items) if item.kind == CATALOGUE]
    photographs = [i for i, item in enumerate(items) if item.kind != CATALOGUE]
    fronts = [i for i in photographs if items[i].view == FRONT]
    others = [i for i in photographs if items[i].view not in (FRONT, "")]
    first = _one_colour_each(items, fronts)
    coloured = [i for i in fronts if i not in first and items[i].colour]
    places = [
        (photographs, photographs),
        (coloured, first),
        (others, fronts),
        (photographs, catalogue),
    ]
    made = [
        _protocol(name, items, queries, stored)
        for name, (queries, stored) in zip(NAMES, places, strict=True)
    ]
    return [protocol for protocol in made if len(protocol.queries)]


def chosen(protocols: Sequence[Protocol], names: Sequence[str]) -> list[Protocol]:
    """Return the protocols with these names. Raises DatasetError for one that there is not."""
    there = {protocol.name: protocol for protocol in protocols}
    for name in names:
        if name not in there:
            raise DatasetError(
                f"protocol: {name!r} is not among those that the labels allow: {', '.join(there)}"
            )
    return [protocol for protocol in protocols if protocol.name in names]


def _one_colour_each(items: Sequence[Item], fronts: Sequence[int]) -> list[int]:
    """Return the front of each product in the first of its colours, by name."""
    first: dict[str, int] = {}
    for i in sorted(fronts, key=lambda i: (items[i].product, items[i].colour, items[i].path)):
        first.setdefault(items[i].product, i)
    return sorted(first.values())


def _protocol(
    name: str, items: Sequence[Item], queries: Sequence[int], stored: Sequence[int]
) -> Protocol:
    there: dict[str, set[int]] = {}
    for i in stored:
        there.setdefault(items[i].product, set()).add(i)
    answerable = [i for i in queries if there.get(items[i].product, set()) - {i}]
    return Protocol(name, np.array(answerable, int), np.array(stored, int))
