"""Ends a connection whose client waits to be told to send its body, and is answered instead.

Such a client has not sent the body that it announced (``Expect: 100-continue``). It may send it
after the answer, or a further request in its place, and no server can tell which: it closes the
connection and says so, as RFC 9110, section 10.1.1, has it. Knows ASGI. Does not know sockets.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WAITS = "productsearch.client_waits"


def client_waits(scope: MutableMapping[str, Any]) -> None:
    """Note in a request's scope that its client waits before it sends the body."""
    scope[_WAITS] = True


def client_sends(scope: MutableMapping[str, Any]) -> None:
    """Note that it waits no longer."""
    scope.pop(_WAITS, None)


class Closing:
    """An application whose answer ends the connection if the client still waits."""

    def __init__(self, application: ASGIApp):
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if _WAITS not in scope:
            await self._application(scope, receive, send)
            return

        async def asking() -> Message:
            client_sends(scope)  # who receives has uvicorn tell the client to send
            return await receive()

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start" and _WAITS in scope:
                headers = [*message.get("headers", []), (b"connection", b"close")]
                message = {**message, "headers": headers}
            await send(message)

        await self._application(scope, asking, telling)
