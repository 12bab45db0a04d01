"""Sends one POST and returns the answer's bytes.

The access token travels in the URL, and aiohttp puts the URL into exceptions and objects. So
nothing of aiohttp leaves this module: a failure is a TransportFailure with a fixed word, raised
without its cause. Nothing is taken from the environment: no proxies, no ``.netrc``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, cast
from weakref import WeakSet

import aiohttp
import certifi
from yarl import URL

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.time_limit import TimeLimit
from productsearch_service.upstream.http.answer import Incoming, read, retry_after_s
from productsearch_service.upstream.http.failure import UNCONNECTED, TransportFailure
from productsearch_service.upstream.http.names import Names
from productsearch_service.upstream.masked import MaskedBytes, MaskedText

_HEADERS: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "productsearch",  # to leave it out costs aiohttp a copy of the headers
}
_SMALL_BYTES: Final = limits.SENT_WHOLE_BYTES
"""A body up to this size leaves together with the head."""
_PIECE_BYTES: Final = 2 * limits.SENT_WHOLE_BYTES
"""A larger body leaves in pieces of this size; each one that the system takes is progress."""


_OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What a replica lacks that cannot open a socket."""


class _Connector(aiohttp.TCPConnector):
    """Kept connections, but for those on which something came that nobody had asked for.

    It would be read as the answer to the next request, which may be another caller's.
    """

    async def connect(self, *request: Any, **limited: Any) -> aiohttp.connector.Connection:
        """Return a connection on which nothing waits to be read."""
        while True:
            connection = await super().connect(*request, **limited)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class Transport:
    """A pool of connections to one host, for the running event loop.

    Connecting, sending and reading have a limit each, in seconds: ``connect_s`` for the whole
    handshake, ``send_stall_s`` for each part of the request, ``read_s`` for the whole answer.
    """

    def __init__(
        self,
        base_url: str,
        ca_bundle: Path | None = None,
        *,
        connect_s: float = limits.CONNECT_TIMEOUT_S,
        send_stall_s: float = limits.SEND_STALL_TIMEOUT_S,
        read_s: float = limits.READ_TIMEOUT_S,
        names: Names | None = None,
    ) -> None:
        """``names`` looks up the upstream's name; None: it has one of its own."""
        self._base_url = base_url.rstrip("/")
        self.connect_s, self.send_stall_s, self.read_s = connect_s, send_stall_s, read_s
        self._names = names or Names(connect_s)
        # Authorities of certifi where no others are named; a plain upstream needs none.
        trusted = str(ca_bundle or certifi.where())
        https = base_url.startswith("https:")
        self._tls = ssl.create_default_context(cafile=trusted) if https else True
        self._session: aiohttp.ClientSession | None = None
        self._requests: Counter[aiohttp.ClientSession] = Counter()
        """Requests under way in each session that is not closed."""
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self.unused: set[int] = set()
        """Descriptors of connections that no request was sent on yet."""

    def __repr__(self) -> str:
        return f"Transport({self._base_url!r})"

    def cause(self, words: str) -> str:
        """Return the upstream's host and port with what became of a connection."""
        url = URL(self._base_url)
        return f"{url.host}:{url.port}: {words}"

    async def post(
        self,
        path: str,
        query: MaskedText,
        body: Sequence[bytes],
        deadline: Deadline,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, MaskedBytes, float]:
        """POST a form, given in parts; return HTTP status, body, and the seconds of Retry-After.

        Status and body are whatever they are; no Retry-After is 0. Raises TransportFailure where no
        whole answer came before the deadline.
        """
        outcome = await self._send(path, query, body, deadline, headers)
        # Raised here, where no foreign exception is being handled: it would be kept as the context
        # of ours, and its text holds the URL. The traceback of a cancellation holds it too.
        if outcome is None:
            raise asyncio.CancelledError
        if isinstance(outcome, TransportFailure):
            raise outcome
        return outcome

    async def _send(
        self,
        path: str,
        query: MaskedText,
        body: Sequence[bytes],
        deadline: Deadline,
        headers: Mapping[str, str] | None,
    ) -> tuple[int, MaskedBytes, float] | TransportFailure | None:
        """Return the answer or the failure; None if the call was cancelled."""
        length = sum(map(len, body))
        progress = _Progress(self, deadline, small=length <= _SMALL_BYTES)
        session = self._session or self._open()
        self._requests[session] += 1
        try:
            url = URL(f"{self._base_url}{path}{query}", encoded=True)
            form = _Form(body, length, progress)
            with progress.limit:
                async with session.post(
                    url, data=form, headers=headers, allow_redirects=False
                ) as response:
                    progress.answered = True
                    content = await read(response, progress.incoming)
        except asyncio.CancelledError:
            return None
        except TimeoutError:
            return progress.timed_out()
        except aiohttp.ClientError as error:
            failure = progress.broken(error)
            if failure.stale and self._session is session:
                self._session = None  # what was idle beside this connection is as old
            return failure
        except (OSError, ValueError):
            return TransportFailure("broke off", maybe_done=progress.sent)
        finally:
            self._requests[session] -= 1
            if session is not self._session:
                await self._left(session)
        if not isinstance(content, MaskedBytes):
            return TransportFailure(content, maybe_done=True)
        return response.status, content, retry_after_s(response)

    def _open(self) -> aiohttp.ClientSession:
        """Make the session with the first request: a service that cannot start leaves none open."""
        session = self._session = aiohttp.ClientSession(
            connector=_Connector(
                limit=0,  # admission bounds the calls, and each call has one connection
                ssl=self._tls,
                resolver=self._names,
                keepalive_timeout=limits.CONNECTION_IDLE_MAX_S,
                socket_factory=self._socket,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            trust_env=False,
            max_line_size=limits.HEADER_BYTES_MAX,
            max_field_size=limits.HEADER_BYTES_MAX,
            auto_decompress=True,
        )
        # Tracing libraries add themselves to every session, and would export each URL.
        session.trace_configs.clear()
        return session

    async def _left(self, session: aiohttp.ClientSession) -> None:
        """Close a session that is not used again, after its last request."""
        if not self._requests[session]:
            del self._requests[session]
            await session.close()

    async def close(self) -> None:
        """Close all connections, also those whose peer does not take what was sent."""
        for opened in list(self._sockets):
            with suppress(OSError):  # it is closed already
                opened.shutdown(socket.SHUT_RDWR)
        for session in list(self._requests):
            await session.close()

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a socket that holds little unsent data: what it takes tells how the line moves."""
        made = socket.socket(*address[:3])
        for option, value in (
            ("TCP_NOTSENT_LOWAT", limits.SENT_WHOLE_BYTES),
            # A connection that was closed with data unsent ends, even if its peer stands still.
            ("TCP_USER_TIMEOUT", int(limits.UNSENT_KEPT_S * 1000)),
        ):
            if hasattr(socket, option):  # Linux has both
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._sockets.add(made)
        self.unused.add(made.fileno())
        return made


class _Progress:
    """How far one request has come, and the one timer over all of it.

    aiohttp limits the time of connecting; the timer ends before that only at the deadline.
    """

    def __init__(self, transport: Transport, deadline: Deadline, *, small: bool) -> None:
        self._transport = transport
        self._deadline = deadline
        self.small = small
        self._first_s = transport.read_s if small else transport.send_stall_s
        first_s = max(self._first_s, transport.connect_s)
        self.limit = TimeLimit(min(first_s, deadline.remaining_s()))
        self.connected = False
        self.kept = False
        """Whether the connection is from an earlier call."""
        self.sent = False
        """Whether the upstream may have got the whole request."""
        self.answered = False
        """Whether the head of the answer has come."""
        self.incoming: Incoming | None = None
        """What comes on its connection."""

    def allow(self, seconds: float) -> None:
        """Let the timer end after ``seconds``, or at the deadline if that is earlier."""
        self.limit.allow(min(seconds, self._deadline.remaining_s()))

    def has_connection(self, connection: asyncio.WriteTransport | None) -> None:
        """Note that the request has its connection; a small one leaves in one piece."""
        if connection is not None:
            self.incoming = _incoming(cast(asyncio.Transport, connection))
        unused = self._transport.unused
        opened = connection.get_extra_info("socket") if connection is not None else None
        descriptor = opened.fileno() if opened is not None else -1
        self.connected = True
        self.sent = self.small
        self.kept = descriptor not in unused
        unused.discard(descriptor)
        if not self.kept or self._first_s < self._transport.connect_s:
            self.allow(self._first_s)

    def has_sent_piece(self) -> None:
        """Note that a part of a large body was taken by the system."""
        self.allow(self._transport.send_stall_s)

    def has_sent_all(self) -> None:
        """Note that only the answer is waited for."""
        self.allow(self._transport.read_s)

    def timed_out(self) -> TransportFailure:
        """Return the failure of a request whose time is up."""
        if not self.connected:
            cause = self._transport.cause("timed out")
            return TransportFailure(UNCONNECTED, maybe_done=False, timed_out=True, cause=cause)
        return TransportFailure("was too slow", maybe_done=self.sent, timed_out=True)

    def broken(self, error: aiohttp.ClientError) -> TransportFailure:
        """Return the failure of a request whose connection was refused, ended or cannot be read."""
        if isinstance(error, aiohttp.ClientSSLError):
            cause = self._transport.cause(_tls_words(error))
            return TransportFailure("failed TLS verification", maybe_done=False, cause=cause)
        if isinstance(error, aiohttp.ClientConnectorError) and error.errno in _OURS:
            return TransportFailure("can open no connection", maybe_done=False, is_ours=True)
        if self.incoming is not None and self.incoming.is_excessive:
            what = "sent more heads and framing than an answer has"
            return TransportFailure(what, maybe_done=True)
        if self.answered:
            return TransportFailure("broke off while it answered", maybe_done=True)
        ended = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        if self.connected:
            return TransportFailure("broke off", maybe_done=self.sent, stale=self.kept and ended)
        # A kept connection can end before the first byte is written to it.
        stale = ended and not isinstance(error, aiohttp.ClientConnectorError)
        cause = self._transport.cause(_words(error))
        return TransportFailure(UNCONNECTED, maybe_done=False, stale=stale, cause=cause)


def _words(error: aiohttp.ClientError) -> str:
    """Return why there is no connection, without the error's own text: it can hold the URL."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        is_late = isinstance(error.os_error, TimeoutError)
        return "no name server answers" if is_late else "this name is not known"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return "the connection ended"


def _tls_words(error: aiohttp.ClientError) -> str:
    """Return what is wrong with TLS, in OpenSSL's words for a certificate."""
    cause = getattr(error, "certificate_error", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {cause.verify_message}"
    return "it does not speak TLS as it is spoken here"


class _Form(aiohttp.Payload):
    """A request body in parts, which notes how far its request has come."""

    def __init__(self, parts: Sequence[bytes], length: int, progress: _Progress) -> None:
        super().__init__(parts)
        self._parts = parts
        self._length = length
        self._progress = progress

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return self._length

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> NoReturn:
        """Refuse to be shown: images are large, and none of it is for people."""
        raise NotImplementedError

    async def write(self, writer: aiohttp.abc.AbstractStreamWriter) -> None:
        """Write the body, a large one part by part.

        Each part is taken by the system before the next one is written. Between two parts the event
        loop reads: an answer may come before the whole request was sent, and is lost if the next
        write is the first to find the connection closed.
        """
        self._progress.has_connection(writer.transport)
        if self._progress.small:
            await writer.write(b"".join(self._parts))
            return
        written = 0
        for number, part in enumerate(self._parts, start=1):
            # The last part may arrive whatever becomes of this call: what was taken is flushed.
            self._progress.sent = number == len(self._parts)
            view = memoryview(part)
            for start in range(0, len(view), _PIECE_BYTES):
                piece = view[start : start + _PIECE_BYTES]
                await writer.write(piece)
                written += len(piece)
                if written >= _PIECE_BYTES:
                    written = 0
                    self._progress.has_sent_piece()
                    await asyncio.sleep(0)
        self._progress.has_sent_all()


def _incoming(connection: asyncio.Transport) -> Incoming:
    """Return what comes on a connection."""
    receiver = connection.get_protocol()
    if isinstance(receiver, Incoming):
        return receiver
    incoming = Incoming(cast(asyncio.Protocol, receiver), connection)
    connection.set_protocol(incoming)
    return incoming
