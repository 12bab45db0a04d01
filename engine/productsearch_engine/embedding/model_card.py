"""Reads the TOML file that says how an ONNX model wants its images and gives its numbers.

Knows the file's keys and their bounds. Does not run the model.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from productsearch_engine.embedding import onnx_files
from productsearch_engine.embedding.interface import EmbeddingUnusableError

_CHOICES = {
    "layout": ("nchw", "nhwc"),
    "colours": ("rgb", "bgr"),
    "resize": ("squash", "crop", "pad"),
    "interpolation": ("area", "linear", "cubic"),
    "pooling": ("none", "mean", "first"),
}
_SIDE_MAX = 1024
_NUMBER_MAX = 1e6  # of mean and spread: what is above is no mean of a channel


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """How to use one model; every field is a key of the TOML file."""

    model: Path
    """The ONNX file, relative to the TOML file."""
    licence: str
    """Of the weights, as their publisher says; shown when the model is loaded."""
    side: int
    """Height and width of the input, in pixels."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from each channel, of 0 to 1, in the order of ``colours``."""
    spread: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Each channel is divided by it."""
    layout: str = "nchw"
    colours: str = "rgb"
    resize: str = "squash"
    """``squash`` to a square, ``crop`` the middle square, ``pad`` with the mean to a square."""
    interpolation: str = "cubic"
    """``area`` is used in any case where the image is more than twice as large."""
    input: str = ""
    """Name of the input; empty for the only one."""
    output: str = ""
    """Name of the output; empty for the first."""
    pooling: str = "none"
    """``none``: (n, d). ``mean`` over the places of (n, d, h, w) or the tokens of (n, tokens, d);
    ``first``: the first token, which some transformers make a summary."""
    projection: Path | None = None
    """A .npy file, shape (kept, d), float32: the vector is multiplied with it."""
    batch: int = 8
    """Images at once; of a model whose batch size is fixed as many as it takes."""
    digest: str
    """SHA-256 over the TOML file, all files that it names, and those in which the model has
    weights: what the numbers depend on."""
    digest_without_weights: str
    """Without the last of these, as libraries have it that were made when they did not count."""


def read(path: Path) -> ModelCard:
    """Return what a TOML file says. Raises EmbeddingUnusableError with the key that is wrong."""
    try:
        text = path.read_bytes()
        given = tomllib.loads(text.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EmbeddingUnusableError(f"embedding: cannot read {path}: {error}") from None
    wrong = _wrong(given)
    if wrong:
        raise EmbeddingUnusableError(f"embedding: {path}: " + "; ".join(wrong))
    digest = hashlib.sha256(text)
    for key in ("model", "projection"):
        if key in given:
            given[key] = path.parent / given[key]
            digest.update(_content(given[key]))
    without_weights = digest.hexdigest()
    for name in onnx_files.beside(_content(given["model"])):
        digest.update(_content(given["model"].parent / name))
    for key in ("mean", "spread"):
        if key in given:
            given[key] = tuple(float(each) for each in given[key])
    return ModelCard(**given, digest=digest.hexdigest(), digest_without_weights=without_weights)


def _content(path: Path) -> memoryview:
    """Return a file's bytes, which are not all in memory at once."""
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise EmbeddingUnusableError(f"embedding: cannot read {path}: {error}") from None


def _wrong(given: dict[str, Any]) -> list[str]:
    """Return a sentence for each key that is missing, unknown or has a wrong value."""
    known = {field.name for field in fields(ModelCard)} - {"digest", "digest_without_weights"}
    wrong = [f"{key}: no such key" for key in given if key not in known]
    wrong += [f"{key}: is missing" for key in ("model", "licence", "side") if key not in given]
    for key in ("model", "licence", "input", "output", "projection"):
        if not isinstance(given.get(key, ""), str):
            wrong.append(f"{key}: not a text")
    for key, most in (("side", _SIDE_MAX), ("batch", 256)):
        value = given.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            wrong.append(f"{key}: not a number from 1 to {most}: {value!r}")
    for key in ("mean", "spread"):
        value = given.get(key, [1.0, 1.0, 1.0])
        if not _is_three_numbers(value) or (key == "spread" and min(value) <= 0):
            wrong.append(f"{key}: not three numbers{' above 0' * (key == 'spread')}: {value!r}")
    for key, choices in _CHOICES.items():
        if given.get(key, choices[0]) not in choices:
            wrong.append(f"{key}: none of {', '.join(choices)}: {given[key]!r}")
    return wrong


def _is_three_numbers(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
        and all(abs(each) <= _NUMBER_MAX and math.isfinite(each) for each in value)
    )
