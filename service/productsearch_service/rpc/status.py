"""Turns an error into the google.rpc.Status that a caller gets; the only place that does.

Every status carries an ErrorInfo. RetryInfo is there if and only if waiting helps, BadRequest
where fields are wrong, QuotaFailure where a quota is used up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf import any as any_message
from google.protobuf import duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from productsearch_service.errors import ServiceError

DOMAIN: Final = "productsearch.v1"

CODES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "FIELD_INVALID": code_pb2.INVALID_ARGUMENT,
        "IMAGE_UNREADABLE": code_pb2.INVALID_ARGUMENT,
        "IMAGE_SIZE_INVALID": code_pb2.INVALID_ARGUMENT,
        "IMAGE_URL_UNREACHABLE": code_pb2.FAILED_PRECONDITION,
        "IMAGE_ALREADY_EXISTS": code_pb2.ALREADY_EXISTS,
        "IMAGE_NOT_FOUND": code_pb2.NOT_FOUND,
        "PAGE_TOKEN_INVALID": code_pb2.INVALID_ARGUMENT,
        "RESULT_WINDOW_EXCEEDED": code_pb2.OUT_OF_RANGE,
        "LIBRARY_UNKNOWN": code_pb2.NOT_FOUND,
        "LIBRARY_NOT_READY": code_pb2.FAILED_PRECONDITION,
        "LIBRARY_FULL": code_pb2.RESOURCE_EXHAUSTED,
        # RESOURCE_EXHAUSTED where a replica refuses for now: five UNAVAILABLE in a row would
        # make a mesh eject the pod, and proxies repeat UNAVAILABLE by themselves.
        "RATE_LIMITED": code_pb2.RESOURCE_EXHAUSTED,
        "SERVER_OVERLOADED": code_pb2.RESOURCE_EXHAUSTED,
        "QUOTA_EXHAUSTED": code_pb2.RESOURCE_EXHAUSTED,
        "UPSTREAM_UNAVAILABLE": code_pb2.UNAVAILABLE,
        "ADD_OUTCOME_UNKNOWN": code_pb2.UNKNOWN,
        # Never UNAUTHENTICATED: the caller is not at fault and has nothing to renew.
        "UPSTREAM_CREDENTIALS_REJECTED": code_pb2.INTERNAL,
        "UPSTREAM_PROTOCOL": code_pb2.INTERNAL,
        "CALLER_UNAUTHENTICATED": code_pb2.UNAUTHENTICATED,
        "CALLER_FORBIDDEN": code_pb2.PERMISSION_DENIED,
        "SERVER_DRAINING": code_pb2.UNAVAILABLE,
        "DEADLINE_TOO_SHORT": code_pb2.DEADLINE_EXCEEDED,
        "SERVER_FAULT": code_pb2.INTERNAL,
    }
)

_QUOTA_SUBJECTS: Final = {
    "LIBRARY_FULL": "library:pictures",
    "QUOTA_EXHAUSTED": "library:calls",
}


def status_of(error: ServiceError) -> status_pb2.Status:
    """Return the status that says what ``error`` says."""
    details = [any_message.pack(detail) for detail in _details(error)]
    return status_pb2.Status(code=CODES[error.reason], message=error.message, details=details)


def _details(error: ServiceError) -> Iterator[Message]:
    info = error_details_pb2.ErrorInfo
    yield info(reason=error.reason, domain=DOMAIN, metadata=_metadata(error))
    if error.retry_after_s is not None:
        delay = duration.from_nanoseconds(round(error.retry_after_s * 1e9))
        yield error_details_pb2.RetryInfo(retry_delay=delay)
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for wrong in error.violations:
            bad.field_violations.add(
                field=wrong.field, description=wrong.description, reason=wrong.reason
            )
        yield bad
    if subject := _QUOTA_SUBJECTS.get(error.reason):
        quota = {"subject": subject, "description": error.message}
        yield error_details_pb2.QuotaFailure(violations=[quota])


def _metadata(error: ServiceError) -> dict[str, str]:
    metadata = {}
    if error.upstream is not None and error.upstream.code:
        metadata["upstreamCode"] = str(error.upstream.code)
        metadata["upstreamMessage"] = error.upstream.message
    if error.upstream is not None and error.upstream.log_id:
        metadata["logId"] = str(error.upstream.log_id)
    if error.cont_sign is not None:
        metadata["contSign"] = error.cont_sign
    return metadata
