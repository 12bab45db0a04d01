"""Turns what a user names into an image or a reference: a file, an address, ``-``, a signature."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.failures import Failure, usage
from productsearch.cli.output import note
from productsearch.cli.sources.folder import FIELDS
from productsearch.cli.sources.template import left_unfilled
from productsearch.v1 import image_from_bytes, image_from_url, ref_by_image, ref_by_sign

if TYPE_CHECKING:
    from productsearch.v1 import ImageRef, ImageSource

IMAGE_BYTES_MAX: Final = 20 * 1024 * 1024
"""The most that the service takes, with ``fit``."""
_GIVE: Final = "give an image file, an address, or -"
_SIGN: Final = re.compile(r"\s*[0-9]{1,10},[0-9]{1,10}\s*", re.ASCII)


def is_url(text: str) -> bool:
    """Return whether the text is an http address."""
    return text.lower().startswith(("http://", "https://"))


def content_of(name: str, instead: str = "") -> bytes:
    """Return the bytes of a file, or of stdin for ``-``. Raises Failure.

    ``instead`` is the next step where a signature could stand as well.
    """
    try:
        if name == "-":
            content = sys.stdin.buffer.read(IMAGE_BYTES_MAX + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(IMAGE_BYTES_MAX + 1)
    except IsADirectoryError:
        step = f"give an image file; `productsearch import {name}` stores what is in the folder"
        raise usage(f"{name}: a folder", step) from None
    except FileNotFoundError as wrong:
        what = "no signature, and no such file" if instead else wrong.strerror
        raise usage(f"{name}: {what}", instead or _GIVE) from None
    except (OSError, ValueError) as wrong:
        why = getattr(wrong, "strerror", None) or str(wrong)
        raise usage(f"{name}: {why}", instead or _GIVE) from None
    if not content:
        raise usage(f"{name}: empty", "give an image")
    if len(content) > IMAGE_BYTES_MAX:
        raise Failure(
            f"{name}: more than {IMAGE_BYTES_MAX} bytes (20 MiB)",
            code=ExitCode.USAGE,
            reason="IMAGE_SIZE_INVALID",
            next_step="make the image smaller",
        )
    return content


def image_given(name: str, *, fit: bool, instead: str = "") -> ImageSource:
    """Return the image that ``name`` means. Raises Failure."""
    if is_url(name):
        return image_from_url(name)
    return image_from_bytes(content_of(name, instead), fit=fit)


def reference_given(name: str, *, fit: bool) -> ImageRef:
    """Return the reference that ``name`` means: a signature, or an image. Raises Failure."""
    if _SIGN.fullmatch(name):
        return ref_by_sign(name.strip())
    instead = "give a signature, such as 1453017670,3141028120, an image file, an address, or -"
    return ref_by_image(image_given(name, fit=fit, instead=instead))


def is_sign(name: str) -> bool:
    """Return whether the text has the form of a signature."""
    return _SIGN.fullmatch(name) is not None


def tell_of_braces(brief: str | None) -> None:
    """Tell that a brief with a name of import's templates is stored as it stands."""
    if names := left_unfilled(brief, FIELDS):
        told = ", ".join(f"{{{name}}}" for name in names)
        note(f"--brief is stored as it stands, with {told}; import and sync fill such names in")
