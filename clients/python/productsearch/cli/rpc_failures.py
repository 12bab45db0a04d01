"""Which exit code an error of the service means, and what can be done about it.

The two tables name every reason and every gRPC code; a law test holds them to that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import grpc

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.failures import Failure
from productsearch.cli.profile import in_use
from productsearch.cli.targets import unreached
from productsearch.cli.waiting import in_words
from productsearch.v1 import ErrorReason, reason_of, retry_delay_of, text_of

REASONS: Final[dict[str, tuple[ExitCode, str]]] = {
    "ERROR_REASON_UNSPECIFIED": (ExitCode.REFUSED, "update this client: it knows no such reason"),
    "FIELD_INVALID": (ExitCode.REFUSED, "correct what the text names"),
    "IMAGE_UNREADABLE": (ExitCode.REFUSED, "give a JPEG or PNG; other kinds with --fit"),
    "IMAGE_SIZE_INVALID": (ExitCode.REFUSED, "add --fit and the service scales it"),
    "IMAGE_URL_UNREACHABLE": (ExitCode.REFUSED, "download the image and give the file"),
    "IMAGE_ALREADY_EXISTS": (ExitCode.REFUSED, "--on-duplicate keep or update accepts it"),
    "IMAGE_NOT_FOUND": (ExitCode.REFUSED, "check the signature, the image and --library"),
    "PAGE_TOKEN_INVALID": (ExitCode.REFUSED, "begin the search again"),
    "RESULT_WINDOW_EXCEEDED": (ExitCode.REFUSED, "ask for at most 1000 results"),
    "LIBRARY_UNKNOWN": (ExitCode.REFUSED, "check --library, or ask who runs the service"),
    "LIBRARY_NOT_READY": (ExitCode.REFUSED, "the library must be created at the upstream"),
    "LIBRARY_FULL": (ExitCode.REFUSED, "delete images, or have the library grown"),
    "RATE_LIMITED": (ExitCode.GO_ON_LATER, "run it again in a moment"),
    "SERVER_OVERLOADED": (ExitCode.GO_ON_LATER, "run it again in a moment"),
    "QUOTA_EXHAUSTED": (ExitCode.GO_ON_LATER, "run it again when the quota is renewed"),
    "UPSTREAM_UNAVAILABLE": (ExitCode.UNREACHABLE, "run it again later"),
    "ADD_OUTCOME_UNKNOWN": (ExitCode.UNREACHABLE, "run it again with --on-duplicate keep"),
    "UPSTREAM_CREDENTIALS_REJECTED": (ExitCode.REFUSED, "tell who runs the service"),
    "UPSTREAM_PROTOCOL": (ExitCode.REFUSED, "tell who runs the service, with the log_id"),
    "CALLER_UNAUTHENTICATED": (
        ExitCode.REFUSED,
        "give a token (--token-file) or a certificate (--cert, --key)",
    ),
    "CALLER_FORBIDDEN": (ExitCode.REFUSED, "ask who runs the service for the right to do this"),
    "SERVER_DRAINING": (ExitCode.UNREACHABLE, "run it again in a moment"),
    "DEADLINE_TOO_SHORT": (ExitCode.GO_ON_LATER, "give more time with --timeout"),
    "SERVER_FAULT": (ExitCode.REFUSED, "tell who runs the service, with the time"),
}
_CHECK_TARGET: Final = "check --target and TLS"
_OTHER_SERVER: Final = "check --target: another kind of server may be there"
_GATEWAY: Final = "a gateway before the service may have refused this caller: ask who runs it"
_TOO_LARGE: Final = "larger than max"
"""In gRPC's own words for a message that is too large."""
CODES: Final[dict[grpc.StatusCode, tuple[ExitCode, str]]] = {
    **dict.fromkeys(grpc.StatusCode, (ExitCode.REFUSED, _OTHER_SERVER)),
    grpc.StatusCode.UNAVAILABLE: (ExitCode.UNREACHABLE, _CHECK_TARGET),
    grpc.StatusCode.DEADLINE_EXCEEDED: (ExitCode.GO_ON_LATER, "give more time with --timeout"),
    grpc.StatusCode.UNAUTHENTICATED: (ExitCode.REFUSED, _GATEWAY),
    grpc.StatusCode.PERMISSION_DENIED: (ExitCode.REFUSED, _GATEWAY),
    grpc.StatusCode.CANCELLED: (ExitCode.UNREACHABLE, "run it again"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (
        ExitCode.REFUSED,
        "the request is larger than one message may be (21 MiB)",
    ),
}
"""For errors without a reason: those of gRPC itself."""


def reason_name(error: Any) -> str:
    """Return the reason of an error, or the name of its gRPC code."""
    reason = reason_of(error)
    if reason is not None:
        return str(reason)
    code = getattr(error, "code", None)
    told = code() if callable(code) else None
    return told.name if isinstance(told, grpc.StatusCode) else "UNKNOWN"


def failure_of(error: Any, doing: str = "") -> Failure:
    """Return the failure that an error of the service, or a status of one item, means."""
    reason = reason_of(error)
    if reason is not None:
        code, next_step = REASONS[str(reason)]
    else:
        told = error.code() if isinstance(error, grpc.RpcError) else grpc.StatusCode.UNKNOWN
        code, next_step = CODES[told]
        if is_gateways_rate(error):
            code, next_step = ExitCode.GO_ON_LATER, "a gateway limits the rate; run it again later"
    if reason is None and code is ExitCode.UNREACHABLE and (target := _target(error)):
        used = replace(in_use.get(), target=target)
        what, next_step = unreached(used, error.details() or "no details")
        return Failure(what, code=code, next_step=next_step, reason=reason_name(error))
    if reason == ErrorReason.CALLER_UNAUTHENTICATED:
        next_step = _to_be_known(next_step)
    delay_s = retry_delay_of(error)
    if delay_s is not None:
        next_step = f"run it again {in_words(delay_s)}"
    told_text = text_of(error) if not isinstance(error, grpc.RpcError) else _text(error)
    what = f"{doing}: {told_text}" if doing else told_text
    return Failure(what, code=code, next_step=next_step, reason=reason_name(error))


def _to_be_known(with_nothing: str) -> str:
    """Return what helps a caller that is not known, by what this command showed of itself."""
    used = in_use.get()
    if used.cert:
        return "give another certificate (--cert, --key), or ask who runs the service"
    if used.token or used.token_file:
        return "give another token (--token-file) or a certificate, or ask who runs the service"
    return with_nothing


def is_gateways_rate(error: Any) -> bool:
    """Return whether RESOURCE_EXHAUSTED without a reason came from a gateway, not from gRPC.

    gRPC has it for a message that is too large, a gateway for calls above its rate.
    """
    return (
        isinstance(error, grpc.RpcError)
        and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        and reason_of(error) is None
        and _TOO_LARGE not in (error.details() or "")
    )


def _target(error: Any) -> str:
    """Return where the call went to, if that could not be reached; "" otherwise."""
    unavailable = isinstance(error, grpc.RpcError) and (error.code() is grpc.StatusCode.UNAVAILABLE)
    return getattr(error, "target", "") if unavailable else ""


def _text(error: grpc.RpcError) -> str:
    """Return the error's own text; gRPC's own errors of streams have twelve lines."""
    text = str(error)
    return text if "\n" not in text else text_of(error)
