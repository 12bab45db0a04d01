"""Requests go to the upstream that the settings name, over verified TLS, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import trustme

from demo.facade import Facade
from productsearch import v1
from productsearch.v1 import ErrorReason
from productsearch_service.call_context import Deadline
from productsearch_service.upstream.http.failure import TransportFailure
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedText
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream
from tests.pictures import jpeg
from tests.secrets.tls_host import TlsHost, issued, self_signed, trap

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()
SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")

BAD_CERTIFICATES: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "self-signed": self_signed,
    "of a stranger's authority": lambda: issued(STRANGER),
    "expired": lambda: issued(AUTHORITY, days=-1),
    "of another host": lambda: issued(AUTHORITY, "upstream.example"),
    "of another address": lambda: issued(AUTHORITY, "127.0.0.2"),
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a CA bundle with the authority in it."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    return file


@pytest.mark.parametrize("case", BAD_CERTIFICATES)
def test_a_bad_certificate_gets_no_byte_of_a_request(
    case: str, bundle: Path, tmp_path: Path, facade: FacadeFactory
) -> None:
    """UPSTREAM_UNAVAILABLE for the caller; the host saw a handshake and nothing after it."""
    with TlsHost(BAD_CERTIFICATES[case](), tmp_path) as host:
        stub = facade({"base_url": host.url, "ca_bundle": str(bundle)})
        with pytest.raises(grpc.RpcError) as caught:
            stub.SearchImages(SEARCH, timeout=10)
        assert ErrorReason.UPSTREAM_UNAVAILABLE == v1.reason_of(caught.value)
        assert "TLS" in str(caught.value)
        assert host.connections > 0
        assert 0 == host.heard_bytes


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [0, 1_000, 4_000_000])
@pytest.mark.parametrize("case", BAD_CERTIFICATES)
async def test_a_bad_certificate_gets_no_byte_of_a_call(
    case: str, size: int, bundle: Path, tmp_path: Path
) -> None:
    """The four calls, of any size, have an HTTP client of their own: it refuses the same hosts."""
    with TlsHost(BAD_CERTIFICATES[case](), tmp_path) as host:
        for trusted in (bundle, None):
            transport = Transport(host.url, trusted)
            for _ in range(2):
                query = MaskedText("?access_token=24.secret")
                with pytest.raises(TransportFailure) as caught:
                    await transport.post("/add", query, (bytes(size),), Deadline.after(10))
                assert ("failed TLS verification", False, False) == (
                    caught.value.what,
                    caught.value.maybe_done,
                    caught.value.stale,
                )
            await transport.close()
        assert (4, 0) == (host.connections, host.heard_bytes)


def test_a_certificate_that_goes_bad_gets_no_byte_of_a_call(
    bundle: Path, tmp_path: Path, facade: FacadeFactory
) -> None:
    """The token was fetched from the good host, and the calls meet another certificate there."""
    for case, make in BAD_CERTIFICATES.items():
        with TlsHost(issued(AUTHORITY), tmp_path) as host:
            stub = facade({"base_url": host.url, "ca_bundle": str(bundle)})
            host.then_certificate(make())
            with pytest.raises(grpc.RpcError) as caught:
                stub.SearchImages(SEARCH, timeout=10)
            assert ErrorReason.UPSTREAM_UNAVAILABLE == v1.reason_of(caught.value), case
            assert "TLS" in str(caught.value)
            assert ["token"] == [request.method for request in host.fake.received]
            assert host.connections > 1


def test_a_good_certificate_gets_token_request_and_search(
    bundle: Path, tmp_path: Path, facade: FacadeFactory
) -> None:
    """With ca_bundle, the whole way works over TLS."""
    with TlsHost(issued(AUTHORITY), tmp_path) as host:
        response = facade({"base_url": host.url, "ca_bundle": str(bundle)}).SearchImages(SEARCH)
        assert ["1,2"] == [result.cont_sign for result in response.results]
        assert ["token", "search"] == [request.method for request in host.fake.received]
        assert host.fake.calls[0].token.startswith("24.token-")


def test_without_ca_bundle_only_public_authorities_are_trusted(
    bundle: Path, tmp_path: Path, facade: FacadeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good certificate of a private authority is refused, though the environment trusts it."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(bundle))
    with TlsHost(issued(AUTHORITY), tmp_path) as host:
        with pytest.raises(grpc.RpcError):
            facade({"base_url": host.url}).SearchImages(SEARCH, timeout=10)
        assert host.connections > 0
        assert 0 == host.heard_bytes


@pytest.mark.parametrize("method", ["token", "search"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    status: int,
    method: str,
    bundle: Path,
    tmp_path: Path,
    facade: FacadeFactory,
    upstream: FakeUpstream,
) -> None:
    """Wherever the upstream points to, nothing is sent there, and the call fails."""
    with TlsHost(issued(AUTHORITY), tmp_path) as host:
        host.redirects[method] = f"{status} Elsewhere\r\nLocation: {upstream.url}/?access_token=x"
        host.fake.always(method, [])
        stub = facade({"base_url": host.url, "ca_bundle": str(bundle)})
        with pytest.raises(grpc.RpcError):
            stub.SearchImages(SEARCH, timeout=10)
        assert method in [request.method for request in host.fake.received]
        assert [] == upstream.received


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_environment_diverts_nothing(
    scheme: str, bundle: Path, tmp_path: Path, upstream: FakeUpstream
) -> None:
    """Proxies, a CA bundle and ``.netrc`` of the environment are as if they were not there."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password something\n")
    with TlsHost(issued(AUTHORITY), tmp_path) as host, trap() as proxy:
        environment = dict.fromkeys(PROXIES, f"http://{proxy.address}")
        environment |= {"NO_PROXY": "", "no_proxy": "", "HOME": str(tmp_path)}
        environment |= {"NETRC": str(tmp_path / ".netrc"), "PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
        environment |= dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "/no/such/file")
        told = upstream if scheme == "http" else host.fake
        if scheme == "https":
            environment["PRODUCTSEARCH_LIBRARIES__DEFAULT__CA_BUNDLE"] = str(bundle)
        url = upstream.url if scheme == "http" else host.url
        with (
            Facade(tmp_path, url, {"default": ("k", "s")}, environment=environment) as running,
            v1.connect(running.url) as channel,
        ):
            response = v1.ProductSearchStub(channel).SearchImages(SEARCH, timeout=10)
        assert 1 == len(response.results)
        assert ["token", "search"] == [request.method for request in told.received]
        assert 0 == proxy.connections
        assert not any("Authorization" in request.headers for request in told.received)
