"""Files that are no files, that never end, or that are costly to read or to match."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path

import pytest

from productsearch_service import limits
from productsearch_service.errors import UpstreamCredentialsRejected
from productsearch_service.identity.patterns import matches
from productsearch_service.identity.policy import Policy, PolicyError, read_content
from productsearch_service.server.certificates import CertificateError, read_file
from productsearch_service.settings import FILE_VARIABLE
from productsearch_service.settings_reading import SettingsError, read_settings
from productsearch_service.upstream.auth.credentials import FileCredentials

KINDS = ("pipe", "directory", "device", "large")
DEEP = {
    "arrays": b"a = " + b"[" * 100_000,
    "tables": b"a = " + b"{b=" * 100_000,
    "dots": b".".join([b"a"] * 100_000) + b" = 1",
    "dots and quotes": b" . ".join([b'"a"'] * 100_000) + b" = 1",
    "dots of a table": b"[" + b".".join([b"'a'"] * 100_000) + b"]",
    "dots in a table": b"a = {" + b".".join([b"b"] * 100_000) + b" = 1}",
}
CPU_S_MAX = 2.0


def _made(kind: str, path: Path) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(limits.FILE_BYTES_MAX + 1)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_small_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    """As a policy, a certificate or key, and a key pair; a pipe has nobody who writes."""
    path = _made(kind, tmp_path / "api_key")
    (tmp_path / "secret_key").write_text("s")
    wrong = "file|directory|larger than 1 MiB"
    with pytest.raises(PolicyError, match=wrong):
        read_content(path)
    with pytest.raises(CertificateError, match=wrong):
        read_file(path)
    with pytest.raises(UpstreamCredentialsRejected, match="api_key cannot be read"):
        FileCredentials(tmp_path).read()


@pytest.mark.parametrize("kind", DEEP)
def test_nesting_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy or settings file nested 100,000 deep is wrong, and no fault of the program."""
    with pytest.raises(PolicyError):
        Policy.parse(DEEP[kind])
    path = tmp_path / "settings.toml"
    path.write_bytes(DEEP[kind])
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    with pytest.raises(SettingsError):
        read_settings()


def test_dots_elsewhere_are_no_keys() -> None:
    """In names, comments and lists there may be any number of them."""
    names = ", ".join(f'"a.b.c.d{number}"' for number in range(100))
    content = f"# {'.' * 200}\n[[rules]]\ncallers = [{names}]\nlibraries = ['{'.' * 99}']\n"
    Policy.parse(content.encode()).check("a.b.c.d7", "AddImage")


def test_settings_of_any_length_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A settings file over 1 MiB is not read."""
    monkeypatch.setenv(FILE_VARIABLE, str(_made("large", tmp_path / "settings.toml")))
    with pytest.raises(SettingsError, match="larger than 1 MiB"):
        read_settings()


def test_many_stars_are_matched_in_one_pass() -> None:
    """Patterns of any number of ``*`` against names that nearly match: no search back and forth."""
    began_s = time.thread_time()
    for pattern in ("*a" * 200 + "*b", "*" * 5000 + "b", "*?" * 200 + "*b", "*ab" * 100 + "b"):
        assert not matches((pattern,), "a" * 2000 + "c")
    assert time.thread_time() - began_s < CPU_S_MAX


def test_patterns_mean_what_they_did() -> None:
    """Random patterns and texts against the expression that says it plainly."""
    chance = random.Random(20261126)
    agreed = [0, 0]
    for _ in range(20_000):
        pattern = "".join(chance.choices("ab/.*?", k=chance.randint(1, 8)))
        text = "".join(chance.choices("ab/.\n", k=chance.randint(0, 8)))
        plain = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        expected = re.fullmatch(plain, text, re.DOTALL) is not None
        assert expected == matches((pattern,), text), (pattern, text)
        agreed[expected] += 1
    assert min(agreed) > 500
