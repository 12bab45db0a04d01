"""One line connects: token, TLS, and errors that say what is known, with both kinds of channel."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import aio
from tests.clients.serving import Response, answer_all, drain, item, serving
from tests.interop.certificates import Certificates
from tests.ports import free_port

Request = v1.SearchImagesRequest


class _Seen:
    """Handlers that note each call's authorization."""

    def __init__(self) -> None:
        self.authorizations: list[str | bytes | None] = []

    def _note(self, context: grpc.ServicerContext) -> None:
        metadata = dict(context.invocation_metadata())
        self.authorizations.append(metadata.get("authorization"))

    def search(self, _: Request, context: grpc.ServicerContext) -> v1.SearchImagesResponse:
        """Answer a search."""
        self._note(context)
        return v1.SearchImagesResponse()

    def bulk(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Response]:
        """Answer a stream."""
        self._note(context)
        return answer_all(requests, context)


def _call(kind: str, target: str, **options: Any) -> None:
    """Make a search and a bulk add over a channel of that kind."""
    if kind == "sync":
        with v1.connect(target, **options) as channel:
            stub = v1.ProductSearchStub(channel)
            stub.SearchImages(Request())
            assert ["a"] == [result.key for result in v1.bulk_add(stub, [item("a")])]
        return

    async def run() -> None:
        async with aio.connect(target, **options) as channel:
            stub: Any = v1.ProductSearchStub(channel)
            await stub.SearchImages(Request())
            assert ["a"] == [result.key async for result in aio.bulk_add(stub, [item("a")])]

    asyncio.run(run())


KINDS = pytest.mark.parametrize("kind", ["sync", "asyncio"])


@KINDS
def test_a_token_goes_with_every_call(kind: str) -> None:
    """Unary calls and streams; a function is asked each time."""
    seen = _Seen()
    given = iter(("one", " two\n"))
    with serving(seen.bulk, seen.search) as target:
        _call(kind, target, token=lambda: next(given), tls=False)
        _call(kind, target, token="same", tls=False)
    assert ["Bearer one", "Bearer two", "Bearer same", "Bearer same"] == seen.authorizations


@KINDS
def test_tls_and_mutual_tls(kind: str, tmp_path: Path) -> None:
    """A TlsConfig of paths or bytes; a token alone turns TLS on and is not sent in plaintext."""
    files = Certificates(tmp_path)
    pair = [(files.server_key.read_bytes(), files.server_certificate.read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, files.authority.read_bytes(), True)
    seen = _Seen()
    own = {"cert": files.caller_certificate, "key": files.caller_key.read_bytes()}
    with serving(seen.bulk, seen.search, credentials) as target:
        local = target.replace("127.0.0.1", "localhost")
        _call(kind, local, tls=v1.TlsConfig(ca=str(files.authority), **own), token="t")
        assert ["Bearer t"] * 2 == seen.authorizations
        for refused in (v1.TlsConfig(ca=files.authority), True, None):
            with pytest.raises(grpc.RpcError) as raised:
                _call(kind, local, tls=refused, token="t")
            assert f"UNAVAILABLE: cannot reach {local}: " in str(raised.value)
    plain = _Seen()
    with serving(plain.bulk, plain.search) as target, pytest.raises(grpc.RpcError):
        _call(kind, target, token="secret")
    assert [] == plain.authorizations


@KINDS
def test_an_error_says_all_that_is_known(kind: str) -> None:
    """Reason, message, code, retry delay; it is a grpc.RpcError and outlives pickling."""
    with (
        serving(search=lambda _, context: drain(context)) as target,
        pytest.raises(grpc.RpcError) as raised,
    ):
        _call(kind, target, options=[("grpc.enable_retries", 0)])
    text = "SERVER_DRAINING: stopping (UNAVAILABLE, retry after 1 s)"
    error = raised.value
    assert isinstance(error, v1.ProductSearchError)
    assert text == str(error)
    assert (1.0, "SERVER_DRAINING") == (error.retry_delay_s, f"{error.reason}")
    assert v1.ErrorReason.SERVER_DRAINING == v1.reason_of(error)
    assert text == str(pickle.loads(pickle.dumps(error)))


@KINDS
def test_an_address_that_nobody_answers_is_named(kind: str) -> None:
    """UNAVAILABLE with the address and the cause."""
    target = f"127.0.0.1:{free_port()}"
    with pytest.raises(grpc.RpcError) as raised:
        _call(kind, target)
    assert str(raised.value).startswith(f"UNAVAILABLE: cannot reach {target}: ")
    assert "refused" in str(raised.value)
    assert grpc.StatusCode.UNAVAILABLE is raised.value.code()


def test_an_interceptor_in_front_gets_the_error_as_the_outcome() -> None:
    """As with gRPC's own errors: result() raises it; future() works too."""

    class Outcomes(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            """Note the outcome."""
            outcome = continuation(details, request)
            outcome.add_done_callback(lambda done: codes.append(done.code()))
            return outcome

    codes: list[grpc.StatusCode] = []
    with v1.connect(f"127.0.0.1:{free_port()}") as channel:
        stub = v1.ProductSearchStub(grpc.intercept_channel(channel, Outcomes()))
        with pytest.raises(v1.ProductSearchError):
            stub.DeleteImage(v1.DeleteImageRequest())
        future = v1.ProductSearchStub(channel).DeleteImage.future(v1.DeleteImageRequest())
        assert grpc.StatusCode.UNAVAILABLE is future.exception().code()
    assert [grpc.StatusCode.UNAVAILABLE] == codes


@pytest.mark.parametrize("token", ["", " ", "a\nb", "ü"])
def test_an_unusable_token_is_refused_without_being_told(token: str) -> None:
    """ValueError before any call; the text does not hold the token."""
    for connect in (v1.connect, aio.connect):
        with pytest.raises(ValueError, match="the token is empty") as raised:
            connect("127.0.0.1:1", token=token)
        assert not token.strip() or token not in str(raised.value)


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    """A certificate without its key, or the other way round; TLS said in two ways."""
    for half in ({"cert": b"c"}, {"key": b"k"}):
        with pytest.raises(ValueError, match="give both, or neither"):
            v1.TlsConfig(**half)  # type: ignore[arg-type]
    assert "secret" not in repr(v1.TlsConfig(cert=b"c", key=b"secret"))
    with pytest.raises(ValueError, match="two ways"):
        v1.connect("127.0.0.1:1", tls=True, credentials=grpc.ssl_channel_credentials())


def test_images_and_references(tmp_path: Path) -> None:
    """From a file, bytes, an address; by sign and by image."""
    file = tmp_path / "a.jpg"
    file.write_bytes(b"image")
    content = v1.ImageSource(content=b"image", fit=True)
    assert content == v1.image_from_file(file, fit=True) == v1.image_from_bytes(b"image", fit=True)
    assert v1.ImageSource(url="http://a/b") == v1.image_from_url("http://a/b")
    assert v1.ImageRef(cont_sign="1,2") == v1.ref_by_sign("1,2")
    assert v1.ImageRef(image=content) == v1.ref_by_image(content)


@pytest.mark.parametrize("connect", [v1.connect, aio.connect], ids=["sync", "asyncio"])
@pytest.mark.parametrize("scheme", ["http://", "HTTPS://", "grpc://"])
def test_an_address_of_the_web_is_refused(connect: Any, scheme: str) -> None:
    """Before anything is connected, with what to write."""
    with pytest.raises(ValueError, match="use host:port, without") as raised:
        connect(f"{scheme}127.0.0.1:50051")
    assert scheme.lower() in str(raised.value)


@pytest.mark.parametrize("target", ["dns:///localhost:{}", "ipv4:127.0.0.1:{}", "localhost:{}"])
def test_schemes_of_grpc_work(target: str) -> None:
    """They are gRPC's to read."""
    seen = _Seen()
    with serving(seen.bulk, seen.search) as address:
        _call("sync", target.format(address.partition(":")[2]))
    assert len(seen.authorizations) == 2


@pytest.mark.parametrize("connect", [v1.connect, aio.connect], ids=["sync", "asyncio"])
def test_a_file_is_no_tls(connect: Any) -> None:
    """It was taken as true, and the file was not read."""
    with pytest.raises(TypeError, match=r"TlsConfig\(ca='ca.pem'\)"):
        connect("127.0.0.1:1", tls="ca.pem")
