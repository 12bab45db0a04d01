"""What a second look finds and takes: the leaders of each search are compared once more.

Scores are those of the embedding, small copies are made as an add makes them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from productsearch_engine.api import second_look
from productsearch_engine.embedding.glance import encoded
from productsearch_engine.evaluation import photographs
from productsearch_engine.evaluation.dataset import Item
from productsearch_engine.evaluation.measure import Embedded, Result
from productsearch_engine.images.glance_chunk import glance_or_copy
from productsearch_engine.images.small_copy import kept_image
from productsearch_engine.limits import SECOND_LOOK_MAX
from productsearch_engine.workers.second_look import agreeing

_TIMED = 20


@dataclass(frozen=True)
class Again:
    """Searches by one protocol with a second look."""

    before: float
    """Share of searches whose first hit is right, without it."""
    after: float
    looked_at: list[int]
    """Leaders that were compared, for each search."""

    def __str__(self) -> str:
        mean, high = np.mean(self.looked_at), np.percentile(self.looked_at, 95)
        return f"{self.before:.3f} -> {self.after:.3f}, looked at {mean:.0f}, {high:.0f}"


def glances(items: Sequence[Item]) -> tuple[list[bytes], list[bytes]]:
    """Return what each image is searched with, and what is stored of it."""
    images = [photographs.read(item.path) for item in items]
    return [encoded(image, 90) for image in images], [
        glance_or_copy(kept_image(image)) for image in images
    ]


def searched(
    embedded: Embedded, result: Result, asked: Sequence[bytes], stored: Sequence[bytes]
) -> Again:
    """Take a second look at the hits of each search of ``result``."""
    right, looked_at = [], []
    for row, query in enumerate(result.protocol.queries):
        ranking = result.ranking
        there = np.isfinite(ranking.scores[row])
        places = result.protocol.stored[ranking.order[row][there]]
        scores = embedded.score(ranking.scores[row][there]).tolist()
        doubted = second_look.in_doubt(scores, same=False)
        looked_at.append(doubted)
        first = 0
        if doubted:
            others = [stored[place] for place in places[:doubted]]
            counts = np.frombuffer(agreeing(asked[query], others), "<u2").tolist()
            first = int(np.argmax(second_look.raised(scores[:doubted], counts)))
        right.append(bool(ranking.right[row, first]))
    return Again(float(result.ranking.right[:, 0].mean()), float(np.mean(right)), looked_at)


def milliseconds(asked: Sequence[bytes], stored: Sequence[bytes]) -> float:
    """Return the processor time of a second look at as many leaders as there can be."""
    others = [stored[place % len(stored)] for place in range(SECOND_LOOK_MAX)]
    began_s = time.process_time()
    for file in asked[:_TIMED]:
        agreeing(file, others)
    return 1000 * (time.process_time() - began_s) / min(_TIMED, len(asked))
