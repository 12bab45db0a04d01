"""Embeds a data set with several embeddings side by side and searches it by each protocol.

Knows embeddings, cost and rankings. Does not know how results are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import Embedding, NoVectorError, Vector
from productsearch_engine.evaluation import metrics, photographs, reliability
from productsearch_engine.evaluation.dataset import DatasetError, Item
from productsearch_engine.evaluation.metrics import Floats, NearestRight, Ranking
from productsearch_engine.evaluation.protocols import Protocol
from productsearch_engine.evaluation.reliability import Answers

_BATCH = 16
_BYTES_A_DIMENSION = 2  # vectors are stored in half precision
_PAIRS = 4_000_000
"""Pairs of images that are compared at once: more would fill the memory, at 80 bytes each."""

SCORE_BINS = 50
Counts = NDArray[np.int_]
"""Numbers of scores from 0 to 1, shape (SCORE_BINS,)."""


@dataclass(frozen=True)
class Embedded:
    """A data set as one embedding sees it."""

    name: str
    vectors: Vector
    """Shape (images, dimensions), in the order of the data set."""
    cost_ms: float
    """Processor time for one image, without decoding it."""
    score: Callable[[Floats], Floats]
    """From cosine to the score that callers see."""

    @property
    def image_bytes(self) -> int:
        """Size of one stored vector."""
        return int(self.vectors.shape[1]) * _BYTES_A_DIMENSION


@dataclass(frozen=True)
class Result:
    """One embedding's searches by one protocol."""

    protocol: Protocol
    ranking: Ranking
    """The first answers of each query."""
    figures: dict[str, Floats]
    """Each figure by name, one number for each query."""
    same: Counts
    """Scores of a query and each right answer."""
    different: Counts
    """Scores of a query and each wrong answer."""
    answers: Answers
    """First hits with their scores, and whether they are right."""
    nearest_right: NearestRight
    """The first right answer of each query."""

    def mean(self, figure: str) -> float:
        """Return a figure over all queries."""
        return float(self.figures[figure].mean())


def embed_all(
    embeddings: Sequence[Embedding],
    paths: Sequence[Path],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Embedded]:
    """Embed all files with each embedding.

    Raises DatasetError if some are no images: it names those whose first bytes show it before
    anything is embedded, and those that are damaged further on when all are read.
    """
    photographs.require_images(paths)
    vectors: list[list[Vector]] = [[] for _ in embeddings]
    spent_s = [0.0] * len(embeddings)
    damaged: list[Path] = []
    for embedding in embeddings:
        with suppress(NoVectorError):  # what is loaded at the first call
            embedding.embed([np.zeros((300, 300, 3), np.uint8)])
    for start in range(0, len(paths), _BATCH):
        images = []
        for path in paths[start : start + _BATCH]:
            try:
                images.append(photographs.read(path))
            except DatasetError:
                damaged.append(path)
        progress(min(start + _BATCH, len(paths)))
        if damaged:
            continue  # the others are read, to name all at once
        for place, embedding in enumerate(embeddings):
            began_s = time.process_time()
            try:
                vectors[place].append(embedding.embed(images))
            except NoVectorError as error:
                file = paths[start + error.place]
                raise DatasetError(f"{embedding.name} gives no vector for {file}") from None
            spent_s[place] += time.process_time() - began_s
    if damaged:
        raise photographs.unreadable(damaged)
    return [
        Embedded(
            name=embedding.name,
            vectors=np.concatenate(rows),
            cost_ms=1000 * seconds / len(paths),
            score=embedding.calibrate,
        )
        for embedding, rows, seconds in zip(embeddings, vectors, spent_s, strict=True)
    ]


def search(items: Sequence[Item], embedded: Embedded, protocol: Protocol) -> Result:
    """Search with each query of a protocol."""
    names = [item.product for item in items]
    products = np.unique(names, return_inverse=True)[1]
    stored = protocol.stored
    vectors = embedded.vectors[stored].T.astype(np.float64)
    step = max(1, _PAIRS // len(stored))
    parts = []
    for start in range(0, len(protocol.queries), step):
        queries = protocol.queries[start : start + step]
        cosine = embedded.vectors[queries].astype(np.float64) @ vectors
        right = products[queries][:, None] == products[stored][None, :]
        parts.append(_searched(cosine, right, queries[:, None] != stored[None, :], embedded.score))
    return Result(
        protocol=protocol,
        ranking=Ranking(
            np.concatenate([part.ranking.order for part in parts]),
            np.concatenate([part.ranking.right for part in parts]),
            np.concatenate([part.ranking.scores for part in parts]),
        ),
        figures={
            figure: np.concatenate([part.figures[figure] for part in parts])
            for figure in parts[0].figures
        },
        same=np.sum([part.same for part in parts], axis=0),
        different=np.sum([part.different for part in parts], axis=0),
        answers=reliability.joined([part.answers for part in parts]),
        nearest_right=NearestRight(
            *(np.concatenate(each) for each in zip(*(part.nearest for part in parts), strict=True))
        ),
    )


@dataclass(frozen=True)
class _Part:
    """What ``Result`` says, of some queries."""

    ranking: Ranking
    figures: dict[str, Floats]
    same: Counts
    different: Counts
    answers: Answers
    nearest: NearestRight


def _searched(
    cosine: Floats,
    right: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    score: Callable[[Floats], Floats],
) -> _Part:
    """Return what some queries find; the arrays have the shape (queries, stored)."""
    scores = score(cosine)
    ranking = metrics.rank(cosine, right, counted)
    return _Part(
        ranking=ranking.first(metrics.KEPT),
        figures=metrics.all_figures(ranking),
        same=_counts(scores[right & counted]),
        different=_counts(scores[~right & counted]),
        answers=reliability.first_hits(cosine, right, counted),
        nearest=metrics.nearest_right(ranking),
    )


def _counts(scores: Floats) -> Counts:
    return np.histogram(scores, SCORE_BINS, (0, 1))[0]
