"""TLS, certificates and tokens of the command line, with a facade that has a policy."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.conftest import ServerFactory
from tests.fakes.remembering_upstream import RememberingUpstream
from tests.interop.certificates import Certificates
from tests.pictures import jpeg

_TOKEN = "the-token-of-the-catalogue"


@pytest.fixture
def guarded(server: ServerFactory, shop: RememberingUpstream, tmp_path: Path) -> str:
    """Return the address of a facade with TLS that lets one bearer token in, and not to delete."""
    return _guarded(server, shop, tmp_path, ["AddImage", "SearchImages"])


def _guarded(
    server: ServerFactory, shop: RememberingUpstream, tmp_path: Path, methods: list[str]
) -> str:
    files = Certificates(tmp_path)
    digest = hashlib.sha256(_TOKEN.encode()).hexdigest()
    (tmp_path / "token").write_text(f"{_TOKEN}\n")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        f'[callers.catalogue]\ntoken_sha256 = ["{digest}"]\n'
        f'[[rules]]\ncallers = ["catalogue"]\nmethods = {json.dumps(methods)}\n'
    )
    port = server(
        {"base_url": shop.url},
        tls_cert_file=str(files.server_certificate),
        tls_key_file=str(files.server_key),
        policy_file=str(policy),
    ).port
    return f"localhost:{port}"


def test_a_token_and_an_authority_let_one_in(
    cli: Cli, guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By flags, by a profile; imports too. Without the token, or without the right: 5."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(jpeg(1))
    trust = ("-t", guarded, "--ca", tmp_path / "ca.pem")
    assert 0 == cli("import", photos, *trust, "--token-file", tmp_path / "token").code
    nobody = cli("status", *trust)
    assert (5, True) == (nobody.code, "CALLER_UNAUTHENTICATED" in nobody.err)
    assert "next: give a token (--token-file) or a certificate" in nobody.err
    (tmp_path / "other").write_text("no-such-token")
    other = cli("status", *trust, "--token-file", tmp_path / "other")
    assert (5, True) == (other.code, "next: give another token" in other.err), other.err
    for key, value in (("target", guarded), ("ca", tmp_path / "ca.pem")):
        cli("config", "set", key, value)
    monkeypatch.setenv("PRODUCTSEARCH_CLI_TOKEN", _TOKEN)
    assert 0 == cli("search", photos / "a.jpg").code
    forbidden = cli("delete", photos / "a.jpg")
    assert (5, True) == (forbidden.code, "CALLER_FORBIDDEN" in forbidden.err)


@pytest.mark.parametrize(
    ("methods", "code", "may"),
    [
        (["AddImage", "DeleteImage"], 0, "add, delete"),
        (["BatchDeleteImages"], 5, "nothing"),
    ],
)
def test_a_caller_that_may_not_search_is_told_what_it_may(
    cli: Cli,
    server: ServerFactory,
    shop: RememberingUpstream,
    tmp_path: Path,
    methods: list[str],
    code: int,
    may: str,
) -> None:
    """The service answers it. A search, with --deep, is still refused."""
    guarded = _guarded(server, shop, tmp_path, methods)
    trust = ("-t", guarded, "--ca", tmp_path / "ca.pem", "--token-file", tmp_path / "token")
    ran = cli("status", *trust, "--json")
    (told,) = ran.rows
    assert (code, True, may) == (ran.code, told["answers"], told["may"]), ran.err
    deep = cli("status", *trust, "--deep")
    assert (5, False) == (deep.code, "upstream_answers" in deep.out)


def test_who_reads_the_output_may_leave(cli: Cli, target: str, tmp_path: Path) -> None:
    """`export | head` ends well, without a complaint."""
    for seed in range(3):
        (tmp_path / f"{seed}.jpg").write_bytes(jpeg(seed))
    cli("import", tmp_path, "--brief", "x" * 250)
    program = f'"{sys.executable}" -m productsearch.cli export --source "{tmp_path}"'
    done = subprocess.run(
        ["bash", "-c", f"{program} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert ("0\n", "") == (done.stdout, done.stderr)
