"""Runs the two EfficientNet-Lite networks that ``model_build`` made when the engine was built.

Knows their input and their last maps. Does not know what becomes of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import EmbeddingUnusableError, Pixels
from productsearch_engine.embedding.onnx_session import open_session

Maps = NDArray[np.float32]
"""What the networks see at each place of some images, shape (2, images, 1280, 9, 9), 0 to 6."""

_FILE = Path(__file__).parent / "model" / "efficientnet-lite-1-2.onnx"
NETWORKS = ("lite1", "lite2")
_SIDE = 288
"""They were trained at 240 and 260; a little more serves products that are small in the image."""

_MEAN, _SPREAD = np.float32(127), np.float32(128)


class Networks:
    """The two networks, loaded when they first see an image; thread-safe."""

    def __init__(self) -> None:
        if not _FILE.is_file():
            raise EmbeddingUnusableError(
                f"embedding: {_FILE.name} is missing; installing the engine makes it"
            )

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(_FILE)

    def see(self, images: Sequence[Pixels]) -> Maps:
        """Return what both networks see in each image; images of any size."""
        # One by one: a batch is not faster on one core, takes three times the memory, and its
        # numbers would depend on who is in it.
        found = [
            np.concatenate(self._session.run(NETWORKS, {"image": _input(image)}))
            for image in images
        ]
        return np.stack(found, axis=1)


@cache
def networks() -> Networks:
    """Return the process's own: all versions of ``compact`` look through the same networks."""
    return Networks()


def _input(image: Pixels) -> NDArray[np.float32]:
    # The whole image, squeezed into a square: the networks bear that better than a lost edge.
    shrinks = min(image.shape[:2]) > _SIDE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    square = cv2.resize(image, (_SIDE, _SIDE), interpolation=method).astype(np.float32)
    return np.ascontiguousarray(((square - _MEAN) / _SPREAD).transpose(2, 0, 1))[None]
