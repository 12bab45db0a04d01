"""Any image model as an embedding: an ONNX file, and a TOML file that says how to use it.

Knows preparing images, running the model and pooling. ``model_card`` knows the TOML file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding import model_card
from productsearch_engine.embedding.interface import (
    Box,
    Description,
    Embedding,
    EmbeddingUnusableError,
    NoVectorError,
    Pixels,
)
from productsearch_engine.embedding.onnx_session import open_session
from productsearch_engine.embedding.region import cut
from productsearch_engine.limits import DIMENSIONS_MAX

PREFIX = "onnx:"
_DIGITS = 12  # of the digest: enough to tell apart what a person puts at one path
_STORED = re.compile(rf"(.*)#([0-9a-f]{{{_DIGITS}}})", re.DOTALL)

Floats = NDArray[np.float32]

_TYPES: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
"""What an input takes."""

_INTERPOLATIONS = {
    "area": cv2.INTER_AREA,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
}


class Onnx(Embedding):
    """One model. Its name has the path and a digest, as equal names give equal vectors."""

    def __init__(self, name: str):
        """Load the model and run it once, which also tells the dimensions.

        name: ``onnx:PATH`` of a TOML file, or, as a library stores it, ``onnx:PATH#DIGEST``.
        Raises EmbeddingUnusableError.
        """
        self._name, self._card = identified(name)
        self._session = open_session(self._card.model)
        self._input, self._type, self._batch, self._is_fixed = self._taken()
        self._projection = _projection(self._card.projection)
        self._dimensions = self._warm_up()
        if self._dimensions > DIMENSIONS_MAX:
            raise EmbeddingUnusableError(
                f"embedding: {self._card.model} gives {self._dimensions} numbers, an index takes at"
                f" most {DIMENSIONS_MAX}: name a projection"
            )

    @property
    def name(self) -> str:
        """``onnx:PATH#DIGEST``."""
        return self._name

    @property
    def dimensions(self) -> int:
        """Length of the vectors, as the model gives them."""
        return self._dimensions

    def describe(
        self, images: Sequence[Pixels], regions: Sequence[Box | None] | None = None
    ) -> list[Description]:
        """Return the vector of each image, or of its region; no subject is looked for.

        Raises NoVectorError where the model gives zeros, or what is no number.
        """
        places = regions or [None] * len(images)
        inputs = [
            self._prepared(cut(image, place) if place else image)
            for image, place in zip(images, places, strict=True)
        ]
        found: list[Description] = []
        for start in range(0, len(inputs), self._batch):
            vectors = self._vectors(np.stack(inputs[start : start + self._batch]), start)
            found += [Description(each, places[len(found) + i]) for i, each in enumerate(vectors)]
        return found

    def _taken(self) -> tuple[str, type[np.floating[Any]], int, bool]:
        """Return the input's name and type, how many images it takes, and whether always so many.

        Raises EmbeddingUnusableError.
        """
        inputs = {each.name: each for each in self._session.get_inputs()}
        name = self._card.input or next(iter(inputs), "")
        if name not in inputs:
            raise EmbeddingUnusableError(
                f"embedding: {self._card.model} has no input {name!r}; there is:"
                f" {', '.join(inputs) or 'none'}"
            )
        kind = inputs[name].type
        if kind not in _TYPES:
            raise EmbeddingUnusableError(
                f"embedding: {self._card.model} takes {kind}, not one of {', '.join(_TYPES)}"
            )
        first = (inputs[name].shape or [None])[0]
        if isinstance(first, int) and first > 0:
            return name, _TYPES[kind], first, True
        return name, _TYPES[kind], self._card.batch, False

    def _warm_up(self) -> int:
        side = self._card.side
        drawn = np.random.RandomState(0).randint(256, size=(side, side, 3)).astype(np.uint8)
        try:
            return int(self._vectors(self._prepared(drawn)[None], 0).shape[1])
        except NoVectorError:
            raise EmbeddingUnusableError(
                f"embedding: {self._card.model} gives zeros, or what is no number"
            ) from None
        # onnxruntime's errors have no common type.
        except Exception as error:  # noqa: BLE001
            first = (str(error).splitlines() or [""])[0]
            raise EmbeddingUnusableError(
                f"embedding: {self._card.model} does not take what its TOML file says: {first}"
            ) from None

    def _prepared(self, image: Pixels) -> Floats:
        card = self._card
        square = _square(image, card).astype(np.float32) / np.float32(255)
        if card.colours == "bgr":
            square = square[..., ::-1]
        scaled = np.asarray((square - np.array(card.mean)) / np.array(card.spread), np.float32)
        return np.ascontiguousarray(scaled if card.layout == "nhwc" else scaled.transpose(2, 0, 1))

    def _vectors(self, inputs: Floats, start: int) -> Floats:
        """Return the vectors of a batch; start: the place of its first image among all."""
        count = len(inputs)
        if self._is_fixed:
            rest = np.zeros((self._batch - count, *inputs.shape[1:]), np.float32)
            inputs = np.concatenate([inputs, rest])
        given = {self._input: inputs.astype(self._type, copy=False)}
        outputs = [self._card.output] if self._card.output else None
        result = np.asarray(self._session.run(outputs, given)[0], np.float32)
        rows = _pooled(result, self._card)
        if rows.ndim != 2 or len(rows) != len(inputs):
            raise ValueError(f"output of shape {result.shape} needs another pooling")
        rows = rows[:count].astype(np.float64)  # the squares of single precision may be too large
        if self._projection is not None:
            rows = np.tensordot(rows, self._projection, (1, 1))
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        if (wrong := np.flatnonzero(~(np.isfinite(length) & (length > 0)))).size:
            raise NoVectorError(start + int(wrong[0]))
        return np.asarray(rows / length, np.float32)


def identified(name: str) -> tuple[str, model_card.ModelCard]:
    """Return the whole name and the TOML file of a model, which is not loaded.

    Raises EmbeddingUnusableError, also if the files are not those of the name's digest.
    """
    path, expected = name.removeprefix(PREFIX), ""
    if stored := _STORED.fullmatch(path):
        path, expected = stored.groups()
    try:
        place = Path(path).expanduser()
    except RuntimeError as error:  # of a person that is not there
        raise EmbeddingUnusableError(f"embedding: {path}: {error}") from None
    card = model_card.read(place)
    digest = card.digest[:_DIGITS]
    if not expected:  # an engine may be started in another folder, by somebody else
        return f"{PREFIX}{place.absolute()}#{digest}", card
    if expected not in (digest, card.digest_without_weights[:_DIGITS]):
        raise EmbeddingUnusableError(
            f"embedding: {path} and its files have changed: digest {digest}, not {expected}"
        )
    return name, card


def _pooled(result: Floats, card: model_card.ModelCard) -> Floats:
    if card.pooling == "first":
        return np.asarray(result[:, 0])
    if card.pooling == "mean":
        places = (2, 3) if card.layout == "nchw" else (1, 2)
        return np.asarray(result.mean(places if result.ndim == 4 else 1))
    return result.reshape(len(result), -1) if result.shape[2:] == (1, 1) else result


def _square(image: Pixels, card: model_card.ModelCard) -> Pixels:
    height, width = image.shape[:2]
    if card.resize == "crop":
        shorter = min(height, width)
        top, left = (height - shorter) // 2, (width - shorter) // 2
        image = image[top : top + shorter, left : left + shorter]
    scale = card.side / max(image.shape[:2])
    size = (card.side, card.side)
    if card.resize == "pad":
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = _INTERPOLATIONS["area" if scale < 0.5 else card.interpolation]
    small = cv2.resize(image, size, interpolation=method)
    if card.resize != "pad":
        return np.asarray(small, np.uint8)
    mean = card.mean if card.colours == "rgb" else card.mean[::-1]
    square = np.empty((card.side, card.side, 3), np.uint8)
    square[:] = np.clip(np.round(np.array(mean) * 255), 0, 255)
    top, left = (card.side - size[1]) // 2, (card.side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square


def _projection(path: Path | None) -> Floats | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            matrix = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise EmbeddingUnusableError(f"embedding: cannot read {path}: {error}") from None
    is_matrix = matrix.ndim == 2 and matrix.size
    if not is_matrix or matrix.dtype != np.float32 or not np.isfinite(matrix).all():
        raise EmbeddingUnusableError(f"embedding: {path} is not a matrix of numbers of float32")
    return np.asarray(matrix, np.float32)
