"""A batch that is too large is refused before it is decoded; any other one is decoded as it is."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service import limits
from productsearch_service.errors import FieldInvalid
from productsearch_service.rpc import batch_size
from tests.calls.watching import outcome

MOST = limits.BATCH_SIGNS_MAX
Request = v1.BatchDeleteImagesRequest


@pytest.mark.parametrize("sign", ["", "0,0", "4294967295,4294967295"])
def test_the_bound_is_exact(sign: str) -> None:
    """As many signatures as are allowed pass, whatever they are; one more is refused."""
    fits = Request(cont_signs=[sign] * MOST, library="a", allow_missing=True)
    assert fits == batch_size.decoded(fits.SerializeToString())
    with pytest.raises(FieldInvalid, match=r"cont_signs: more than 10000 .* split"):
        batch_size.decoded(Request(cont_signs=[sign] * (MOST + 1)).SerializeToString())


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
        batch_size.decoded(content)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(content: bytes) -> None:
    """Whatever the bytes are, the outcome is that of protobuf."""
    try:
        expected = Request.FromString(content)
    except DecodeError:
        with pytest.raises((DecodeError, FieldInvalid)):
            batch_size.decoded(content)
    else:
        assert expected == batch_size.decoded(content)


def test_the_caller_is_told(stub: v1.ProductSearchStub) -> None:
    """FIELD_INVALID with the field and what would be right."""

    call = stub.BatchDeleteImages.future(Request(cont_signs=["1,2"] * (MOST + 1)))
    assert R.Name(R.FIELD_INVALID) == outcome(call)
