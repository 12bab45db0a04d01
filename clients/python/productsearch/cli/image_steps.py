"""What can be done about an image that the service did not take, from the image itself."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any, Final
from urllib.parse import urlsplit

from productsearch.v1 import ImageSource

_BEGINNINGS: Final = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*"),
    *(b"\0\0\0\x0cjP", b"\xff\x0a"),
)
"""Of JPEG, PNG, GIF, BMP, WebP, TIFF, JPEG 2000, JPEG XL."""
_PLAIN: Final = (b"\xff\xd8\xff", b"\x89PNG", b"BM")
"""Of what the service takes without ``fit``."""
_FTYP: Final = slice(4, 8)
"""Where HEIC and AVIF say ``ftyp``."""
_CAUSE: Final = re.compile("url (response invalid|download timeout): ")
"""Before the cause, where the upstream tells one; the vendor's tells none."""
_SHOWN_BYTES: Final = 16


def step_for(request: Any, reason: str, told: str = "") -> str:
    """Return the next step for the image of a request that failed; "": nothing more is known.

    ``told`` is the error's text.
    """
    image = _image_of(request)
    if image is None:
        return ""
    if reason == "IMAGE_URL_UNREACHABLE" and image.url:
        return _about_address(image.url, told)
    if reason == "IMAGE_UNREADABLE" and image.content:
        return _about_content(image)
    if reason == "IMAGE_SIZE_INVALID" and image.fit:
        return "give another image: --fit cannot bring this one inside the limits"
    return ""


def _image_of(request: Any) -> ImageSource | None:
    """Return the image of a request to add, search, update or delete."""
    for way in (("image",), ("new_image", "image"), ("image_ref", "image")):
        found = request
        for name in way:
            found = getattr(found, name, None)
        if isinstance(found, ImageSource):
            return found
    return None


def begins_as_image(content: bytes) -> bool:
    """Return whether bytes begin as an image of a kind that is known does."""
    return content.startswith(_BEGINNINGS) or content[_FTYP] == b"ftyp"


def _about_content(image: ImageSource) -> str:
    begins = image.content[:_SHOWN_BYTES]
    if not begins_as_image(begins):
        return f"give a JPEG or PNG; this is no image, it begins with {ascii(begins)[1:]}"
    if image.fit:
        return "save it as JPEG or PNG: it is damaged, or of a kind that --fit cannot read"
    if is_plain(begins):
        return "save it anew as JPEG or PNG, or try --fit: it may be damaged or cut short"
    return "save it as JPEG or PNG, or add --fit and the service does so"


def is_plain(begins: bytes) -> bool:
    """Return whether an image is of a kind that needs no ``fit``: then it may be damaged."""
    return begins.startswith(_PLAIN)


def _about_address(address: str, told: str) -> str:
    give = "download it and give the file"
    if "engine's log has the cause" in told:
        return f"{give}, or ask who runs the engine"
    if "private address" in told:
        return f"{give}: the engine takes public addresses only"
    if _CAUSE.search(told):
        return give
    host = urlsplit(address).hostname or ""
    try:
        found = {each[4][0] for each in socket.getaddrinfo(host, None)}
    except OSError:
        return f"check the address: no host {host} is known here; or {give}"
    if any(not ipaddress.ip_address(str(each).partition("%")[0]).is_global for each in found):
        return f"{give}: {host} is a private address, and it may be that the upstream takes no such"
    return give
