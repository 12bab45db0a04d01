"""The token call as a guest of the event loop: bounded in time and threads, and silent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trustme

from productsearch_service import limits
from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.auth.credentials import FixedCredentials, KeyPair
from productsearch_service.upstream.auth.issuer import TokenIssuer
from tests.fakes.upstream import FakeUpstream, Fault

pytestmark = pytest.mark.asyncio

PAIR = KeyPair("the-api-key", "the-secret-key")
TIMEOUT_S = 0.3
HEAD = b"HTTP/1.1 200 OK\r\n"
BAD_HEAD = HEAD + b"the-secret-key\r\n: the-api-key\r\n\r\n"
DRIPS: dict[str, bytes] = {
    "no HTTP": b"",
    "status line": b"HTTP/1.1 200 ",
    "head": HEAD + b"X-Slow: ",
    "body": HEAD + b"Content-Length: 60000\r\n\r\n",
    "body of a connection that closes": HEAD
    + b"Content-Length: 60000\r\nConnection: close\r\n\r\n",
    "size of a chunk": HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    "body without a length": HEAD + b"\r\n",
}


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve each connection in a thread of its own; return the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = listener.accept()[0]
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def dripping(begin: bytes) -> Callable[[socket.socket], None]:
    """Return a server that sends ``begin`` and then a digit each 10 ms, for a long time."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(begin)
        for _ in range(1000):
            time.sleep(0.01)
            connection.sendall(b"1")

    return serve


def token_threads() -> int:
    """Return how many threads of issuers there are."""
    return sum(thread.name.startswith("token") for thread in threading.enumerate())


async def _end_of_threads() -> None:
    end_s = time.monotonic() + 5
    while token_threads() and time.monotonic() < end_s:
        await asyncio.sleep(0.01)


@pytest.fixture
def quick() -> Iterator[None]:
    """Let token calls end after a moment."""
    with patch.object(limits, "TOKEN_FETCH_TIMEOUT_S", TIMEOUT_S):
        yield


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("begin", DRIPS.values(), ids=DRIPS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_answer_that_drips_ends_in_time_and_gives_its_thread_back(
    scheme: str, begin: bytes, tmp_path: Path
) -> None:
    """The call is over after its timeout, wherever it drips, and its thread soon after."""
    bundle, serve = None, dripping(begin)
    if scheme == "https":
        bundle, serve = tmp_path / "ca.pem", over_tls(serve, tmp_path / "ca.pem")
    with serving(serve) as host:
        issuer = TokenIssuer(f"{scheme}://{host}", bundle, FixedCredentials(PAIR))
        began_s = time.monotonic()
        with pytest.raises(UpstreamUnavailable, match=r"too slow|broke off|connected"):
            await issuer()
        assert time.monotonic() - began_s < TIMEOUT_S + 2
        issuer.close()
        await _end_of_threads()
        assert 0 == token_threads()


async def test_a_cancelled_call_gives_its_thread_back() -> None:
    """The flight is cancelled, as when the service stops: nothing is left of it."""
    with serving(dripping(HEAD)) as host:
        await _end_of_threads()  # of other tests
        issuer = TokenIssuer(f"http://{host}", None, FixedCredentials(PAIR))
        flight = asyncio.create_task(issuer())
        await asyncio.sleep(0.1)
        assert not flight.done()
        flight.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flight
        issuer.close()
        await _end_of_threads()
        assert 0 == token_threads()


@pytest.mark.usefixtures("quick")
async def test_a_call_that_is_over_before_it_is_connected_sends_nothing(
    upstream: FakeUpstream,
) -> None:
    """A resolver takes longer than the call may: the thread ends once it has its answer."""
    resolve = socket.getaddrinfo

    def slowly(*args: Any, **options: Any) -> Any:
        time.sleep(2 * TIMEOUT_S)
        return resolve(*args, **options)

    url = upstream.url.replace("127.0.0.1", "localhost")
    issuer = TokenIssuer(url, None, FixedCredentials(PAIR))
    with patch("socket.getaddrinfo", slowly):
        with pytest.raises(UpstreamUnavailable, match="connected"):
            await issuer()
        issuer.close()
        await _end_of_threads()
    assert 0 == token_threads()
    assert [] == upstream.received


@pytest.mark.usefixtures("quick")
async def test_threads_that_hang_are_bounded_and_their_own() -> None:
    """Credentials on a file system that hangs: each call ends in time, with at most 4 threads."""
    await _end_of_threads()  # of other tests
    over = threading.Event()

    class Hanging:
        def read(self) -> KeyPair:
            over.wait(30)
            return PAIR

    issuer = TokenIssuer("http://127.0.0.1:9", None, Hanging())

    async def fails() -> float:
        began_s = time.monotonic()
        with pytest.raises(UpstreamCredentialsRejected, match="could not be read in time"):
            await issuer()
        return time.monotonic() - began_s

    took_s = await asyncio.gather(*(fails() for _ in range(20)))
    assert max(took_s) < TIMEOUT_S + 2
    assert 4 == token_threads()
    assert 7 == await asyncio.wait_for(asyncio.to_thread(lambda: 7), 5)
    over.set()
    issuer.close()
    await _end_of_threads()
    assert 0 == token_threads()


@pytest.mark.usefixtures("quick")
async def test_the_loop_runs_on_while_a_token_is_asked_for() -> None:
    """Others on the loop have their turns meanwhile."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    with serving(dripping(HEAD + b"X-Slow: ")) as host:
        issuer = TokenIssuer(f"http://{host}", None, FixedCredentials(PAIR))
        beside = asyncio.create_task(others())
        with pytest.raises(UpstreamUnavailable):
            await issuer()
        beside.cancel()
        issuer.close()
        await _end_of_threads()
    assert turns > 20


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int, upstream: FakeUpstream) -> None:
    """Wherever the endpoint points to, nothing is sent there."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        where = f"Location: {upstream.url}/oauth/2.0/token\r\nSet-Cookie: a=b\r\n"
        connection.sendall(
            f"HTTP/1.1 {status} Elsewhere\r\n{where}Content-Length: 0\r\n\r\n".encode()
        )

    with serving(serve) as host:
        issuer = TokenIssuer(f"http://{host}", None, FixedCredentials(PAIR))
        with pytest.raises(UpstreamUnavailable, match=f"HTTP {status}"):
            await issuer()
        issuer.close()
    assert [] == upstream.received


FAULTS: dict[str, object] = {
    "closed": Fault(kind="close"),
    "reset": Fault(kind="reset"),
    "cut": Fault(kind="cut", body=b'{"access_token": "24.the-whole-token"'),
    "500": Fault(status=500, body=b"the-api-key the-secret-key"),
    "rejected": Fault(status=401, body=b'{"error": "invalid_client", "x": "the-secret-key"}'),
    "insane": {"access_token": "24.the-whole-token", "expires_in": 1},
    "no json": b"24.the-whole-token the-secret-key",
    "bad head": b"",
    "slow": Fault(kind="stall", seconds=TIMEOUT_S + 0.1),
    "refused": None,
    "untrusted": None,
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_failure_tells_a_secret(
    fault: str, upstream: FakeUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the error with its context and locals nor any logger, at DEBUG, has a secret."""
    caplog.set_level(logging.DEBUG)
    with contextlib.ExitStack() as stack:
        url = upstream.url
        if fault == "refused":
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{held.getsockname()[1]}"
        elif fault == "untrusted":
            serve = over_tls(dripping(b""), tmp_path / "ca.pem")
            url = f"https://{stack.enter_context(serving(serve))}"
        elif fault == "bad head":
            url = f"http://{stack.enter_context(serving(dripping(BAD_HEAD)))}"
        else:
            upstream.then("token", FAULTS[fault])
        issuer = TokenIssuer(url, None, FixedCredentials(PAIR))
        with pytest.raises(ServiceError) as caught:
            await issuer()
        issuer.close()
        await _end_of_threads()  # a server that ends first would reset their connections
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    told = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    told += caplog.text + repr(issuer) + repr(issuer.__dict__)
    for secret in ("the-api-key", "the-secret-key", "the-whole-token"):
        assert secret not in told


def over_tls(
    serve: Callable[[socket.socket], None], bundle: Path
) -> Callable[[socket.socket], None]:
    """Return the same server over TLS; its authority's certificate is written to ``bundle``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def wrapped(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            serve(secured)

    return wrapped
