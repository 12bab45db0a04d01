"""Embeds a data set with several embeddings side by side and searches it by each protocol.

Knows embeddings, cost and rankings. Does not know how results are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from productsearch_engine.embedding.interface import Embedding, Vector
from productsearch_engine.evaluation import metrics, photographs, reliability
from productsearch_engine.evaluation.dataset import Item
from productsearch_engine.evaluation.metrics import Floats, Ranking
from productsearch_engine.evaluation.protocols import Protocol
from productsearch_engine.evaluation.reliability import Answers

_BATCH = 16
_BYTES_A_DIMENSION = 2  # vectors are stored in half precision


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
    figures: dict[str, Floats]
    """Each figure by name, one number for each query."""
    same: Floats
    """Scores of a query and each right answer."""
    different: Floats
    """Scores of a query and each wrong answer."""
    answers: Answers
    """First hits with their scores, and whether they are right."""

    def mean(self, figure: str) -> float:
        """Return a figure over all queries."""
        return float(self.figures[figure].mean())


def embed_all(
    embeddings: Sequence[Embedding],
    paths: Sequence[Path],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Embedded]:
    """Embed all files with each embedding. Raises DatasetError for a file that is no image."""
    vectors: list[list[Vector]] = [[] for _ in embeddings]
    spent_s = [0.0] * len(embeddings)
    for embedding in embeddings:
        embedding.embed([np.zeros((300, 300, 3), np.uint8)])  # what is loaded at the first call
    for start in range(0, len(paths), _BATCH):
        images = [photographs.read(path) for path in paths[start : start + _BATCH]]
        for place, embedding in enumerate(embeddings):
            began_s = time.process_time()
            vectors[place].append(embedding.embed(images))
            spent_s[place] += time.process_time() - began_s
        progress(min(start + _BATCH, len(paths)))
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
    products = np.array([item.product for item in items])
    queries, stored = protocol.queries, protocol.stored
    cosine = embedded.vectors[queries].astype(np.float64) @ embedded.vectors[stored].T
    right = products[queries][:, None] == products[stored][None, :]
    counted = queries[:, None] != stored[None, :]
    scores = embedded.score(cosine)
    ranking = metrics.rank(cosine, right, counted)
    return Result(
        protocol=protocol,
        ranking=ranking,
        figures=metrics.all_figures(ranking),
        same=scores[right & counted],
        different=scores[~right & counted],
        answers=reliability.first_hits(cosine, right, counted),
    )
