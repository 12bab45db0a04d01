"""Reads the google.rpc details of an error.

Each function takes a ``grpc.RpcError`` of a unary call or stream, or the ``google.rpc.Status`` of
one bulk item or of one batch-deleted signature. It returns ``None``, or an empty dict, if the error
has no such detail. None of them raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from productsearch.v1.error_reason_pb2 import ErrorReason

if TYPE_CHECKING:
    from collections.abc import Iterable

ERROR_DOMAIN: Final = "productsearch.v1"
DETAILS_KEY: Final = "grpc-status-details-bin"

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
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def as_status(error: grpc.RpcError) -> status_pb2.Status:
    """Return the whole status; for an error of gRPC itself one of its code and text."""
    if (status := status_of(error)) is not None:
        return status
    code = getattr(error, "code", lambda: None)()
    number = (
        code.value[0] if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN.value[0]
    )
    return status_pb2.Status(code=number, message=_code_and_message(error)[1])


class _Reason(int):
    """A value of ErrorReason that prints as its name; it equals the plain value."""

    @property
    def name(self) -> str:
        """The name on the wire."""
        return ErrorReason.Name(self)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


def reason_of(error: Failure) -> ErrorReason.ValueType | None:
    """Return why the call failed; ERROR_REASON_UNSPECIFIED for a reason newer than this client.

    It prints as the name of the reason.
    """
    info = _error_info(error)
    if info is None:
        return None
    known = info.reason in ErrorReason.keys()  # noqa: SIM118 - not a dict
    value = ErrorReason.Value(info.reason) if known else ErrorReason.ERROR_REASON_UNSPECIFIED
    return cast("ErrorReason.ValueType", _Reason(value))


def retry_delay_of(error: Failure) -> float | None:
    """Return after how many seconds, 0 or more, a retry can succeed; None: no time is named."""
    retry = _detail(error, error_details_pb2.RetryInfo)
    if retry is None:
        return None
    return max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)


def is_retryable(error: Failure) -> bool:
    """Return whether the same call can succeed later; adds are repeated with the policy KEEP.

    True if the service names a delay (``retry_delay_of``), if it says ADD_OUTCOME_UNKNOWN, and for
    UNAVAILABLE without a reason, which gRPC or a mesh says of a connection that is refused or lost:
    then wait about a second, and longer each time.
    """
    if retry_delay_of(error) is not None:
        return True
    reason = reason_of(error)
    if reason is not None:
        return reason == ErrorReason.ADD_OUTCOME_UNKNOWN
    return _code_and_message(error)[0] == grpc.StatusCode.UNAVAILABLE.name


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


def text_of(error: Failure, target: str = "") -> str:
    """Return one line: reason, message, code, and what the error says of retry and log_id.

    ``target`` is named where the service at that address could not be reached.
    """
    code, message = _code_and_message(error)
    info = _error_info(error)
    if info is None and code == "UNAVAILABLE" and target:
        message = f"cannot reach {target}: {message}"
    told = [code] if info is not None else []
    if (delay_s := retry_delay_of(error)) is not None:
        told.append(f"retry after {delay_s:g} s")
    if (sign := cont_sign_of(error)) is not None:
        told.append(f"cont_sign {sign}")
    if (log_id := log_id_of(error)) is not None:
        told.append(f"log_id {log_id}")
    tail = f" ({', '.join(told)})" if told else ""
    return f"{info.reason if info is not None else code}: {message}{tail}"


def _code_and_message(error: Failure) -> tuple[str, str]:
    if isinstance(error, status_pb2.Status):
        names = {code.value[0]: code.name for code in grpc.StatusCode}
        return names.get(error.code, str(error.code)), error.message
    code = getattr(error, "code", lambda: None)()
    details = getattr(error, "details", lambda: None)()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN", details or "no details"


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
