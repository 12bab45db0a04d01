"""Connections that are kept between calls, and requests' shortest way to them.

An upstream drops a connection that was idle for a while, and may do so at the moment of the next
request. So connections are given up before that; and one that ends all the same before a byte
of its answer is told apart from an upstream that fails.
"""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from productsearch_service import limits
from productsearch_service.upstream import punctual

if TYPE_CHECKING:
    from pathlib import Path

    from urllib3.response import BaseHTTPResponse

_SMALL_BYTES: Final = 65_536
"""Pieces up to this size leave together."""


class UnansweredError(HTTPError):
    """A kept connection ended before a byte of the answer came.

    ``sent``: whether the upstream may have got the whole request.
    """

    def __init__(self, *, sent: bool) -> None:
        super().__init__("a kept connection ended without an answer")
        self.sent = sent


class _Kept:
    """What both kinds of connection know of themselves."""

    idle_since_s = 0.0
    sent = False
    _held: list[bytes | memoryview] | None = None

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request; its head and small pieces of its body leave together."""
        self.sent = False
        self._held = []
        try:
            super().request(*args, **options)  # type: ignore[misc]
            self._send_held()
        finally:
            self._held = None
        self.sent = True

    def send(self, data: Any) -> None:
        """Send, or hold back what is to go with the rest."""
        if self._held is None:
            super().send(data)  # type: ignore[misc]
        elif len(data) <= _SMALL_BYTES:
            self._held.append(data)
        else:
            self._send_held()
            super().send(data)  # type: ignore[misc]

    def _send_held(self) -> None:
        if self._held:
            super().send(b"".join(self._held))  # type: ignore[misc]
            self._held.clear()


class _Connection(_Kept, punctual.Connection):
    pass


class _TlsConnection(_Kept, punctual.TlsConnection):
    pass


class _Keeping:
    """What both kinds of pool do."""

    pool: Any

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]
        idle_s = time.monotonic() - connection.idle_since_s
        if not connection.is_closed and idle_s > limits.CONNECTION_IDLE_MAX_S:
            connection.close()
        return connection

    def _put_conn(self, connection: Any) -> None:
        if connection is not None:
            connection.idle_since_s = time.monotonic()
        super()._put_conn(connection)  # type: ignore[misc]

    def _make_request(self, *args: Any, **options: Any) -> Any:
        connection = args[0]
        kept = not connection.is_closed
        try:
            return super()._make_request(*args, **options)  # type: ignore[misc]
        except ConnectionError:  # also http.client's RemoteDisconnected
            if not kept or punctual.answer_began():
                raise
        # The other idle ones are as old and were dropped, too, for all we know.
        self.close_idle()
        raise UnansweredError(sent=connection.sent)

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        while not self.pool.empty():
            connection = self.pool.get(block=False)
            if connection is not None:
                connection.close()


# Tracing libraries wrap this method, and export the URL of each call with the token in it. Ours
# is the one beneath their wrapper, whether they put it there before or after our import.
_urlopen: Final = inspect.unwrap(HTTPConnectionPool.urlopen)


class _Pool(_Keeping, HTTPConnectionPool):
    ConnectionCls = cast("Any", _Connection)
    urlopen = _urlopen


class _TlsPool(_Keeping, HTTPSConnectionPool):
    ConnectionCls = cast("Any", _TlsConnection)
    urlopen = _urlopen


class _Answer(Response):
    """An answer's status, headers and raw body, without the cookies and the history."""

    def __init__(self, resp: BaseHTTPResponse) -> None:
        self._content_consumed = False
        self.status_code = resp.status
        self.headers = cast("Any", resp.headers)
        self.raw = resp


class OneHostAdapter(HTTPAdapter):
    """requests' adapter for one host, without what it works out anew for each request.

    Pool, certificates and the host's part of the URL stay the same; there are no proxies, and
    an answer is its status, its headers and its raw body.
    """

    def __init__(self, base_url: str, ca_bundle: Path | None) -> None:
        super().__init__(pool_connections=1, pool_maxsize=limits.CONNECTIONS_MAX, max_retries=0)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        scheme, host_and_port = urlsplit(base_url)[:2]
        self._host_length = len(f"{scheme}://{host_and_port}")
        host = PreparedRequest()
        host.url = f"{base_url}/"
        verify: bool | str = str(ca_bundle) if ca_bundle else True
        self._pool: Any = super().get_connection_with_tls_context(host, verify)
        super().cert_verify(self._pool, host.url, verify, None)  # type: ignore[no-untyped-call]

    @property
    def idle_connections(self) -> int:
        """How many open connections the pool holds."""
        return sum(connection is not None for connection in list(self._pool.pool.queue))

    def get_connection_with_tls_context(self, *_: object, **__: object) -> Any:
        """Return the only pool."""
        return self._pool

    def cert_verify(self, *_: object) -> None:
        """Do nothing: the pool was told at its beginning."""

    def request_url(self, request: PreparedRequest, proxies: object) -> str:  # noqa: ARG002
        """Return path and query."""
        return (request.url or "")[self._host_length :]

    def build_response(self, req: PreparedRequest, resp: BaseHTTPResponse) -> Response:  # noqa: ARG002
        """Return the answer."""
        return _Answer(resp)
