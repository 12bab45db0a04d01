"""Makes the messages that name an image: from a file, bytes or an address, and by signature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from productsearch.v1.product_search_pb2 import ImageRef, ImageSource

if TYPE_CHECKING:
    import os


def image_from_file(path: str | os.PathLike[str], *, fit: bool = False) -> ImageSource:
    """Return the image of a file, read now. Raises OSError.

    With ``fit`` the service brings it inside the upstream's limits; see ``ImageSource.fit``.
    """
    return image_from_bytes(Path(path).read_bytes(), fit=fit)


def image_from_bytes(content: bytes, *, fit: bool = False) -> ImageSource:
    """Return an image of the bytes of an image file; ``fit`` as in ``image_from_file``."""
    return ImageSource(content=content, fit=fit)


def image_from_url(url: str) -> ImageSource:
    """Return the image behind an http or https address; the upstream downloads it."""
    return ImageSource(url=url)


def ref_by_sign(cont_sign: str) -> ImageRef:
    """Return the reference of a stored image by its signature, such as ``12345,67890``."""
    return ImageRef(cont_sign=cont_sign)


def ref_by_image(image: ImageSource) -> ImageRef:
    """Return the reference of a stored image by the very image that was added."""
    return ImageRef(image=image)
