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


DATES = {"ended": {"hours_ago": 48}, "not valid yet": {"hours_ago": -48}}


@pytest.mark.parametrize("dates", DATES.values(), ids=DATES)
def test_a_certificate_that_is_not_valid_does_not_replace_one_that_is(
    dates: dict[str, int], server: ServerFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The one before is shown on, the file counts as broken, and one line says why and what to do;
    a valid pair is taken after that."""
    authority = Authority()
    files = ServerFiles(tmp_path / "tls", authority)
    port = server(tls_poll_s=0.02, **files.settings(mutual=False)).port
    good = files.serial
    files.swap(authority.issue(dns=["localhost"], **dates))  # type: ignore[arg-type]
    until(lambda: "stays as it was" in caplog.text, "a line")
    assert good == shown_serial(port)
    told = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert 1 == len(told)
    assert str(files.directory / "tls.crt") in told[0]
    assert "put a valid one in its place" in told[0]
    files.swap()
    until(lambda: shown_serial(port) == files.serial, "the valid one")


def test_a_certificate_that_has_ended_is_taken_where_there_is_no_better_one(
    server: ServerFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, with a warning; and over another one that has ended."""
    authority = Authority()
    files = ServerFiles(tmp_path / "tls", authority)
    files.swap(authority.issue(dns=["localhost"], hours_ago=48))
    port = server(tls_poll_s=0.02, **files.settings(mutual=False)).port
    assert files.serial == shown_serial(port)
    assert "tls_cert_file: a certificate ended 2 days ago" in caplog.text
    files.swap(authority.issue(dns=["localhost"], hours_ago=24))
    until(lambda: shown_serial(port) == files.serial, "the other one")


def test_a_callers_ca_that_has_ended_does_not_replace_a_valid_one(
    server: ServerFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of several in the file one that is valid is enough."""
    authority, other = Authority(), Authority("other")
    files = ServerFiles(tmp_path / "tls", authority)
    port = server(tls_poll_s=0.02, **files.settings()).port
    ended = other.issue(hours_ago=48).certificate
    (files.directory / "ca.crt").write_bytes(ended)
    until(lambda: "no certificate in it is valid now" in caplog.text, "a line")
    client = authority.issue(dns=["caller.example"])
    with secure_channel(port, authority.pem, client) as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        assert OK == outcome(lambda: search(SEARCH, timeout=10))
    (files.directory / "ca.crt").write_bytes(ended + other.pem)

    def now() -> object:
        with secure_channel(port, authority.pem, other.issue(dns=["caller.example"])) as channel:
            return outcome(lambda: v1.ProductSearchStub(channel).SearchImages(SEARCH, timeout=10))

    until(lambda: now() == OK, "the other CA is in use")


def test_certificates_swapped_under_load() -> None:
    """No RPC fails, on old connections and new ones, and each new certificate is seen."""
    size = certificates.Size(seconds=10, seen_within_s=math.inf)
    assert_kept(certificates.measures(size))
