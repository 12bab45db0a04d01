"""Computes the axes that the embedding ``compact`` keeps of what its networks see.

    cd engine && python -m model_build.axes    # writes embedding/compact-1.npz

The file is in the repository: singular vectors of other processors would differ in their last
bits, and with them every vector. The axes are the right singular vectors of each network's own
classifier, less the mean of its rows: the directions in which ImageNet's thousand classes differ
most. No image takes part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_build import build

_KEPT = 160  # of 1280 for each network
_FILE = Path(__file__).parents[1] / "productsearch_engine" / "embedding" / "compact-1.npz"


def axes(classifier: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the kept axes in bytes, shape (kept, 1280), and the factor of each."""
    centred = classifier - classifier.mean(0)
    kept = np.linalg.svd(centred, full_matrices=False)[2][:_KEPT]
    factor = np.abs(kept).max(1, keepdims=True) / 127
    return np.round(kept / factor).astype(np.int8), factor[:, 0].astype(np.float32)


def write() -> None:
    """Write the file."""
    stored = {}
    for network in build.WEIGHTS:
        classifier = build.tensors(network)["_fc.weight"].astype(np.float64)
        stored[network], stored[f"{network}_factor"] = axes(classifier)
    np.savez_compressed(_FILE, **stored)


if __name__ == "__main__":
    write()
