"""Asks the token endpoint for an access token, in a thread; the only module that imports requests.

A token is needed about once a month, so this one call blocks a thread, and requests serves it as
it is. The key pair travels in a POST form, never in the URL: URLs end up in logs and in spans.
Nothing of requests leaves this module: its exceptions hold the request with its body.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NewConnectionError

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.errors import ServiceError, UpstreamCredentialsRejected
from productsearch_service.upstream.auth import token_answer
from productsearch_service.upstream.auth.credentials import Credentials, KeyPair
from productsearch_service.upstream.auth.token import Issued
from productsearch_service.upstream.masked import MaskedBytes

_T = TypeVar("_T")

_PATH: Final = "/oauth/2.0/token"
_HEADERS: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
}
_ANSWER_BYTES_MAX: Final = 16 * limits.TOKEN_BYTES_MAX
_READ_BYTES: Final = 16_384
_THREADS_MAX: Final = 4
"""A flight and a look for a new key pair need one each. The others are for threads that are held
beyond the end of their call, by a resolver or a file system that hangs. These are bounded, and
hold no thread of the event loop's default executor."""

# These log URLs and heads of answers: each call at DEBUG, a bad header line at WARNING with a
# traceback. A filter holds whatever level anyone sets.
for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(lambda _: False)


class TokenIssuer:
    """The token endpoint for the current key pair, which can be replaced while in use.

    A pair becomes the current one by getting a token: a new pair that the endpoint rejects, and
    files that are empty or gone, change nothing. ``base_url`` is the upstream's; its certificate
    is verified against ``ca_bundle`` (None: against the public authorities).
    """

    def __init__(self, base_url: str, ca_bundle: Path | None, credentials: Credentials) -> None:
        self._url = base_url.rstrip("/") + _PATH
        self._verify: bool | str = str(ca_bundle) if ca_bundle else True
        self._credentials = credentials
        self._threads = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="token")
        self._proven: KeyPair | None = None
        self._failed: KeyPair | None = None
        self._again_at_s = 0.0
        self._asked = False

    async def __call__(self) -> Issued:
        """Return a new token for the current pair, within limits.TOKEN_FETCH_TIMEOUT_S.

        Raises UpstreamCredentialsRejected if the pair is no good, UpstreamUnavailable if the
        endpoint cannot be reached or its answer makes no sense.
        """
        end = Deadline.after(limits.TOKEN_FETCH_TIMEOUT_S)
        current = self._proven
        try:
            pair = current or await self._read(end)
            issued = await self._issue(pair, end)
        finally:
            self._asked = True
        if self._proven is current:  # else it was replaced while we asked
            self._proven = pair
        return issued

    async def replaced(self) -> Issued | None:
        """Return a token for a new pair if the credentials hold one that works, else None.

        A pair that has just failed is left alone for a while; and until the first flight has
        ended, there is nothing to replace.
        """
        if not self._asked:
            return None
        end = Deadline.after(limits.TOKEN_FETCH_TIMEOUT_S)
        try:
            pair = await self._read(end)
            waits = pair == self._failed and time.monotonic() < self._again_at_s
            if pair == self._proven or waits:
                return None
            issued = await self._issue(pair, end)
        except ServiceError:
            return None
        self._proven = pair
        return issued

    def close(self) -> None:
        """Give the threads back; for after the last call."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read(self, end: Deadline) -> KeyPair:
        """Return what the credentials hold now; the volume that they are on may hang."""
        pair = await self._in_thread(self._credentials.read, end)
        if pair is None:
            raise UpstreamCredentialsRejected("the credentials could not be read in time")
        return pair

    async def _issue(self, pair: KeyPair, end: Deadline) -> Issued:
        call = _TokenCall()
        try:
            outcome = await self._in_thread(
                partial(call.post, self._url, self._verify, pair, end.remaining_s()), end
            )
        finally:
            call.cut()
        if outcome is None:
            outcome = token_answer.no_token("was too slow")
        if isinstance(outcome, Issued):
            return outcome
        hopeless = isinstance(outcome, UpstreamCredentialsRejected)
        wait_s = limits.TOKEN_GATE_MAX_S if hopeless else limits.TOKEN_RETRY_S
        self._failed, self._again_at_s = pair, time.monotonic() + wait_s
        # Raised here, where no other exception is being handled that could be its context.
        raise outcome

    async def _in_thread(self, work: Callable[[], _T], end: Deadline) -> _T | None:
        """Return the result of ``work``, or None if there is none before ``end``."""
        running = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(end.remaining_s()):
                return await running.run_in_executor(self._threads, work)
        return None


class _TokenCall(HTTPAdapter):
    """One POST on a connection of its own, which another thread can cut.

    A socket's timeout starts anew with each byte, so an answer that drips would hold its thread
    for hours, and a process waits for such threads when it exits. The adapter is used without a
    requests.Session: no proxies, ``.netrc``, cookies or CA bundles of the environment, and no
    redirects.
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)
        self._socket: socket.socket | None = None
        self._is_cut = False

    def post(
        self, url: str, verify: bool | str, pair: KeyPair, time_s: float
    ) -> Issued | ServiceError:
        """Ask for a token and return it or the error; blocks."""
        answer = self._exchange(url, verify, _form(pair), time_s)
        if isinstance(answer, str):
            return token_answer.no_token(answer)
        return token_answer.read(*answer)

    def cut(self) -> None:
        """End the call if it is under way, from any thread; handshakes end by their timeout."""
        self._is_cut = True
        opened = self._socket
        if opened is not None:
            with suppress(OSError):  # it was closed at this moment
                opened.shutdown(socket.SHUT_RDWR)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Return the pool for the request; the socket that it opens is noted."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = partial(self._connection, pool.ConnectionCls)
        return pool

    def _connection(self, make: Callable[..., Any], **options: Any) -> Any:
        connection = make(**options)
        connect = connection.connect

        def connect_and_note() -> None:
            connect()
            self._socket = connection.sock
            if self._is_cut:
                raise TimeoutError

        connection.connect = connect_and_note
        connection.response_class = _Response
        return connection

    def _exchange(
        self, url: str, verify: bool | str, form: MaskedBytes, time_s: float
    ) -> tuple[int, MaskedBytes] | str:
        """Return the status and body of the answer, or what the endpoint did instead."""
        timeouts_s = (min(limits.CONNECT_TIMEOUT_S, time_s), time_s)
        try:
            request = requests.Request("POST", url, headers=_HEADERS, data=form).prepare()
            with self.send(request, stream=True, timeout=timeouts_s, verify=verify) as response:
                return self._read(response)
        except requests.RequestException as error:
            return _what(error)
        except (HTTPError, OSError, ValueError):
            return "broke off"
        finally:
            self._socket = None
            self.close()

    def _read(self, response: requests.Response) -> tuple[int, MaskedBytes] | str:
        pieces: list[MaskedBytes] = []
        bytes_left = _ANSWER_BYTES_MAX
        while not self._is_cut:
            piece = MaskedBytes(response.raw.read1(_READ_BYTES, decode_content=True))
            if not piece:
                return response.status_code, MaskedBytes(b"".join(pieces))
            pieces.append(piece)
            bytes_left -= len(piece)
            if bytes_left < 0:
                return "answered too much"
        return "was too slow"


class _Response(HTTPResponse):
    """Its failures do not hold what the endpoint sent: tracing libraries export their text."""

    def begin(self) -> None:
        """Read the head."""
        try:
            super().begin()
        except HTTPException:
            pass
        else:
            return
        raise RemoteDisconnected("the token endpoint sent no HTTP")


def _form(pair: KeyPair) -> MaskedBytes:
    return MaskedBytes(
        urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": pair.api_key,
                "client_secret": pair.secret_key,
            }
        ).encode()
    )


def _what(error: requests.RequestException) -> str:
    """Return what happened, in fixed words."""
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, requests.exceptions.SSLError):
        return "failed TLS verification"
    if isinstance(error, requests.ConnectTimeout) or isinstance(cause, NewConnectionError):
        return "cannot be connected to"
    return "was too slow" if isinstance(error, requests.Timeout) else "broke off"
