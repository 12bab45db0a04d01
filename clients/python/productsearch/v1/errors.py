"""Reads the google.rpc details of an error.

Each function takes a ``grpc.RpcError`` of a unary call or stream, or the ``google.rpc.Status`` of
one bulk item or of one batch-deleted signature. It returns ``None``, or an empty dict, if the error
has no such detail. None of them raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from productsearch.v1.error_reason_pb2 import ErrorReason

if TYPE_CHECKING:
    from collections.abc import Iterable

ERROR_DOMAIN: Final = "productsearch.v1"
_DETAILS_KEY: Final = "grpc-status-details-bin"

Failure: TypeAlias = grpc.RpcError | status_pb2.Status

_Detail = TypeVar("_Detail", bound=Message)


def status_of(error: Failure) -> status_pb2.Status | None:
    """Return the whole status with its details, or None if the error carries none.

    Errors made by gRPC itself (no connection, deadline) carry none.
    """
    if isinstance(error, status_pb2.Status):
        return error
    trailers: Iterable[tuple[str, str | bytes]] = getattr(error, "trailing_metadata", tuple)() or ()
    for key, value in trailers:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def reason_of(error: Failure) -> ErrorReason.ValueType | None:
    """Return why the call failed; ERROR_REASON_UNSPECIFIED for a reason newer than this client."""
    info = _error_info(error)
    if info is None:
        return None
    try:
        return ErrorReason.Value(info.reason)
    except ValueError:
        return ErrorReason.ERROR_REASON_UNSPECIFIED


def retry_delay_of(error: Failure) -> float | None:
    """Return after how many seconds a retry can succeed; None: waiting does not help."""
    retry = _detail(error, error_details_pb2.RetryInfo)
    if retry is None:
        return None
    return retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9


def field_violations_of(error: Failure) -> dict[str, str]:
    """Return what was wrong with which field: field path to description."""
    request = _detail(error, error_details_pb2.BadRequest)
    if request is None:
        return {}
    return {violation.field: violation.description for violation in request.field_violations}


def upstream_code_of(error: Failure) -> int | None:
    """Return the upstream's error_code, for its error table."""
    return _number(error, "upstreamCode")


def log_id_of(error: Failure) -> int | None:
    """Return the upstream's log_id of the failed call, for its support."""
    return _number(error, "logId")


def cont_sign_of(error: Failure) -> str | None:
    """Return the signature of the image that is stored already (IMAGE_ALREADY_EXISTS)."""
    info = _error_info(error)
    return info.metadata.get("contSign") if info is not None else None


def _number(error: Failure, key: str) -> int | None:
    info = _error_info(error)
    text = info.metadata.get(key, "") if info is not None else ""
    return int(text) if text.isascii() and text.isdigit() else None


def _error_info(error: Failure) -> error_details_pb2.ErrorInfo | None:
    info = _detail(error, error_details_pb2.ErrorInfo)
    return info if info is not None and info.domain == ERROR_DOMAIN else None


def _detail(error: Failure, kind: type[_Detail]) -> _Detail | None:
    status = status_of(error)
    for packed in status.details if status is not None else ():
        detail = kind()
        try:
            if packed.Unpack(detail):
                return detail
        except DecodeError:
            return None
    return None
