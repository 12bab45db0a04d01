"""A batch that is too large is refused before it is decoded; any other one is decoded as it is."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service import limits
from productsearch_service.errors import FieldInvalid
from productsearch_service.rpc import wire_format
from tests.calls.watching import outcome
from tests.conftest import ServerFactory

MOST = limits.BATCH_SIGNS_MAX
Request = v1.BatchDeleteImagesRequest


@pytest.mark.parametrize("sign", ["", "0,0", "4294967295,4294967295"])
def test_the_bound_is_exact(sign: str) -> None:
    """As many signatures as are allowed pass, whatever they are; one more is refused."""
    fits = Request(cont_signs=[sign] * MOST, library="a", allow_missing=True)
    assert fits == wire_format.batch_delete(fits.SerializeToString())
    with pytest.raises(FieldInvalid, match=r"cont_signs: more than 10000 .* split"):
        wire_format.batch_delete(Request(cont_signs=[sign] * (MOST + 1)).SerializeToString())


@pytest.mark.parametrize(
    "content",
    [
        b"\x12\x00" * 3_000_000,
        b"\x98\x06\x01" * 200_000,
        Request(cont_signs=["x" * 700_000]).SerializeToString(),
        b"\x1a\x00" * (2 * MOST) + b"\x12\x00",
    ],
    ids=["empty signatures", "unknown fields", "one long signature", "fields of another kind"],
)
def test_what_decoding_would_make_large_is_refused(content: bytes) -> None:
    """Small fields by the million and long ones are refused, whatever they are."""
    with pytest.raises(FieldInvalid, match=r"^cont_signs: "):
        wire_format.batch_delete(content)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(content: bytes) -> None:
    """Whatever the bytes are, the outcome is that of protobuf."""
    try:
        expected = Request.FromString(content)
    except DecodeError:
        with pytest.raises((DecodeError, FieldInvalid)):
            wire_format.batch_delete(content)
    else:
        assert expected == wire_format.batch_delete(content)


def test_the_caller_is_told(stub: v1.ProductSearchStub) -> None:
    """FIELD_INVALID with the field and what would be right."""

    call = stub.BatchDeleteImages.future(Request(cont_signs=["1,2"] * (MOST + 1)))
    assert R.Name(R.FIELD_INVALID) == outcome(call)


def _field(number: int, content: bytes) -> bytes:
    """Return a field of a length on the wire."""
    length, parts = len(content), bytearray()
    while length > 127:
        parts.append(length & 127 | 128)
        length >>= 7
    return bytes((number << 3 | 2, *parts, length)) + content


AGAIN_AND_AGAIN = {
    "UpdateImage": _field(2, b"\x12\x00\x0a\x00" * 100_000),
    "DeleteImage": b"\x0b\x0c" + _field(2, b"\x12\x00\x0a\x00" * 100_000),
    "AddImage": b"\x12\x00" * 200_000,
    "SearchImages": _field(2, b"\x0a\x00\x12\x00" * 100_000),
    "BulkAddImages": b"\x0a\x00\x12\x00" * 100_000,
}


@pytest.mark.parametrize("method", AGAIN_AND_AGAIN)
def test_fields_that_come_again_and_again_are_refused(method: str, server: ServerFactory) -> None:
    """Before they are decoded: each one would be a message in memory until all are gone."""
    content = AGAIN_AND_AGAIN[method]
    running = server()
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        call = channel.stream_unary(f"/productsearch.v1.ProductSearch/{method}")
        refused = call.future(iter([content]))
        assert "FIELD_INVALID" == outcome(refused)
        assert "more than 1000 fields; send each field once" in (refused.details() or "")


@given(content=st.binary(max_size=300), repeated=st.integers(1, 2000))
def test_any_bytes_are_counted(content: bytes, repeated: int) -> None:
    """Whatever the bytes are: refused by their number, or left to protobuf."""
    try:
        wire_format.require_few_fields("AddImage", content * repeated)
    except FieldInvalid as refused:
        assert len(content) * repeated >= limits.FIELDS_MAX
        assert "1000 fields" in refused.message


def test_what_people_send_passes() -> None:
    """An image of 20 MiB with all that can be said of it."""
    image = v1.ImageSource(content=bytes(20 << 20), fit=True)
    new = v1.NewImage(image=image, brief="b" * 256, class_id1=1, class_id2=2)
    request = v1.AddImageRequest(library="shoes", new_image=new, validate_only=True)
    wire_format.require_few_fields("AddImage", request.SerializeToString())
