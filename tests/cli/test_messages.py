"""What a command says when it fails: what happened in plain words, and a step that helps."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.image_steps import step_for
from productsearch.cli.profile import Profile
from productsearch.cli.targets import unreached
from productsearch.v1 import SearchImagesRequest, image_from_url
from tests.cli.conftest import Cli, Ran
from tests.conftest import ServerFactory
from tests.fakes.remembering_upstream import RememberingUpstream
from tests.fakes.upstream import error
from tests.interop.certificates import Certificates
from tests.pictures import draw, encode, jpeg
from tests.ports import free_port


@pytest.fixture
def web_server() -> Iterator[str]:
    """Return the address of a server that speaks HTTP/1 only."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _told(ran: Ran) -> tuple[int, str]:
    """Return the exit code and the last two lines: what happened, and the next step."""
    return ran.code, "\n".join(ran.err.splitlines()[-2:])


def test_why_a_service_cannot_be_reached(
    cli: Cli, target: str, web_server: str, tmp_path: Path
) -> None:
    """Nobody there, another kind of server, no TLS: short, without gRPC's own words."""
    token = tmp_path / "token"
    token.write_text("secret")
    nobody = f"127.0.0.1:{free_port()}"
    code, told = _told(cli("status", "-t", nobody))
    assert (6, f"cannot reach {nobody}: connection refused") == (code, told.splitlines()[0])
    assert "productsearch status" not in told
    code, told = _told(cli("status", "--token-file", token))
    assert (6, f"{target} speaks no TLS") == (code, told.splitlines()[0])
    assert "--plaintext" in told
    assert 0 == cli("status", "--token-file", token, "--plaintext").code
    code, told = _told(cli("status", "-t", web_server))
    assert (6, f"{web_server} is no gRPC service") == (code, told.splitlines()[0])
    for told in (cli("status", "-t", nobody).err, cli("status", "--token-file", token).err):
        assert "SSL_ERROR" not in told
        assert "ipv4:" not in told


def test_where_nothing_was_named_the_service_is_to_be_started() -> None:
    """The default target is that of `make run`; another one is the user's to check."""
    for target, step in ((Profile.target, "make run"), ("127.0.0.1:7", "check --target")):
        assert (
            step
            in unreached(
                Profile(target=target), "Failed to connect to remote host: Connection refused"
            )[1]
        )
    assert "words of the core" in unreached(Profile(target="a:1"), "words of the core")[0]


def test_tls_that_does_not_fit_is_told(cli: Cli, tls_only: str, tmp_path: Path) -> None:
    """Plaintext to a service with TLS, and a certificate that nobody here trusts."""
    code, told = _told(cli("status", "-t", tls_only))
    assert (6, True) == (code, "--tls" in told), told
    code, told = _told(cli("status", "-t", tls_only, "--tls"))
    assert (6, True) == (code, "--ca FILE" in told), told
    assert 0 == cli("status", "-t", tls_only, "--ca", tmp_path / "ca.pem").code


@pytest.fixture
def tls_only(server: ServerFactory, shop: RememberingUpstream, tmp_path: Path) -> str:
    """Return the address of a facade with TLS."""
    files = Certificates(tmp_path)
    port = server(
        {"base_url": shop.url},
        tls_cert_file=str(files.server_certificate),
        tls_key_file=str(files.server_key),
    ).port
    return f"localhost:{port}"


@pytest.mark.parametrize(
    "wrong",
    [
        *("http://127.0.0.1:50051", "https://shop.example/", "127.0.0.1", "localhost", ""),
        *("127.0.0.1:0", "127.0.0.1:70000", " 127.0.0.1:1", ":50051", "a b:1", "::1:50051"),
    ],
)
def test_what_is_no_target_is_told_before_a_call(cli: Cli, tmp_path: Path, wrong: str) -> None:
    """2, for commands and imports alike; with the form that is right."""
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    for command in (("status",), ("import", tmp_path)):
        ran = cli(*command, "-t", wrong)
        assert (ExitCode.USAGE, True) == (ran.code, "no HOST:PORT" in ran.err), ran.err
    assert not (tmp_path / ".productsearch.journal").exists()


def test_grpc_writes_no_lines_of_its_own(target: str, tmp_path: Path) -> None:
    """A handshake that fails logs in gRPC's core; the command line is silent but for its error."""
    (tmp_path / "token").write_text("secret")
    ran = subprocess.run(
        [sys.executable, "-m", "productsearch.cli", "status", "--token-file", tmp_path / "token"],
        capture_output=True,
        text=True,
    )
    assert 2 == len(ran.stderr.splitlines()), ran.stderr


def test_what_is_no_image_is_called_so(
    cli: Cli, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text, a folder, an image of another kind: each with a step that helps."""
    text, webp = tmp_path / "text.jpg", tmp_path / "a.webp"
    text.write_bytes(b"this is no image")
    webp.write_bytes(encode(draw(1), "WEBP"))
    for command in (("search", text), ("add", text), ("add", text, "--fit"), ("delete", text)):
        told = cli(*command).err
        assert ("'this is no image'" in told, "--fit" in told) == (True, False), told
    assert "add --fit" in cli("add", webp).err
    for command in ("add", "search", "delete"):
        ran = cli(command, tmp_path)
        assert (2, True) == (ran.code, f"productsearch import {tmp_path}" in ran.err)


def test_a_reference_that_is_none_shows_the_form_of_one(cli: Cli, target: str) -> None:
    """`delete abc`: a signature looks like this; the name stands there once."""
    for command in (("delete", "abc"), ("update", "abc", "--brief", "b")):
        ran = cli(*command)
        assert (2, True, 1) == (ran.code, "1453017670,3141028120" in ran.err, ran.err.count("abc:"))
    missing = cli("delete", "5,5")
    assert (3, 1) == (missing.code, missing.err.count("5,5:"))


def test_why_an_address_was_not_downloaded(
    cli: Cli, target: str, shop: RememberingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private address and a host that is not known are not the same."""
    shop.always("search", error(282113))

    def unknown(host: str, *_: object) -> list[object]:
        if host == "127.0.0.1":
            return [(2, 1, 6, "", (host, 0))]
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    told = cli("search", "http://127.0.0.1:1/x.jpg").err
    assert "private address, and it may be that the upstream takes no such" in told
    assert "no host example.invalid" in cli("search", "https://example.invalid/x.jpg").err


@pytest.mark.parametrize(
    ("cause", "step"),
    [
        ("private address", "the engine takes public addresses only"),
        ("private address; the engine's log has the cause", "ask who runs the engine"),
        ("the host answered 404", "download it and give the file\n"),
    ],
)
def test_the_cause_that_an_engine_tells_is_not_guessed(cause: str, step: str) -> None:
    """A 404 of a private address is a 404."""
    request = SearchImagesRequest(image=image_from_url("http://127.0.0.1:1/x.jpg"))
    told = f"IMAGE_URL_UNREACHABLE: url response invalid: {cause}"
    assert step in step_for(request, "IMAGE_URL_UNREACHABLE", told) + "\n"


def test_what_is_cut_short_is_not_promised_to_fit(cli: Cli, target: str, tmp_path: Path) -> None:
    """--fit decodes it no better: `add` says that it may be damaged, an import is silent."""
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(jpeg(1)[:400])
    assert "it may be damaged or cut short" in cli("add", cut).err
    assert "add --fit" not in cli("import", tmp_path).err


def test_a_class_id_that_is_none_is_told_the_range(cli: Cli, photo: Callable[[int], Path]) -> None:
    """Also one that is no number."""
    for wrong in ("abc", "0", "70000"):
        ran = cli("add", photo(1), "--class-id1", wrong)
        assert (2, True) == (ran.code, f"'{wrong}' is no class id; use 1 to 65535" in ran.err)


def test_an_export_of_an_engine_is_called_so(cli: Cli, tmp_path: Path) -> None:
    """`productsearch-engine import` takes it."""
    file = tmp_path / "shop.ndjson"
    file.write_text('{"format": "productsearch-library", "version": 1}\n{"brief": "a"}\n')
    ran = cli("import", file)
    assert (2, True) == (ran.code, f"next: productsearch-engine import {file}" in ran.err), ran.err


def test_a_proof_that_fails_says_what_came_first(
    cli: Cli, target: str, photo: Callable[[int], Path]
) -> None:
    """Here the upstream knows the very bytes alone: one of the two comes first for both."""
    photo(1)
    ran = cli("import", photo(2).parent, "--verify", "2")
    assert (3, 1) == (ran.code, ran.err.count("not found first: sku-")), ran.err
    assert "; first came sku-" in ran.err
    assert "next: look at both" in ran.err


def test_what_an_option_would_change_is_told_at_the_end(
    cli: Cli, target: str, tmp_path: Path
) -> None:
    """An import names --fit, --on-duplicate and the class that is empty, with how many."""
    photos = tmp_path / "flat"
    photos.mkdir()
    (photos / "small.jpg").write_bytes(jpeg(1, 100, 400))
    (photos / "webp.jpg").write_bytes(encode(draw(2), "WEBP"))
    (photos / "no.jpg").write_bytes(b"this is no image")
    (photos / "theirs.jpg").write_bytes(jpeg(3))
    (photos / "twin.jpg").write_bytes(jpeg(3))
    cli("add", photos / "theirs.jpg", "--brief", "theirs")
    told = cli("import", photos, "--class-id1", "{folder}").err
    assert "2 rejected for size or format\n  next: add --fit " in told
    assert "1 kept as the library had them: brief and classes were not changed" in told
    assert "5 of 5 images get no class id from --class-id1 {folder}" in told
    assert "1 rejected for size or format" in cli("import", photos).err
    fitted = cli("import", photos, "--class-id1", "7", "--fit", "--on-duplicate", "update").err
    assert not any(word in fitted for word in ("size or format", "kept", "no class id"))


def test_help_lists_what_a_command_uses(cli: Cli, tmp_path: Path) -> None:
    """Of the connection, commands that call no service list what names a journal's part."""
    for command in ("find", "export", "plan"):
        listed = cli(command, "--help").out
        assert "--library" in listed, command
        assert "--target" not in listed, command
        # They may stand before any command, and so before these.
        assert "No such option" not in cli("--target", "127.0.0.1:1", command, "a").err
    assert "--target" in cli("status", "--help").out
    assert "each image" not in cli("status", "--help").out


def test_sync_that_cannot_ask_says_so(
    cli: Cli, target: str, photo: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows the plan and stops."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, told = _told(cli("sync", photo(1).parent))
    assert (2, "sync asks before it changes a library, and this is no terminal") == (
        code,
        told.splitlines()[0].removeprefix("productsearch: "),
    )
    assert "--yes" in told
