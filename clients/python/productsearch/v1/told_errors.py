"""The error that calls of this client's channels raise, whose text says all that is known.

gRPC's own text of an error is twelve lines of its core's words, without the service's details.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from productsearch.v1.errors import (
    DETAILS_KEY,
    log_id_of,
    reason_of,
    retry_delay_of,
    text_of,
)
from productsearch.v1.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import NoReturn

    from productsearch.v1.error_reason_pb2 import ErrorReason


class ProductSearchError(grpc.aio.AioRpcError, grpc.Call, grpc.Future):  # type: ignore[type-arg, misc]
    """A failed call. ``str()`` gives reason, message, code, retry delay and log_id.

    It is a ``grpc.RpcError`` (with asyncio an ``AioRpcError``) and, as gRPC's own errors are, the
    call that it ended.
    """

    @classmethod
    def of(cls, error: Any, target: str) -> ProductSearchError:
        """Return the error of a call to ``target`` for gRPC's own error."""
        made = cls(
            error.code(),
            _metadata(error.initial_metadata()),
            _metadata(error.trailing_metadata()),
            details=error.details(),
            debug_error_string=error.debug_error_string(),
        )
        made.target = target
        return made

    @classmethod
    def of_refused(cls, request: Any, target: str) -> ProductSearchError | None:
        """Return the error of a request that is not sent; None if it can be sent."""
        status = refusal_of(request)
        if status is None:
            return None
        trailers = grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString()))
        made = cls(
            grpc.StatusCode.INVALID_ARGUMENT, _metadata(()), trailers, details=status.message
        )
        made.target = target
        return made

    target: str = ""
    """Where the call went to."""

    @property
    def reason(self) -> ErrorReason.ValueType | None:
        """Why the call failed; None for an error of gRPC itself."""
        return reason_of(self)

    @property
    def retry_delay_s(self) -> float | None:
        """Seconds after which a retry can succeed; None: the service names no time."""
        return retry_delay_of(self)

    @property
    def log_id(self) -> int | None:
        """The upstream's log_id of the failed call."""
        return log_id_of(self)

    def __str__(self) -> str:
        return text_of(self, self.target)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (*super().__reduce__(), {"target": self.target})

    # What grpc.Call and grpc.Future ask for: an interceptor in front of this channel gets the
    # error as the outcome of the call.
    def is_active(self) -> bool:
        """Return False: the call is over."""
        return False

    def time_remaining(self) -> float:
        """Return 0: the call is over."""
        return 0.0

    def cancel(self) -> bool:
        """Return False: the call is over."""
        return False

    def cancelled(self) -> bool:
        """Return whether the call was cancelled."""
        return self.code() is grpc.StatusCode.CANCELLED

    def running(self) -> bool:
        """Return False: the call is over."""
        return False

    def done(self) -> bool:
        """Return True: the call is over."""
        return True

    def result(self, timeout: float | None = None) -> NoReturn:  # noqa: ARG002 - gRPC's signature
        """Raise the error."""
        raise self

    def exception(self, timeout: float | None = None) -> ProductSearchError:  # noqa: ARG002
        """Return the error."""
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:  # noqa: ARG002
        """Return where it was raised."""
        return self.__traceback__

    def add_callback(self, callback: Callable[[], None]) -> bool:  # noqa: ARG002
        """Return False: the call is over and the callback will not be called."""
        return False

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Call ``fn`` now."""
        fn(self)


def _metadata(metadata: Any) -> grpc.aio.Metadata:
    return grpc.aio.Metadata(*(tuple(entry) for entry in metadata or ()))


class Errors(grpc.UnaryUnaryClientInterceptor):
    """Raises ProductSearchError from the unary calls of a ``grpc.Channel``.

    A call that is begun with ``future`` keeps gRPC's own error.
    """

    def __init__(self, target: str) -> None:
        self._target = target

    def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], client_call_details: Any, request: Any
    ) -> Any:
        """Continue the call, unless its request is larger than the service reads."""
        if (refused := ProductSearchError.of_refused(request, self._target)) is not None:
            raise refused
        outcome = continuation(client_call_details, request)
        # What future() begins is an RpcError too, before it has ended, and an iterator.
        if isinstance(outcome, grpc.RpcError) and not isinstance(outcome, Iterator):
            raise ProductSearchError.of(outcome, self._target)
        return outcome


class AsyncErrors(grpc.aio.UnaryUnaryClientInterceptor):
    """Raises ProductSearchError from the unary calls of a ``grpc.aio.Channel``."""

    def __init__(self, target: str) -> None:
        self._target = target

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Continue the call and wait for its end, unless its request is refused here."""
        if (refused := ProductSearchError.of_refused(request, self._target)) is not None:
            raise refused
        call = await continuation(client_call_details, request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise ProductSearchError.of(error, self._target) from None
        return call
