"""Reading errors never raises, whatever the error holds."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from productsearch import v1

READERS = (
    v1.reason_of,
    v1.retry_delay_of,
    v1.field_violations_of,
    v1.upstream_code_of,
    v1.log_id_of,
    v1.cont_sign_of,
)


class WithTrailers(grpc.RpcError):
    """An error with these trailers."""

    def __init__(self, trailers: object) -> None:
        self._trailers = trailers

    def trailing_metadata(self) -> object:
        """Return the trailers."""
        return self._trailers


def _status(reason: str, domain: str, **metadata: str) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)
    packed = any_pb2.Any()
    packed.Pack(info)
    return status_pb2.Status(code=3, details=[packed])


BROKEN = {
    "no trailers": grpc.RpcError(),
    "none": WithTrailers(None),
    "no details": WithTrailers((("other", "x"),)),
    "garbage": WithTrailers((("grpc-status-details-bin", b"\xff\xff\xff"),)),
    "text": WithTrailers((("grpc-status-details-bin", "text"),)),
    "empty status": status_pb2.Status(),
    "another domain": _status("IMAGE_NOT_FOUND", "other.example", logId="5"),
    "garbage detail": status_pb2.Status(
        details=[
            any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
        ]
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_error_without_details_says_nothing(case: str) -> None:
    """Each reader answers None (or nothing) for what is missing, broken or someone else's."""
    assert [None, None, {}, None, None, None] == [read(BROKEN[case]) for read in READERS]


def test_a_reason_newer_than_the_client_is_unspecified() -> None:
    """An unknown reason of our domain maps to ERROR_REASON_UNSPECIFIED."""
    status = _status("SOMETHING_NEW", "productsearch.v1")
    assert v1.ErrorReason.ERROR_REASON_UNSPECIFIED == v1.reason_of(status)


def test_numbers_are_read_in_full() -> None:
    """log_id keeps 64 bits; what is no number is None."""
    status = _status("IMAGE_NOT_FOUND", "productsearch.v1", logId=str(2**63 + 1), upstreamCode="x")
    assert 2**63 + 1 == v1.log_id_of(status)
    assert v1.upstream_code_of(status) is None
