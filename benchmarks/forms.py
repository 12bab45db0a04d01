"""Ready requests of the upstream: what is posted where nothing is to be measured but the post."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from benchmarks import images
from productsearch_service.images import form_encoding

HEADERS: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
}
AT_ONCE_BYTES_MAX: Final = 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 60
PATH: Final = "/rest/2.0/image-classify/v1/realtime_search/product/"
QUERY: Final = "?access_token=24.0123456789abcdef0123456789abcdef.2592000.1900000000.282335-1"


def form_of(size_bytes: int) -> bytes:
    """Return the form of an add whose image has that many bytes."""
    return around(form_encoding.encode(images.of_size(size_bytes)))


def around(form_value: bytes) -> bytes:
    """Return the form of an add with this form value of an image."""
    return b"image=%b&brief=a+brief" % form_value


def target(rpc: str) -> str:
    """Return path and query of a call of the upstream: add or search."""
    return PATH + rpc + QUERY


async def pieces(body: bytes) -> AsyncIterator[memoryview]:
    """Yield a body in pieces about as large as the facade's."""
    view = memoryview(body)
    for start in range(0, len(view), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]


def check(status: int, answer: bytes) -> None:
    """Raise unless the upstream answered well."""
    if status != HTTPStatus.OK or not answer.endswith(b"}"):
        raise AssertionError(f"the upstream answered HTTP {status}")
