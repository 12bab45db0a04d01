"""Who is refused, and how: nothing of a refused call reaches the upstream, not even for a token."""

from __future__ import annotations

import hashlib
import socket
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason as R
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream
from tests.identity.authority import Authority, Issued, ServerFiles, secure_channel
from tests.pictures import jpeg

C = grpc.StatusCode
SHOP, ROBOT = "spiffe://mesh.example/ns/shop/sa/web", "robot.jobs.example"
SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
DELETE = v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"))
LOCAL = ["127.0.0.0/8"]
XFCC = "x-forwarded-client-cert"
POLICY = f"""
[callers."{SHOP}"]
share = 3
[callers.batch]
token_sha256 = ["{hashlib.sha256(b"the-batch-token").hexdigest()}"]
[[rules]]
callers = ["spiffe://mesh.example/ns/shop/*", "*.jobs.example", "batch"]
libraries = ["default"]
methods = ["Search*"]
"""

Outcome = tuple[C, R.ValueType | None]
OK: Outcome = (C.OK, None)
STRANGER: Outcome = (C.UNAUTHENTICATED, R.CALLER_UNAUTHENTICATED)
FORBIDDEN: Outcome = (C.PERMISSION_DENIED, R.CALLER_FORBIDDEN)
NO_HANDSHAKE: Outcome = (C.UNAVAILABLE, None)


def outcome(call: Callable[[], Any]) -> Outcome:
    """Return the code and reason that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), v1.reason_of(error)
    return OK


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Return the CA that the service trusts."""
    return Authority()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Return the policy file of all these tests."""
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def port(server: ServerFactory, authority: Authority, policy: Path, tmp_path: Path) -> int:
    """Return the port of a service with mTLS and the policy; sidecars are on this machine."""
    files = ServerFiles(tmp_path / "tls", authority)
    return server(policy_file=policy, sidecars=LOCAL, **files.settings()).port


_NS = "spiffe://mesh.example/ns/"
CERTIFICATES: dict[str, tuple[Callable[[Authority], Issued | None], Outcome]] = {
    "right SPIFFE id": (lambda ca: ca.issue(uris=[SHOP]), OK),
    "right DNS name": (lambda ca: ca.issue(dns=[ROBOT]), OK),
    "a DNS name and a URI that is no SPIFFE id": (
        lambda ca: ca.issue(uris=["https://shop.example"], dns=[ROBOT]),
        OK,
    ),
    "no certificate": (lambda ca: None, NO_HANDSHAKE),
    "wrong CA": (lambda ca: Authority("other").issue(uris=[SHOP]), NO_HANDSHAKE),
    "wrong CA of the same name": (lambda ca: Authority().issue(uris=[SHOP]), NO_HANDSHAKE),
    "expired": (lambda ca: ca.issue(uris=[SHOP], hours_ago=1), NO_HANDSHAKE),
    "SPIFFE id not in the policy": (lambda ca: ca.issue(uris=[_NS + "other"]), FORBIDDEN),
    "DNS name not in the policy": (lambda ca: ca.issue(dns=["jobs.example"]), FORBIDDEN),
    "only its second DNS name is in the policy": (
        lambda ca: ca.issue(dns=["other.example", ROBOT]),
        FORBIDDEN,
    ),
    "two SPIFFE ids": (lambda ca: ca.issue(uris=[SHOP, _NS + "shop/sa/two"]), STRANGER),
    "a SPIFFE id and another URI": (
        lambda ca: ca.issue(uris=[SHOP, "https://shop.example"]),
        STRANGER,
    ),
    "a broken SPIFFE id and a good DNS name": (
        lambda ca: ca.issue(uris=[_NS + "shop/%61"], dns=[ROBOT]),
        STRANGER,
    ),
    "a NUL after a good SPIFFE id": (lambda ca: ca.issue(uris=[f"{SHOP}\0x"]), STRANGER),
    "a NUL and the good id again": (lambda ca: ca.issue(uris=[f"{SHOP}\0\x06{SHOP}"]), STRANGER),
    "a NUL after a good DNS name": (lambda ca: ca.issue(dns=[f"{ROBOT}\0.evil"]), STRANGER),
    "only a NUL": (lambda ca: ca.issue(uris=["\0"], dns=["\0"]), STRANGER),
    "a SPIFFE id with an upper-case trust domain": (
        lambda ca: ca.issue(uris=[SHOP.replace("mesh", "Mesh")]),
        STRANGER,
    ),
    "a SPIFFE id with an upper-case scheme": (
        lambda ca: ca.issue(uris=[SHOP.replace("spiffe", "SPIFFE")]),
        STRANGER,
    ),
    **{
        f"a SPIFFE id that ends with {end!r}": (
            lambda ca, end=end: ca.issue(uris=[f"{_NS}shop/{end}"]),
            STRANGER,
        )
        for end in ("../other", "./web", "..", ".", "", "a//b", "a,b", "a;b", "a=b", 'a"b', "a\tb")
    },
    "dots that are no path segment of their own": (
        lambda ca: ca.issue(uris=[_NS + "shop/...a/.b/c."]),
        OK,
    ),
    **{
        f"DNS name {name!r}": (lambda ca, name=name: ca.issue(dns=[name]), STRANGER)
        for name in (
            "Robot.jobs.example",
            "a_b.jobs.example",
            "-a.jobs.example",
            "a-.jobs.example",
            "a..jobs.example",
            ".jobs.example",
            f"a,URI={SHOP}",
            "a b.jobs.example",
            f"{'a' * 64}.jobs.example",
            f"{'a.' * 125}jobs.example",
        )
    },
    "a wildcard": (lambda ca: ca.issue(dns=["*.jobs.example"]), STRANGER),
    "no name": (lambda ca: ca.issue(), STRANGER),
}


@pytest.mark.parametrize(("issue", "expected"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_certificates(
    port: int,
    authority: Authority,
    upstream: FakeUpstream,
    issue: Callable[[Authority], Issued | None],
    expected: Outcome,
) -> None:
    """A caller is the one name in its certificate, or it is refused."""
    with secure_channel(port, authority.pem, issue(authority)) as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        assert expected == outcome(lambda: search(SEARCH, timeout=10))
    assert (expected == OK) == bool(upstream.received)


def test_a_certificate_counts_more_than_what_comes_with_it(
    port: int, authority: Authority, upstream: FakeUpstream
) -> None:
    """A forged header or a good bearer token does not better a certificate, even from here."""
    stranger = authority.issue(uris=["spiffe://mesh.example/ns/other"])
    for metadata in (
        ((XFCC, f"URI={SHOP}"),),
        (("authorization", "Bearer the-batch-token"),),
    ):
        with secure_channel(port, authority.pem, stranger) as channel:
            search = v1.ProductSearchStub(channel).SearchImages
            assert FORBIDDEN == outcome(lambda s=search, m=metadata: s(SEARCH, metadata=m))
    assert [] == upstream.received


def test_the_right_caller_with_the_wrong_call(
    port: int, authority: Authority, upstream: FakeUpstream
) -> None:
    """Another method or library is refused, unary and bulk; a library that is not there too."""
    item = v1.BulkAddImagesRequest.Item(key="k", new_image=v1.NewImage(image=SEARCH.image))
    bulk = [v1.BulkAddImagesRequest(item=item)]
    with secure_channel(port, authority.pem, authority.issue(uris=[SHOP])) as channel:
        stub = v1.ProductSearchStub(channel)
        elsewhere = v1.SearchImagesRequest(image=SEARCH.image, library="not-there")
        assert FORBIDDEN == outcome(lambda: stub.DeleteImage(DELETE))
        assert FORBIDDEN == outcome(lambda: stub.SearchImages(elsewhere))
        assert FORBIDDEN == outcome(lambda: list(stub.BulkAddImages(iter(bulk))))
    assert [] == upstream.received


def test_tls_1_1_and_plaintext_get_no_answer(
    server: ServerFactory, authority: Authority, tmp_path: Path, upstream: FakeUpstream
) -> None:
    """The oldest version that is spoken is TLS 1.2."""
    files = ServerFiles(tmp_path / "tls", authority)
    port = server(**files.settings(mutual=False)).port

    def handshake(version: ssl.TLSVersion) -> str:
        context = ssl.create_default_context(cadata=authority.pem.decode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", port)) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                    return wrapped.version() or ""
            except (ssl.SSLError, ConnectionError):
                return "refused"

    assert "refused" == handshake(ssl.TLSVersion.TLSv1_1)
    assert "TLSv1.2" == handshake(ssl.TLSVersion.TLSv1_2)
    assert "TLSv1.3" == handshake(ssl.TLSVersion.TLSv1_3)
    with v1.connect(f"127.0.0.1:{port}") as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        assert NO_HANDSHAKE == outcome(lambda: search(SEARCH, timeout=10))
    assert [] == upstream.received


HEADERS = {
    "the sidecar's word": (f'By=spiffe://x/y;Hash=00;Subject="CN=a,b;c";URI={SHOP}', OK),
    "DNS names beside it": (f"Hash=00;URI={SHOP};DNS=a.example;DNS=b.example", OK),
    "by DNS": (f"Hash=00;URI=;DNS={ROBOT};DNS=other.example", STRANGER),
    "a DNS name with a comma": (f"Hash=00;URI=;DNS=a,URI={SHOP}", STRANGER),
    "a DNS name with a comma beside a URI": (
        f"By=spiffe://x/y;Hash=00;URI=spiffe://mesh.example/x;DNS=a,URI={SHOP}",
        STRANGER,
    ),
    "a DNS name that reads like a whole element": (
        f"Hash=00;URI=spiffe://mesh.example/x;DNS=a,By=spiffe://x/y;Hash=11;URI={SHOP}",
        STRANGER,
    ),
    "an element without a URI before": (f"Hash=00;URI=,URI={SHOP}", STRANGER),
    "a path segment of dots": ("URI=spiffe://mesh.example/ns/shop/../x", STRANGER),
    "upper case": (f"URI={SHOP.replace('mesh', 'Mesh')}", STRANGER),
    "the last element counts": (f"URI=spiffe://mesh.example/ns/other,URI={SHOP}", OK),
    "keys in any case": (f"uri={SHOP}", OK),
    "an earlier element does not count": (f"URI={SHOP},URI=spiffe://mesh.example/x", FORBIDDEN),
    "an element inside quotes is none": (
        f'URI=spiffe://mesh.example/x;Subject=",URI={SHOP}"',
        FORBIDDEN,
    ),
    "two SPIFFE ids": (f"URI={SHOP};URI=spiffe://mesh.example/ns/shop/sa/two", STRANGER),
    "no name": ('Hash=00;Subject="CN=web"', STRANGER),
    "no pairs": ("nonsense", STRANGER),
    "empty": ("", STRANGER),
    "an open quote": (f'Subject="CN=web;URI={SHOP}', STRANGER),
    "malformed before the last": (f"nonsense,URI={SHOP}", STRANGER),
    "a comma at the end": (f"URI={SHOP},", STRANGER),
    "no SPIFFE id": ("URI=spiffe://mesh.example/ns/shop/a b code=OK", STRANGER),
}


@pytest.mark.parametrize(("header", "expected"), HEADERS.values(), ids=HEADERS)
def test_the_word_of_a_sidecar(
    server: ServerFactory,
    policy: Path,
    upstream: FakeUpstream,
    header: str,
    expected: Outcome,
) -> None:
    """From a sidecar's address the last element names the caller; what is malformed is refused."""
    with v1.connect(f"127.0.0.1:{server(policy_file=policy, sidecars=LOCAL).port}") as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        assert expected == outcome(lambda: search(SEARCH, metadata=((XFCC, header),)))
    assert (expected == OK) == bool(upstream.received)


def test_headers_that_come_twice_are_one_list(
    server: ServerFactory, policy: Path, upstream: FakeUpstream
) -> None:
    """The header that came last counts, as it does in HTTP."""
    with v1.connect(f"127.0.0.1:{server(policy_file=policy, sidecars=LOCAL).port}") as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        stranger = (XFCC, "URI=spiffe://mesh.example/x")
        told = ((XFCC, f"URI={SHOP}"), stranger)
        assert FORBIDDEN == outcome(lambda: search(SEARCH, metadata=told))
        assert OK == outcome(lambda: search(SEARCH, metadata=told[::-1]))


@pytest.mark.parametrize("sidecars", [[], ["10.0.0.0/8"], ["::1/128"]])
def test_the_word_of_anyone_else(
    server: ServerFactory, policy: Path, upstream: FakeUpstream, sidecars: list[str]
) -> None:
    """From any other address the header is as if it were not there."""
    with v1.connect(f"127.0.0.1:{server(policy_file=policy, sidecars=sidecars).port}") as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        forged = (XFCC, f"URI={SHOP}")
        assert STRANGER == outcome(lambda: search(SEARCH, metadata=(forged,)))
        assert [] == upstream.received
        bearer = ("authorization", "Bearer the-batch-token")
        assert OK == outcome(lambda: search(SEARCH, metadata=(forged, bearer)))


BEARERS = {
    "right": (("Bearer the-batch-token",), OK),
    "the scheme in lower case": (("bearer the-batch-token",), OK),
    "wrong": (("Bearer the-other-token",), STRANGER),
    "another scheme": (("Basic the-batch-token",), STRANGER),
    "the digest is not the token": (
        (f"Bearer {hashlib.sha256(b'the-batch-token').hexdigest()}",),
        STRANGER,
    ),
    "empty": (("Bearer ",), STRANGER),
    "none": ((), STRANGER),
    "twice": (("Bearer the-batch-token", "Bearer the-other-token"), STRANGER),
}


@pytest.mark.parametrize(("tokens", "expected"), BEARERS.values(), ids=BEARERS)
def test_bearer_tokens(
    server: ServerFactory,
    policy: Path,
    upstream: FakeUpstream,
    tokens: tuple[str, ...],
    expected: Outcome,
) -> None:
    """One token whose SHA-256 the policy holds names a caller; anything else nobody."""
    with v1.connect(f"127.0.0.1:{server(policy_file=policy).port}") as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        metadata = tuple(("authorization", token) for token in tokens)
        assert expected == outcome(lambda: search(SEARCH, metadata=metadata))
    assert (expected == OK) == bool(upstream.received)
