"""Refuses an image that is larger than the service reads, before it is sent.

gRPC's own error of a message that is too large names no field, and ends a whole bulk stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from productsearch.v1.error_reason_pb2 import ErrorReason
from productsearch.v1.errors import ERROR_DOMAIN
from productsearch.v1.product_search_pb2 import ImageSource

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE_BYTES_MAX: Final = 20 * 1024 * 1024
"""The largest image that the service takes, with ``fit``."""


def refusal_of(request: object) -> status_pb2.Status | None:
    """Return the status with which the service would refuse an image of ``request``, or None.

    What is no message, such as bytes that the caller has serialised, has no images here.
    """
    for path, image in _images(request) if isinstance(request, Message) else ():
        size = len(image.content)
        if size > IMAGE_BYTES_MAX:
            return _too_large(f"{path}.content", size)
    return None


def _images(message: Message, above: str = "") -> Iterator[tuple[str, ImageSource]]:
    """Yield the images of a message, each under its field path."""
    for field, value in message.ListFields():
        path = above + field.name
        if isinstance(value, ImageSource):
            yield path, value
        elif isinstance(value, Message):
            yield from _images(value, f"{path}.")


def _too_large(field: str, size: int) -> status_pb2.Status:
    description = (
        f"{size} bytes; at most {IMAGE_BYTES_MAX} (20 MiB) with fit, about 2.9 MB without: "
        "scale it down"
    )
    reason = ErrorReason.Name(ErrorReason.IMAGE_SIZE_INVALID)
    wrong = error_details_pb2.BadRequest()
    wrong.field_violations.add(field=field, description=description)
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=f"{field}: {description}")
    for detail in (error_details_pb2.ErrorInfo(domain=ERROR_DOMAIN, reason=reason), wrong):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
