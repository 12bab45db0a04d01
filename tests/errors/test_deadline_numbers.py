"""The shortest deadline is one number: in the message, in the proto and in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from productsearch import v1
from productsearch_service import limits
from productsearch_service.call_context import NOBODY, CallContext
from productsearch_service.errors import DeadlineTooShort
from tests.pictures import jpeg

ROOT = Path(__file__).resolve().parents[2]
NUMBER = f"{limits.DEADLINE_MIN_S * 1000:.0f} ms"
DOCUMENTS = (
    "docs/operating.md",
    "docs/architecture.md",
    "protos/productsearch/v1/error_reason.proto",
)
ATTEMPTS = 20
"""A machine that is busy now and then does not answer within so short a deadline."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_tell_the_number(document: str) -> None:
    """Where a document names DEADLINE_TOO_SHORT's limit, it is the service's."""
    text = " ".join((ROOT / document).read_text("utf-8").replace("//", " ").split())
    told = re.findall(r"(?:under|fewer than) (\d+ ms)(?= are left|,| until)", text)
    assert [NUMBER] == told


@given(st.floats(-1, limits.DEADLINE_MIN_S - 0.001))
def test_the_message_counts_as_the_caller_does(timeout_s: float) -> None:
    """Whatever is left: the number needed, and no more left than the caller gave."""
    with pytest.raises(DeadlineTooShort) as refused:
        CallContext.begin(NOBODY, timeout_s).deadline.require()
    left_ms, needed = re.findall(r"(\d+) ms away, less than the (\d+ ms)", str(refused.value))[0]
    assert NUMBER == needed
    assert 0 <= int(left_ms) <= max(0, round(timeout_s * 1000))


def test_a_call_is_told_the_number(stub: v1.ProductSearchStub) -> None:
    """A real call just below it is refused with the number."""
    request = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
    for _ in range(ATTEMPTS):
        with pytest.raises(grpc.RpcError) as refused:
            stub.SearchImages(request, timeout=limits.DEADLINE_MIN_S - 0.005)
        if v1.reason_of(refused.value) is not None:
            break
    assert v1.ErrorReason.DEADLINE_TOO_SHORT == v1.reason_of(refused.value)
    assert NUMBER in str(refused.value)
