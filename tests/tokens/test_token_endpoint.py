"""Answers of the token endpoint that make no sense are refused, over real HTTP."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from productsearch_service.call_context import Deadline
from productsearch_service.errors import UpstreamCredentialsRejected, UpstreamUnavailable
from productsearch_service.redaction import redact
from productsearch_service.server.concerns import of_libraries
from productsearch_service.settings import Settings
from productsearch_service.settings_library import LibrarySettings
from productsearch_service.upstream.auth.credentials import (
    FileCredentials,
    FixedCredentials,
    KeyPair,
)
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import Issued, TokenSource
from tests.fakes.upstream import FakeUpstream, Fault
from tests.interop.certificates import Certificates
from tests.ports import free_port

PAIR = KeyPair("the-api-key", "the-secret-key")
GOOD = {"access_token": "24.good", "expires_in": 2592000}


async def _ask(upstream: FakeUpstream, answer: Any) -> Issued:
    upstream.then("token", answer)
    issuer = TokenIssuer(upstream.url, None, FixedCredentials(PAIR))
    try:
        return await issuer()
    finally:
        issuer.close()


@pytest.mark.asyncio
async def test_a_good_answer_is_a_token(upstream: FakeUpstream) -> None:
    """Value and lifetime are taken as they are."""
    issued = await _ask(upstream, GOOD)
    assert ("24.good", 2592000) == (issued.value, issued.expires_in_s)


@pytest.mark.asyncio
async def test_the_key_pair_travels_in_the_form_and_not_in_the_url(upstream: FakeUpstream) -> None:
    """A POST of grant_type, client_id and client_secret, escaped; the query is empty."""
    issuer = TokenIssuer(f"{upstream.url}/", None, FixedCredentials(KeyPair("a key&", "ü=+%")))
    await issuer()
    issuer.close()
    (request,) = upstream.received
    assert ("POST", "token", "") == (request.verb, request.method, request.query)
    form = b"grant_type=client_credentials&client_id=a+key%26&client_secret=%C3%BC%3D%2B%25"
    assert form == request.body
    assert "application/x-www-form-urlencoded" == request.headers["Content-Type"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        b"",
        b"<html>login</html>",
        b"[" * 50_000,
        b"[" * 100_000,
        GOOD | {"access_token": ""},
        GOOD | {"access_token": 7},
        GOOD | {"access_token": "a b\r\nX: y"},
        GOOD | {"access_token": "x" * 5000},
        {"access_token": "24.good"},
        GOOD | {"expires_in": 60},
        GOOD | {"expires_in": -1},
        GOOD | {"expires_in": 10**12},
        GOOD | {"expires_in": "2592000"},
        GOOD | {"expires_in": True},
        {"error": "temporarily_unavailable"},
        GOOD | {"error": "temporarily_unavailable"},
        Fault(status=401, body=b'{"access_token": "24.good", "expires_in": 2592000}'),
        Fault(status=500, body=b"{}"),
        Fault(status=500, body=b'{"access_token": "24.good", "expires_in": 2592000}'),
        [["access_token", "24.good"], ["expires_in", 2592000]],
        Fault(status=429, body=b"slow down"),
        Fault(kind="close"),
        Fault(kind="reset"),
        Fault(kind="cut"),
        GOOD | {"padding": "x" * 100_000},
        GOOD | {"access_token": "x" * 1_000_000},
        b'{"access_token": "24.good", "expires_in": NaN}',
        b'{"access_token": "24.good", "expires_in": 1e999}',
        b'{"access_token": "24.good", "expires_in": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda answer: str(answer)[:40],
)
async def test_an_insane_answer_is_no_token(answer: Any, upstream: FakeUpstream) -> None:
    """No token, no lifetime, HTML, a broken connection: a passing failure, nothing else."""
    with pytest.raises(UpstreamUnavailable):
        await _ask(upstream, answer)
    assert 1 == len(upstream.received)


@pytest.mark.asyncio
@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_grant"])
async def test_a_rejected_pair_is_told_from_a_passing_failure(
    error: str, upstream: FakeUpstream
) -> None:
    """The vendor's 401 with its error word means that the operator must act."""
    with pytest.raises(UpstreamCredentialsRejected):
        await _ask(upstream, Fault(status=401, body=b'{"error": "%b"}' % error.encode()))


def test_files_are_read_as_a_pair_of_one_generation(tmp_path: Path) -> None:
    """A secret volume that is swapped between two reads never gives a mixed pair."""
    for generation in ("one", "two"):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "api_key").write_text(f"key-{generation}\n")
        (tmp_path / generation / "secret_key").write_text(f"secret-{generation}\n")
    (tmp_path / "current").symlink_to("one")
    for name in ("api_key", "secret_key"):
        (tmp_path / name).symlink_to(Path("current") / name)
    credentials = FileCredentials(tmp_path)
    assert KeyPair("key-one", "secret-one") == credentials.read()
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "current")
    assert KeyPair("key-two", "secret-two") == credentials.read()


def test_each_file_may_be_a_link_to_a_file_of_another_name(tmp_path: Path) -> None:
    """As containers get single secrets: one here, one there, under the names of their own."""
    for name in ("api_key", "secret_key"):
        (tmp_path / f"shoes-{name}").write_text(f"a-{name}\n")
        (tmp_path / "pair").mkdir(exist_ok=True)
        (tmp_path / "pair" / name).symlink_to(tmp_path / f"shoes-{name}")
    assert KeyPair("a-api_key", "a-secret_key") == FileCredentials(tmp_path / "pair").read()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xef\xbb\xbfthe-key\n", "api_key begins with a byte order mark; save it without one"),
        ("the-key".encode("utf-16"), "api_key is not UTF-8; save it as such"),
        (b"the-key\nanother\n", "api_key has more than a key: a blank, or a second line"),
        (b"the key", "api_key has more than a key: a blank, or a second line"),
        (None, "api_key cannot be read (Is a directory)"),
    ],
)
def test_files_that_hold_no_key_say_why(content: bytes | None, says: str, tmp_path: Path) -> None:
    """The issuer would only call the pair wrong, and so does an editor's invisible mark."""
    (tmp_path / "secret_key").write_text("x")
    if content is None:
        (tmp_path / "api_key").mkdir()
    else:
        (tmp_path / "api_key").write_bytes(content)
    with pytest.raises(UpstreamCredentialsRejected) as told:
        FileCredentials(tmp_path).read()
    assert (
        f"the key pair's files cannot be used: {says}"
        == told.value.message
        == redact(told.value.message)
    )
    library = LibrarySettings(credentials_dir=tmp_path)
    assert [
        f"libraries.shoes.credentials_dir: {tmp_path}: {told.value.message}; "
        "without it no call succeeds"
    ] == [*of_libraries(Settings(libraries={"shoes": library}, default_library="shoes"))]


@pytest.mark.parametrize("name", ["api_key", "secret_key"])
def test_missing_or_empty_files_are_a_clear_error(name: str, tmp_path: Path) -> None:
    """A missing, then an empty file of the pair: the operator's error, with no path in it."""
    other = ({"api_key", "secret_key"} - {name}).pop()
    (tmp_path / other).write_text("x")
    with pytest.raises(UpstreamCredentialsRejected, match="one of them is missing"):
        FileCredentials(tmp_path).read()
    library = LibrarySettings(credentials_dir=tmp_path)
    (told,) = of_libraries(Settings(libraries={"shoes": library}, default_library="shoes"))
    assert "No such file or directory" in redact(told)
    (tmp_path / name).write_text(" \n")
    with pytest.raises(UpstreamCredentialsRejected, match=f"{name} is empty"):
        FileCredentials(tmp_path).read()


_TLS_WORDS = "it does not speak TLS as it is spoken here"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("scheme", "host", "cause"),
    [
        ("http", "127.0.0.1:{free}", "127.0.0.1:{free}: connection refused"),
        ("http", "localhost:{free}", "localhost:{free}: connection refused"),
        ("https", "no-such-host.invalid", "no-such-host.invalid:443: this name is not known"),
        ("https", "127.0.0.1:{plain}", f"127.0.0.1:{{plain}}: {_TLS_WORDS}"),
        ("https", "localhost:{tls}", "localhost:{tls}: its certificate is refused: "),
    ],
)
async def test_the_log_says_why_there_is_no_connection(
    scheme: str,
    host: str,
    cause: str,
    upstream: FakeUpstream,
    tls_port: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Host and cause stand in the line of the log; the caller's message has neither."""
    ports = {"free": free_port(), "plain": upstream.url.rpartition(":")[2], "tls": tls_port}
    base_url = f"{scheme}://{host.format(**ports)}"
    issuer = TokenIssuer(base_url, None, FixedCredentials(PAIR))
    source = TokenSource(issuer, where="shoes")
    with pytest.raises(UpstreamUnavailable) as raised:
        await source.get(Deadline.after(10))
    issuer.close()
    (line,) = [record.message for record in caplog.records if "no new token" in record.message]
    assert line.startswith("shoes: no new token: the token endpoint ")
    assert f"({cause.format(**ports)}" in line
    assert "the-secret-key" not in caplog.text
    assert raised.value.message in line
    assert host.partition(":")[0] not in raised.value.message
    assert "refused" not in raised.value.message


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """Return the port of a server whose certificate nobody here trusts."""
    files = Certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server_certificate, files.server_key)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
