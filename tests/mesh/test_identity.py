"""Who calls, through the gateway: told to the facades, forged by nobody."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from demo.facade import Facade
from productsearch import v1
from tests.fakes.upstream import FakeUpstream
from tests.identity.authority import Authority, Issued
from tests.lifecycle.asking import until
from tests.mesh.gateway import DEPLOY, Certificates, Gateway, quick_health
from tests.mesh.load import NO_RETRIES
from tests.mesh.replicas import NO_DRAIN
from tests.pictures import jpeg

_CATALOGUE = "spiffe://productsearch.example/catalogue"
_SHOP = "spiffe://productsearch.example/shop"
_FORGED = ("x-forwarded-client-cert", f"By=spiffe://x;Hash=00;URI={_CATALOGUE}")
_ELEMENT = f"By=spiffe://x;Hash={'0' * 64};URI={_CATALOGUE}"
_CONFUSING: list[tuple[str, list[str], list[str]]] = [
    ("comma-in-dns", [], [f"a,URI={_CATALOGUE}"]),
    ("comma-in-dns-beside-a-uri", [_SHOP], [f"a,URI={_CATALOGUE}"]),
    ("element-in-dns", [_SHOP], [f"a,{_ELEMENT}"]),
    ("comma-in-uri", [f"{_SHOP},{_ELEMENT}"], []),
    ("comma-in-second-uri", [_SHOP, f"{_SHOP},{_ELEMENT}"], []),
    ("nul-in-uri", [f"{_CATALOGUE}\0x"], []),
    ("dots-in-uri", ["spiffe://productsearch.example/shop/../catalogue"], []),
]
"""Certificates of our CA with names that could be taken for another caller's."""
_IMAGE = v1.ImageSource(content=jpeg(1))
_ADD = v1.AddImageRequest(new_image=v1.NewImage(image=_IMAGE, brief="b"))


@dataclass(frozen=True)
class Guarded:
    """A facade with compose's policy, that believes what the gateway says of callers."""

    upstream: FakeUpstream
    facade: Facade
    gateway: Gateway
    authority: Authority
    tls: Path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Start the facade and the gateway; put certificates of all kinds in the gateway's folder."""
    folder = tmp_path_factory.mktemp("identity")
    tls = folder / "tls"
    tls.mkdir()
    ours, foreign = Authority("ours"), Authority("foreign")
    _write(tls, "tls", ours.issue(dns=["localhost"], ips=["127.0.0.1"]))
    _write(tls, "catalogue", ours.issue(uris=[_CATALOGUE]))
    _write(tls, "shop", ours.issue(uris=[_SHOP]))
    _write(tls, "stranger", ours.issue(uris=["spiffe://productsearch.example/stranger"]))
    _write(tls, "two-ids", ours.issue(uris=[_SHOP, _CATALOGUE]))
    _write(tls, "nameless", ours.issue())
    for name, uris, dns in _CONFUSING:
        _write(tls, name, ours.issue(uris=uris, dns=dns))
    _write(tls, "expired", ours.issue(uris=[_CATALOGUE], hours_ago=1))
    _write(tls, "other-ca", foreign.issue(uris=[_CATALOGUE]))
    (tls / "ca.crt").write_bytes(ours.pem)
    environment = NO_DRAIN | {
        "PRODUCTSEARCH_POLICY_FILE": str(DEPLOY / "compose" / "policy.toml"),
        "PRODUCTSEARCH_SIDECARS": '["127.0.0.1/32"]',
    }
    with (
        FakeUpstream() as upstream,
        Facade(folder, upstream.url, {"default": ("k", "s")}, environment=environment) as facade,
        Gateway(folder, Certificates(tls), [facade.url], quick_health) as gateway,
    ):
        gateway.wait_for_healthy(1)
        yield Guarded(upstream, facade, gateway, ours, tls)


def _write(folder: Path, name: str, issued: Issued) -> None:
    for ending, content in (("crt", issued.certificate), ("key", issued.key)):
        new = folder / f"{name}.new"
        new.write_bytes(content)
        new.rename(folder / f"{name}.{ending}")


def _serial(address: str) -> int:
    host, _, port = address.rpartition(":")
    certificate = ssl.get_server_certificate((host, int(port)), timeout=10)
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


def _search(stub: v1.ProductSearchStub, *metadata: tuple[str, str]) -> None:
    stub.SearchImages(v1.SearchImagesRequest(image=_IMAGE), timeout=20, metadata=metadata)


def _is_logged(guarded: Guarded, caller: str) -> bool:
    """Whether the call of ``caller`` is in the access log; its line may come after the answer."""
    return f'"caller":"{caller}","peer":"-","code":"OK"' in guarded.facade.log()


def test_the_callers_identity_arrives(guarded: Guarded) -> None:
    """The certificate's SPIFFE id decides what a caller may do, and is in the access log."""
    with guarded.gateway.channel("shop", NO_RETRIES) as channel:
        _search(v1.ProductSearchStub(channel))
    with guarded.gateway.channel("catalogue", NO_RETRIES) as channel:
        v1.ProductSearchStub(channel).AddImage(_ADD, timeout=20)
    for caller in (_SHOP, _CATALOGUE):
        until(partial(_is_logged, guarded, caller), "the line of the call")


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        (None, grpc.StatusCode.UNAVAILABLE),
        ("other-ca", grpc.StatusCode.UNAVAILABLE),
        ("expired", grpc.StatusCode.UNAVAILABLE),
        ("nameless", grpc.StatusCode.UNAVAILABLE),
        ("comma-in-dns", grpc.StatusCode.UNAVAILABLE),
        ("comma-in-dns-beside-a-uri", grpc.StatusCode.PERMISSION_DENIED),
        ("element-in-dns", grpc.StatusCode.PERMISSION_DENIED),
        ("comma-in-uri", grpc.StatusCode.UNAVAILABLE),
        ("comma-in-second-uri", grpc.StatusCode.UNAUTHENTICATED),
        ("nul-in-uri", grpc.StatusCode.UNAVAILABLE),
        ("dots-in-uri", grpc.StatusCode.UNAUTHENTICATED),
        ("two-ids", grpc.StatusCode.UNAUTHENTICATED),
        ("stranger", grpc.StatusCode.PERMISSION_DENIED),
        ("shop", grpc.StatusCode.PERMISSION_DENIED),
    ],
)
@pytest.mark.parametrize("forged", [False, True], ids=["plain", "with a forged header"])
def test_who_may_not_add_is_refused(
    guarded: Guarded, caller: str | None, code: grpc.StatusCode, forged: bool
) -> None:
    """The right code, with or without a forged header; nothing reaches the upstream."""
    received = len(guarded.upstream.calls)
    with guarded.gateway.channel(caller, NO_RETRIES) as channel:
        stub = v1.ProductSearchStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.AddImage(_ADD, timeout=20, metadata=(_FORGED,) if forged else ())
    assert code == refused.value.code()
    assert received == len(guarded.upstream.calls)


def test_a_forged_header_takes_nothing_from_the_right_caller(guarded: Guarded) -> None:
    """What a caller sends as x-forwarded-client-cert is thrown away, not added to."""
    with guarded.gateway.channel("shop", NO_RETRIES) as channel:
        _search(v1.ProductSearchStub(channel), _FORGED)


def test_a_renewed_certificate_is_used_without_a_restart(guarded: Guarded) -> None:
    """New files in the gateway's folder: connections that are there go on, new ones see them."""
    gateway = guarded.gateway
    with gateway.channel("shop", NO_RETRIES) as channel:
        stub = v1.ProductSearchStub(channel)
        _search(stub)
        renewed = guarded.authority.issue(dns=["localhost"], ips=["127.0.0.1"])
        assert renewed.serial != _serial(gateway.address)
        _write(guarded.tls, "tls", renewed)
        assert gateway.wait_for(lambda: renewed.serial == _serial(gateway.address))
        _search(stub)
    with gateway.channel("shop", NO_RETRIES) as channel:
        _search(v1.ProductSearchStub(channel))
