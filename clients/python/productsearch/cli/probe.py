"""Calls that show what a caller may do here, and whether what stands behind the service answers."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import grpc

from productsearch.cli.rpc_failures import failure_of, reason_name
from productsearch.v1 import (
    AddImageRequest,
    DeleteImageRequest,
    SearchImagesRequest,
    UpdateImageRequest,
    image_from_bytes,
)

if TYPE_CHECKING:
    from productsearch.cli.failures import Failure

_SIDE_PX: Final = 300
"""The smallest that the service takes."""
_OF_THE_IMAGE: Final = ("IMAGE_UNREADABLE", "IMAGE_SIZE_INVALID")


def rights(stub: Any, library: str, timeout_s: float) -> tuple[list[str], list[str]]:
    """Return what this caller may do with a library, and what it may not.

    The requests lack their image: what a caller may do is refused as FIELD_INVALID, what it may not
    before that. Raises grpc.RpcError for a call that says neither.
    """
    may: list[str] = []
    may_not: list[str] = []
    for name, method, request in (
        ("search", stub.SearchImages, SearchImagesRequest(library=library)),
        ("add", stub.AddImage, AddImageRequest(library=library)),
        ("update", stub.UpdateImage, UpdateImageRequest(library=library)),
        ("delete", stub.DeleteImage, DeleteImageRequest(library=library)),
    ):
        try:
            method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            reason = reason_name(error)
            if reason == "CALLER_FORBIDDEN":
                may_not.append(name)
                continue
            if reason != "FIELD_INVALID":
                raise
        may.append(name)
    return may, may_not


def upstream_failure(stub: Any, library: str, timeout_s: float) -> Failure | None:
    """Return why a search fails; None: the upstream answered, if only that the image is not one."""
    request = SearchImagesRequest(library=library, image=image_from_bytes(_image()), page_size=1)
    try:
        stub.SearchImages(request, timeout=timeout_s)
    except grpc.RpcError as error:
        return None if reason_name(error) in _OF_THE_IMAGE else failure_of(error, "a search")
    return None


def _image() -> bytes:
    """Return a PNG of grey shades."""
    header = struct.pack(">IIBBBBB", _SIDE_PX, _SIDE_PX, 8, 0, 0, 0, 0)
    rows = b"".join(
        b"\0" + bytes((across + down) % 256 for across in range(_SIDE_PX))
        for down in range(_SIDE_PX)
    )
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
