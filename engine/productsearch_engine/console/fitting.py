"""Files that people choose, brought inside the contract's limits: a photo of a phone is larger.

What the contract accepts stays byte by byte, so it is the same image as in a call. The others are
made anew by a worker process (``images.fit``). Decodes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pybase64

from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.image_field import decode_base64
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit
from productsearch_engine.images.errors import ImageSizeError, ImageUnreadableError
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.limits import SIDE_PX_MIN
from productsearch_engine.workers.describe import Task, Wanted


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a call takes as ``image``; ``is_scaled``: it was made anew."""

    encoded: bytes = field(repr=False)
    is_scaled: bool = False


async def fitted(rooms: Rooms, visit: Visit, content: bytes) -> Fitted:
    """Return a file as a call takes it. Raises Refusal, WorkersUnavailableError."""
    encoded = pybase64.b64encode(content)
    if not content or await rooms.in_thread(_is_accepted, content, encoded):
        return Fitted(encoded=encoded)
    wanted = Wanted(embedding=visit.library.embedding, task=Task.FIT)
    try:
        # A caller of its own, among the large images: calls do not wait behind somebody's photos.
        described = await rooms.workers.describe(wanted, content, caller=-visit.app_id, large=True)
    except ImageUnreadableError:
        raise Refusal(400, "file_format") from None
    except ImageSizeError as error:
        raise _refusal(error.sides) from None
    return Fitted(encoded=pybase64.b64encode(described.kept or b""), is_scaled=True)


def _is_accepted(content: bytes, encoded: bytes) -> bool:
    try:
        decode_base64(encoded)
        ImageFile.checked(content)
    except (ApiError, ImageSizeError, ImageUnreadableError):
        return False
    return True


def _refusal(sides: tuple[int, int] | None) -> Refusal:
    """Return which rule an image breaks, with its sides."""
    if sides is None:
        return Refusal(400, "pixels")
    key = "small" if min(sides) < SIDE_PX_MIN else "narrow"
    return Refusal(400, key, width=sides[0], height=sides[1])
