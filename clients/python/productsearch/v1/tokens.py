"""Sends the caller's bearer token with each call of a channel.

gRPC's own call credentials refuse plaintext, which a mesh's sidecar needs. grpc.aio's interceptors
of streams replace the call by one that writes through a queue, so there the channel is wrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import grpc.aio

from productsearch.v1.deadlines import CallDetails

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

Token: TypeAlias = str | Callable[[], str]
_Metadata: TypeAlias = "Iterable[tuple[str, str | bytes]] | None"


def checked(token: Token) -> Callable[[], str]:
    """Return a function that gives the token of the next call. Raises ValueError, TypeError."""
    if isinstance(token, str):
        value = _sendable(token)
        return lambda: value
    if not callable(token):
        raise TypeError(
            f"token is a {type(token).__name__}; use a str or a function without arguments"
        )
    return lambda: _sendable(token())


def _sendable(token: str) -> str:
    """Return the token without blanks around it; its text is in no error."""
    value = token.strip()
    if not value or not (value.isascii() and value.isprintable()):
        raise ValueError("the token is empty, or has characters that no header can hold")
    return value


def _with_token(
    metadata: _Metadata, token: Callable[[], str]
) -> tuple[tuple[str, str | bytes], ...]:
    given = tuple(metadata or ())
    if any(key.lower() == "authorization" for key, _ in given):
        return given
    return (*given, ("authorization", f"Bearer {token()}"))


class TokenInterceptor(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Sends the token with the calls of a ``grpc.Channel``; metadata of a call wins."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Continue a unary call with the token."""
        return continuation(self._details(client_call_details), request)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Continue a stream with the token."""
        return continuation(self._details(client_call_details), request_iterator)

    def _details(self, asked: Any) -> CallDetails:
        return CallDetails.of(asked, metadata=_with_token(asked.metadata, self._token))


class AsyncTokenInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends the token with the unary calls of a ``grpc.aio.Channel``; metadata of a call wins."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Continue a unary call with the token."""
        asked = client_call_details
        details = grpc.aio.ClientCallDetails(
            asked.method,
            asked.timeout,
            grpc.aio.Metadata(*_with_token(asked.metadata, self._token)),
            asked.credentials,
            asked.wait_for_ready,
        )
        return await continuation(details, request)


class TokenChannel(grpc.aio.Channel):
    """A channel that sends the token with its streams; all else is the channel's below."""

    def __init__(self, channel: grpc.aio.Channel, token: Callable[[], str]) -> None:
        self._channel = channel
        self._token = token

    def stream_stream(self, *arguments: Any, **named: Any) -> Any:
        """Return a multicallable of a stream in both directions."""
        start = self._channel.stream_stream(*arguments, **named)

        def call(
            request_iterator: Any = None,
            timeout: float | None = None,
            metadata: Any = None,
            **others: Any,
        ) -> Any:
            sent = _with_token(metadata, self._token)
            return start(request_iterator, timeout=timeout, metadata=sent, **others)

        return call

    def unary_unary(self, *arguments: Any, **named: Any) -> Any:
        """Return a multicallable of a unary call; an interceptor sends its token."""
        return self._channel.unary_unary(*arguments, **named)

    def unary_stream(self, *arguments: Any, **named: Any) -> Any:
        """Return a multicallable; the service has no such method."""
        return self._channel.unary_stream(*arguments, **named)

    def stream_unary(self, *arguments: Any, **named: Any) -> Any:
        """Return a multicallable; the service has no such method."""
        return self._channel.stream_unary(*arguments, **named)

    async def __aenter__(self) -> TokenChannel:
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._channel.__aexit__(*raised)

    async def close(self, grace: float | None = None) -> None:
        """Close the channel, after ``grace`` seconds for calls under way."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the state is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when the channel is connected."""
        await self._channel.channel_ready()
