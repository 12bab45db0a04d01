"""What the engine learns from the bytes of an image: the one function that decodes them.

It runs in a worker process. Whatever is to be made of an image's pixels is made here and is a
field of ``Described``. Knows images and the embedding. Does not know processes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Self

import numpy as np

from productsearch_engine.embedding.interface import (
    Box,
    Description,
    Embedding,
    NoVectorError,
    Pixels,
    Vector,
)
from productsearch_engine.embedding.region import cut
from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.images.image_file import ImageFile

_GLANCE_QUALITY = 90
"""Of what is searched with: nobody keeps it."""


class Task(StrEnum):
    """What is to be made of the content: of an image, or of a small copy that a library keeps."""

    DESCRIBE = "describe"
    """Of an image: its vector by an embedding, and perhaps a small copy."""
    DESCRIBE_COPY = "describe_copy"
    """Of a small copy, or a part of it: vector and subject."""
    SHRINK = "shrink"
    """Of a small copy: a smaller one."""
    FIT = "fit"
    """Of a file that the contract refuses: one that it accepts (``images.fit``)."""
    MARK = "mark"
    """Of a small copy: its mark (``images.mark``)."""
    COMPARE = "compare"
    """Of a glance: how its image agrees with others (``second_look``)."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A task for a worker process."""

    task: Task = Task.DESCRIBE
    embedding: str
    """The name, as a library stores it."""
    copy: bool = False
    """Whether the library keeps a small copy."""
    glance: bool = False
    """Whether the image will perhaps be compared."""
    region: Box | None = None
    """Where the product is, if the caller said so."""

    def part(self) -> bytes:
        """Return the byte string that ``of_part`` takes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of_part(cls, part: bytes) -> Self:
        """Return what ``part`` was made of. Raises ValueError, TypeError."""
        members = json.loads(part)
        region, task = members.pop("region"), Task(members.pop("task"))
        return cls(**members, task=task, region=None if region is None else Box(*region))


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is known of an image once it has been decoded."""

    kind: str
    """JPEG, PNG or BMP; WEBP of a small copy."""
    width: int
    height: int
    """Sides in pixels as the file stores them, before its EXIF orientation."""
    is_turned: bool = False
    """Whether the orientation exchanges them."""
    embedding: bytes = field(repr=False)
    """The vector: float32, little endian."""
    kept: bytes | None = field(default=None, repr=False)
    """The small copy (``images.small_copy``), if it was wanted."""
    glance: bytes | None = field(default=None, repr=False)
    """The glance of the image, or of its region, if it was wanted."""
    subject: Box | None = None
    """Where the product is, if the embedding looks for it."""
    is_clear: bool = True
    """Whether the subject is one thing that stands out; else the box is a guess."""
    decode_s: float = field(default=0.0, compare=False)
    embed_s: float = field(default=0.0, compare=False)
    copy_s: float = field(default=0.0, compare=False)
    """Seconds that the process took to make its pixels, of these its vector, and the small copy."""

    @property
    def vector(self) -> Vector:
        """Return the embedding as an array."""
        return np.frombuffer(self.embedding, dtype="<f4")

    @property
    def upright_sides(self) -> tuple[int, int]:
        """Return width and height in pixels as the image is seen."""
        return (self.height, self.width) if self.is_turned else (self.width, self.height)

    def parts(self) -> list[bytes]:
        """Return the byte strings that ``of_parts`` takes."""
        facts = {
            "kind": self.kind,
            "width": self.width,
            "height": self.height,
            "is_turned": self.is_turned,
            "subject": self.subject,
            "is_clear": self.is_clear,
            "decode_s": self.decode_s,
            "embed_s": self.embed_s,
            "copy_s": self.copy_s,
        }
        return [json.dumps(facts).encode(), self.embedding, self.kept or b"", self.glance or b""]

    @classmethod
    def of_parts(cls, parts: Sequence[bytes]) -> Self:
        """Return what ``parts`` were made of. Raises ValueError, TypeError."""
        facts, embedding, kept, glance = parts
        members = json.loads(facts)
        subject = members.pop("subject")
        box = None if subject is None else Box(*subject)
        return cls(
            **members,
            embedding=embedding,
            kept=kept or None,
            glance=glance or None,
            subject=box,
        )


def describe(
    content: bytes,
    embedding: Embedding,
    *,
    copy: bool = False,
    glance: bool = False,
    region: Box | None = None,
) -> Described:
    """Check, decode and embed the file of an image; ``copy``, ``glance``: make these, too.

    Raises ImageEmptyError, ImageUnreadableError, ImageSizeError; MemoryError beyond the
    process's limit.
    """
    began_s = time.perf_counter()
    image = ImageFile.checked(content)
    pixels, is_turned = image.pixels(), image.is_turned()
    decoded_s = time.perf_counter()
    vector, subject, is_clear = _seen(pixels, embedding, region)
    embedded_s = time.perf_counter()
    kept = image.small_copy() if copy else None
    return Described(
        kind=image.structure.kind,
        width=image.structure.width,
        height=image.structure.height,
        is_turned=is_turned,
        embedding=vector.astype("<f4").tobytes(),
        kept=kept,
        glance=_glance(pixels, region) if glance else None,
        subject=subject,
        is_clear=is_clear,
        decode_s=decoded_s - began_s,
        embed_s=embedded_s - decoded_s,
        copy_s=time.perf_counter() - embedded_s if copy else 0.0,
    )


def _seen(pixels: Pixels, embedding: Embedding, region: Box | None) -> Description:
    try:
        return embedding.describe([pixels], [region])[0]
    except NoVectorError:
        # A search could neither find it nor be made with it.
        raise ImageUnreadableError from None


def _glance(pixels: Pixels, region: Box | None) -> bytes:
    # Imported here: the engine's own process decodes nothing.
    from productsearch_engine.embedding.glance import encoded

    return encoded(cut(pixels, region) if region else pixels, _GLANCE_QUALITY)


def describe_copy(content: bytes, embedding: Embedding, region: Box | None) -> Described:
    """Embed a small copy, or a part of it, instead of its image.

    Raises ImageUnreadableError; MemoryError beyond the process's limit.
    """
    # Imported here: the engine's own process decodes nothing.
    from productsearch_engine.images.small_copy import read_copy

    pixels = read_copy(content)
    vector, subject, is_clear = _seen(pixels, embedding, region)
    height, width = pixels.shape[:2]
    return Described(
        kind="WEBP",
        width=width,
        height=height,
        embedding=vector.astype("<f4").tobytes(),
        subject=subject,
        is_clear=is_clear,
    )


def mark(content: bytes) -> Described:
    """Make the mark of a small copy; it is ``kept``, and there is no embedding.

    Raises ImageUnreadableError; MemoryError beyond the process's limit.
    """
    from productsearch_engine.images import mark as marks
    from productsearch_engine.images.small_copy import read_copy

    pixels = read_copy(content)
    height, width = pixels.shape[:2]
    kept = marks.mark(pixels)
    return Described(kind="WEBP", width=width, height=height, embedding=b"", kept=kept)


def fit(content: bytes) -> Described:
    """Make a file that the contract accepts; it is ``kept``, the sides are those of the given one.

    Raises ImageUnreadableError, ImageSizeError; MemoryError beyond the process's limit.
    """
    # Imported here: the engine's own process decodes nothing.
    from productsearch_engine.images.fit import fit as fitted

    kept, (width, height) = fitted(content)
    return Described(kind="JPEG", width=width, height=height, embedding=b"", kept=kept)


def shrink(content: bytes) -> Described:
    """Make a thumbnail of a small copy; it is ``kept``, and there is no embedding.

    Raises ImageUnreadableError; MemoryError beyond the process's limit.
    """
    # Imported here: the engine's own process decodes nothing.
    from productsearch_engine.images.small_copy import thumbnail

    webp, (width, height) = thumbnail(content)
    return Described(kind="WEBP", width=width, height=height, embedding=b"", kept=webp)
