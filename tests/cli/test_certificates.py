"""Certificates that do not fit: the command line names what is wrong, and no wrong remedy."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from google.rpc import error_details_pb2, status_pb2

from productsearch.cli.certificates import validity
from productsearch.cli.profile import Profile, in_use
from productsearch.cli.rpc_failures import failure_of
from productsearch.cli.targets import stays_unreached, unreached
from productsearch.v1 import ProductSearchError
from productsearch.v1.errors import DETAILS_KEY
from tests.cli.conftest import Cli

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
LONG_AGO = (NOW - 9 * DAY, NOW - 2 * DAY)
TO_COME = (NOW + 2 * DAY, NOW + 9 * DAY)


class Authority:
    """An authority that writes certificates and keys into a folder."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.folder = folder
        folder.mkdir()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, valid: tuple[datetime.datetime, ...] = ()) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        dates = dict(zip(("not_before", "not_after"), valid, strict=False))
        leaf = self._ca.issue_cert("127.0.0.1", **dates)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        leaf.cert_chain_pems[0].write_to_path(str(cert))
        leaf.private_key_pem.write_to_path(str(key))
        return cert, key


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    """Return the authority of service and callers."""
    return Authority(tmp_path / "ours")


@contextmanager
def serving(own: tuple[Path, Path], callers: Path | None = None) -> Iterator[str]:
    """Yield the address of a gRPC server; with ``callers`` it demands their certificates."""
    cert, key = own
    server = grpc.server(ThreadPoolExecutor(1))
    trusted = callers.read_bytes() if callers else None
    pair = [(key.read_bytes(), cert.read_bytes())]
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials(pair, trusted, callers is not None)
    )
    with ExitStack() as until:
        until.callback(lambda: server.stop(None).wait())
        server.start()
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("valid", "told"),
    [
        (LONG_AGO, f"its certificate ended {LONG_AGO[1]:%Y-%m-%d %H:%M} UTC"),
        (TO_COME, f"its certificate is not valid before {TO_COME[0]:%Y-%m-%d %H:%M} UTC"),
    ],
)
def test_when_the_services_certificate_ended(
    cli: Cli, ours: Authority, valid: tuple[datetime.datetime, ...], told: str
) -> None:
    """The authority was right: nothing is said of --ca."""
    with serving(ours.issue("server", valid)) as target:
        ran = cli("status", "-t", target, "--ca", ours.file)
    assert (6, True) == (ran.code, told in ran.err), ran.err
    assert ("--ca" in ran.err, "who runs the service" in ran.err) == (False, True)


def test_a_certificate_needs_its_key(cli: Cli, ours: Authority) -> None:
    """One alone is wrong use; the options are named as they are written."""
    cert, key = ours.issue("caller")
    alone = cli("status", "-t", "127.0.0.1:1", "--cert", cert)
    assert (2, True) == (alone.code, "--cert without --key" in alone.err), alone.err
    alone = cli("status", "-t", "127.0.0.1:1", "--key", key)
    assert (2, True) == (alone.code, "--key without --cert" in alone.err), alone.err


def test_a_certificate_that_names_nobody_needs_another() -> None:
    """A caller that showed one is not told to show one."""
    error = ProductSearchError(
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.aio.Metadata(),
        grpc.aio.Metadata((DETAILS_KEY, _unknown_caller().SerializeToString())),
        details="the certificate names no caller",
    )
    used = in_use.set(Profile(cert="caller.pem", key="caller.key"))
    try:
        assert "give another certificate" in failure_of(error).next_step
    finally:
        in_use.reset(used)


def _unknown_caller() -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason="CALLER_UNAUTHENTICATED", domain="productsearch.v1")
    status = status_pb2.Status(code=grpc.StatusCode.UNAUTHENTICATED.value[0])
    status.details.add().Pack(info)
    return status


def test_an_authority_that_did_not_sign_is_named(cli: Cli, ours: Authority, tmp_path: Path) -> None:
    """A file was given, so it is the file that does not fit."""
    other = Authority(tmp_path / "other")
    with serving(ours.issue("server")) as target:
        ran = cli("status", "-t", target, "--ca", other.file)
    assert 6 == ran.code
    assert f"not signed by an authority of {other.file}" in ran.err


def test_a_service_that_asks_for_a_certificate(cli: Cli, ours: Authority, tmp_path: Path) -> None:
    """It closes the connection and does not say why: what it may want depends on what was given."""
    other = Authority(tmp_path / "other")
    cert, key = other.issue("caller")
    with serving(ours.issue("server"), callers=ours.file) as target:
        trust = ("-t", target, "--ca", ours.file)
        without = cli("status", *trust)
        foreign = cli("status", *trust, "--cert", cert, "--key", key)
    assert (6, 6) == (without.code, foreign.code)
    assert "it may ask for a certificate: --cert FILE --key FILE" in without.err
    assert f"it may not accept --cert {cert}" in foreign.err
    assert "--plaintext" not in without.err + foreign.err


def _own_files(ours: Authority, which: str) -> tuple[list[str | Path], str]:
    """Return options that cannot work, and what is said of them."""
    good, bad = ours.issue("good"), ours.issue(which, LONG_AGO if which == "ended" else TO_COME)
    cert, key = good
    match which:
        case "another key":
            return ["--cert", cert, "--key", bad[1]], f"{bad[1]} is not the key of --cert {cert}"
        case "swapped":
            return ["--cert", key, "--key", cert], f"--cert {key} has no certificate"
        case "locked":
            key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
            return ["--cert", cert, "--key", key], "passphrase"
        case "authority ended":
            return ["--ca", bad[0]], "the authority's certificate"
        case "no PEM":
            ours.file.write_bytes(b"\x30\x82")
            return ["--ca", ours.file], f"--ca {ours.file} has no certificate"
        case "nothing there":
            return ["--ca", ours.folder / "none"], "No such file"
        case "broken":
            cert.write_text("-----BEGIN CERTIFICATE-----\n=\n-----END CERTIFICATE-----\n")
            return ["--cert", cert, "--key", key], "has no certificate"
    ended = f"ended {LONG_AGO[1]:%Y-%m-%d}" if which == "ended" else "is not valid before"
    return ["--cert", bad[0], "--key", bad[1]], f"--cert {bad[0]} {ended}"


@pytest.mark.parametrize(
    "which",
    [
        *("ended", "to come", "another key", "swapped", "locked"),
        *("authority ended", "no PEM", "nothing there", "broken"),
    ],
)
def test_own_files_are_looked_at_before_a_call(cli: Cli, ours: Authority, which: str) -> None:
    """2: nobody is called, and an import does not wait for its patience."""
    given, told = _own_files(ours, which)
    for command in (("status",), ("import", ours.folder)):
        ran = cli(*command, "-t", "127.0.0.1:1", *given)
        assert (2, True) == (ran.code, told in ran.err), ran.err
    assert not (ours.folder / ".productsearch.journal").exists()


def test_an_import_does_not_wait_for_a_certificate_that_is_not_trusted(
    cli: Cli, ours: Authority, tmp_path: Path
) -> None:
    """6 at once, in the words of `status`: the patience is for a service that is down."""
    other = Authority(tmp_path / "other")
    (tmp_path / "photos").mkdir()
    with serving(ours.issue("server")) as target:
        ran = cli("import", tmp_path / "photos", "-t", target, "--ca", other.file)
    assert 6 == ran.code, ran.err
    assert f"not signed by an authority of {other.file}" in ran.err


@pytest.mark.parametrize(
    ("words", "stays"),
    [
        ("SSL_ERROR_SSL: error:1:WRONG_VERSION_NUMBER", True),
        ("Hostname Verification Check failed.", True),
        ("Connection refused", False),
        ("Domain name not found", False),
        ("Socket closed", False),
        ("upstream connect error: CERTIFICATE_VERIFY_FAILED", False),
    ],
)
def test_what_waiting_cannot_mend(words: str, stays: bool) -> None:
    """Who is there and is not what was meant, not who is down."""
    assert stays is stays_unreached(words)


def test_files_that_are_valid_are_taken(cli: Cli, ours: Authority) -> None:
    """A bundle may hold an authority that has ended: the call is made."""
    (cert, key), (ended, _) = ours.issue("good"), ours.issue("ended", LONG_AGO)
    ours.file.write_bytes(ended.read_bytes() + ours.file.read_bytes())
    with serving(ours.issue("server"), callers=ours.file) as target:
        ran = cli("status", "-t", target, "--ca", ours.file, "--cert", cert, "--key", key)
    assert (5, True) == (ran.code, "Method not found" in ran.err), ran.err


@pytest.mark.parametrize("content", [b"", b"\x30", b"\x30\x84\xff", b"\x30\x03\x30\x01\x02", b"x"])
def test_what_is_no_certificate_has_no_dates(content: bytes) -> None:
    """It is left to gRPC, which says what it is."""
    assert validity(content) is None


@pytest.mark.parametrize(
    ("words", "what", "step"),
    [
        ("upstream connect error or disconnect/reset before headers", "a gateway answers", "later"),
        ("upstream connect error: Connection refused", "a gateway answers", "later"),
        ("upstream connect error: CERTIFICATE_VERIFY_FAILED", "a gateway answers", "later"),
        ("no healthy upstream", "no service behind it", "who runs the service"),
        ("Received http2 header with status: 503", "as a gateway does", "check --target"),
        ("SSL_ERROR_SSL: error:1:WRONG_VERSION_NUMBER", "speaks no TLS", "leave out"),
        ("Unwrap failed (TSI_DATA_CORRUPTED)", "closed the connection", "may not accept"),
        ("CERTIFICATE_VERIFY_FAILED: unsuitable certificate purpose: OK", "purpose", "tell who"),
    ],
)
def test_what_the_words_of_others_mean(words: str, what: str, step: str) -> None:
    """Of gateways, and of gRPC's core, to a caller with a certificate."""
    profile = Profile(target="shop.example:443", ca="ca.pem", cert="own.pem", key="own.key")
    told = unreached(profile, words)
    assert (True, True) == (what in told[0], step in told[1]), told
