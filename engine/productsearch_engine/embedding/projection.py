"""Keeps of what each network sees the directions in which kinds of things differ most.

Knows matrices and the file that they are in, which ``model_build.axes`` made of the networks' own
classifiers. No image took part.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_FILE = "compact-1.npz"


class Projection:
    """One matrix with orthonormal rows for each network, shape (kept, channels)."""

    def __init__(self, matrices: list[Floats]):
        self._matrices = matrices
        self.dimensions = sum(len(each) for each in matrices)

    @classmethod
    def load(cls, networks: tuple[str, ...]) -> Projection:
        """Return the projection of ``compact-1``."""
        with (files(__package__) / _FILE).open("rb") as file, np.load(file) as stored:
            # Bytes with a factor for each row: a finer grid changes no ranking.
            matrices = [
                stored[name].astype(np.float32) * stored[f"{name}_factor"][:, None]
                for name in networks
            ]
        return cls(matrices)

    def turn(self, seen: Floats) -> Floats:
        """Return what is kept of all networks; seen: shape (networks, channels)."""
        # Not ``@``: BLAS's sums depend on the number of its threads in their last bits.
        kept = [
            np.einsum("kc,c->k", matrix, each)
            for matrix, each in zip(self._matrices, seen, strict=True)
        ]
        return np.concatenate(kept)
