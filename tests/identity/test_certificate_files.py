"""Certificates from files: replaced without a restart, and the old ones kept while new are bad."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from productsearch import v1
from tests.conftest import ServerFactory
from tests.identity.authority import Authority, Issued, ServerFiles, secure_channel, shown_serial
from tests.identity.test_refusals import NO_HANDSHAKE, OK, SEARCH, outcome
from tests.lifecycle.asking import until
from tests.soak import certificates
from tests.soak.measures import assert_kept


def _not_the_key(issued: Issued) -> Issued:
    return Issued(issued.certificate, Authority().issue().key, 0)


BROKEN: dict[str, tuple[Callable[[Issued], Issued], str]] = {
    "another key": (_not_the_key, "is not the key of"),
    "no certificate": (lambda i: Issued(b"", i.key, 0), "holds no PEM certificate"),
    "no key": (lambda i: Issued(i.certificate, b"", 0), "holds no PEM private key"),
    "half a certificate": (lambda i: Issued(i.certificate[:300], i.key, 0), "damaged"),
    "an encrypted key": (
        lambda i: Issued(i.certificate, i.key.replace(b"PRIVATE", b"ENCRYPTED PRIVATE"), 0),
        "only an unencrypted key",
    ),
}


def test_certificates_are_replaced_as_the_files_change(
    server: ServerFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A swap of the link, an edit in place; whatever is broken keeps the old one, told once."""
    authority = Authority()
    files = ServerFiles(tmp_path / "tls", authority)
    caplog.set_level(logging.INFO)
    port = server(tls_poll_s=0.02, **files.settings(mutual=False)).port
    assert files.serial == shown_serial(port)
    for broken, says in BROKEN.values():
        good = files.serial
        files.swap(broken(authority.issue(dns=["localhost"])))
        until(lambda text=says: text in caplog.text, says)  # type: ignore[misc]
        assert good == shown_serial(port)
        files.swap()
        until(lambda: shown_serial(port) == files.serial, "the swapped certificate")
    for _, says in BROKEN.values():
        assert 1 == caplog.text.count(says), says
    edited = authority.issue(dns=["localhost"])  # files that are written may be seen half written
    (files.directory / "tls.crt").write_bytes(edited.certificate)
    (files.directory / "tls.key").write_bytes(edited.key)
    until(lambda: shown_serial(port) == edited.serial, "the edited certificate")
    (files.directory / "tls.key").unlink()
    until(lambda: "No such file" in caplog.text, "told that it is gone")
    assert edited.serial == shown_serial(port)
    assert "PRIVATE KEY-----" not in caplog.text


def test_the_callers_ca_is_replaced_too(server: ServerFactory, tmp_path: Path) -> None:
    """With another CA, its callers get in and those of the old one do not."""
    old, new = Authority("old"), Authority("new")
    files = ServerFiles(tmp_path / "tls", old)
    port = server(tls_poll_s=0.02, **files.settings()).port

    def now(authority: Authority) -> object:
        client = authority.issue(dns=["caller.example"])
        with secure_channel(port, old.pem, client) as channel:
            return outcome(lambda: v1.ProductSearchStub(channel).SearchImages(SEARCH, timeout=10))

    assert (OK, NO_HANDSHAKE) == (now(old), now(new))
    (files.directory / "ca.crt").write_bytes(new.pem)
    until(lambda: now(new) == OK, "the new CA is in use")
    assert NO_HANDSHAKE == now(old)


def test_certificates_swapped_under_load() -> None:
    """No RPC fails, on old connections and new ones, and each new certificate is seen."""
    size = certificates.Size(seconds=10, seen_within_s=math.inf)
    assert_kept(certificates.measures(size))
