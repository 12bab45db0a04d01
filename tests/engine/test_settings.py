"""Settings: from the environment and flags, refused all at once, secrets never shown."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from productsearch_engine import settings
from productsearch_engine.cli import main
from productsearch_engine.server.signing_key import read_signing_key
from productsearch_engine.settings import SettingsError


def test_a_flag_beats_the_environment() -> None:
    """Settings come from the environment unless a flag is given."""
    environment = {
        "PRODUCTSEARCH_ENGINE_LISTEN": "127.0.0.1:1",
        "PRODUCTSEARCH_ENGINE_DATA": "here",
        "PRODUCTSEARCH_ENGINE_ALLOW_PRIVATE_URLS": "true",
    }
    chosen = settings.load(environment, {"listen": "[::1]:2", "data": None})
    assert ("::1", 2, Path("here"), True) == (
        chosen.host,
        chosen.port,
        chosen.data,
        chosen.allow_private_urls,
    )
    assert Path("here/signing.key") == chosen.signing_key_file


def test_defaults() -> None:
    """Without anything said the engine listens on loopback and refuses private urls."""
    chosen = settings.load({}, {})
    assert ("127.0.0.1", 8190, "", False, "compact") == (
        chosen.host,
        chosen.port,
        chosen.database,
        chosen.allow_private_urls,
        chosen.embedding,
    )


@pytest.mark.parametrize(
    ("given", "expected"), [("m/a.toml", "{here}/m/a.toml"), ("/m/a.toml", "/m/a.toml")]
)
def test_the_path_of_a_model_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    """A library keeps the path, so it must mean the same file wherever the engine is started."""
    monkeypatch.chdir(tmp_path)
    chosen = settings.load({}, {"embedding": f"onnx:{given}"})
    assert "onnx:" + expected.format(here=tmp_path) == chosen.embedding


def test_everything_wrong_is_told_at_once() -> None:
    """All that is wrong is told in one error, a line each, unknown names too."""
    wrong = {
        "LISTEN": "nowhere",
        "ALLOW_PRIVATE_URLS": "perhaps",
        "WORKERS": "0",
        "LOG_LEVEL": "loud",
        "LOG_FORMAT": "xml",
        "ACCESS_LOG_SUCCESSES": "nan",
        "WROKERS": "1",
    }
    with pytest.raises(SettingsError) as error:
        settings.load({f"PRODUCTSEARCH_ENGINE_{name}": text for name, text in wrong.items()}, {})
    lines = str(error.value).splitlines()
    assert {"listen", "allow_private_urls", "workers", "log_level"} < {
        line.partition(":")[0] for line in lines
    }
    assert {"log_format", "access_log_successes"} < {line.partition(":")[0] for line in lines}
    assert 7 == len(lines)


_NO_USER = "~no-such-user/x: there is no such user; give a path that begins with /"
_NO_URL = "must be http://host:port/v1/traces, the port 1 to 65535, without user and query"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("WORKERS", "9" * 5000, f"must be a whole number from 1 to 256, not '{'9' * 21}'"),
        ("WORKERS", "\u0663", "must be a whole number from 1 to 256, not '\u0663'"),
        ("DATA", "~no-such-user/x", _NO_USER),
        ("SIGNING_KEY_FILE", "~no-such-user/x", _NO_USER),
        ("EMBEDDING", "onnx:~no-such-user/x", _NO_USER),
        ("DATA", "/tmp/a\0b", "has a character that no path should have; give one without it"),
        ("TRACES_ENDPOINT", "http://c:99999/v1/traces", _NO_URL),
        ("TRACES_ENDPOINT", "http://:4318/v1/traces", _NO_URL),
        ("TRACES_ENDPOINT", "http://c:x/v1/traces", _NO_URL),
    ],
)
def test_what_nobody_can_mean_is_no_fault(name: str, text: str, says: str) -> None:
    """It is told as any wrong setting is, not found out where it is used."""
    variable = f"PRODUCTSEARCH_ENGINE_{name}"
    with pytest.raises(SettingsError) as error:
        settings.load({variable: text}, {})
    assert f"{name.lower()}: {says} ({variable})" == str(error.value)


def test_names_of_variables_have_one_case_and_no_far_fetched_hint() -> None:
    """One in small letters would be passed over."""
    for name, says in (
        ("productsearch_engine_listen", "did you mean PRODUCTSEARCH_ENGINE_LISTEN?"),
        ("PRODUCTSEARCH_ENGINE_PORT", "no such setting"),
    ):
        with pytest.raises(SettingsError) as error:
            settings.load({name: "1"}, {})
        assert str(error.value).startswith(f"{name}: no such setting")
        assert str(error.value).endswith(f"{says}")


@pytest.mark.parametrize(
    ("name", "text", "flag", "says"),
    [
        ("LISTEN", "0.0.0.0:99999", False, "listen: the port must be 0 to 65535, not '99999'"),
        (
            "LISTEN",
            "localhost:8190",
            False,
            "listen: must be an IP address and a port, as 127.0.0.1:8190, not 'localhost:8190'",
        ),
        (
            "LISTEN",
            "::1:8190",
            True,
            "listen: an IPv6 address stands in brackets, as [::1]:8190, not '::1:8190'",
        ),
        ("WORKERS", "ten", False, "workers: must be a whole number from 1 to 256, not 'ten'"),
        ("WORKERS", "ten", True, "workers: must be a whole number from 1 to 256, not 'ten'"),
        ("RERANK", "perhaps", False, "rerank: must be true or false, not 'perhaps'"),
        ("LISTN", "1", False, "PRODUCTSEARCH_ENGINE_LISTN: no such setting; did you mean "),
    ],
)
def test_each_line_says_where_and_what_would_be_right(
    name: str, text: str, flag: bool, says: str
) -> None:
    """The flag or the variable, what was found, and what would be right."""
    variable = f"PRODUCTSEARCH_ENGINE_{name}"
    with pytest.raises(SettingsError) as error:
        settings.load({variable: text}, {name.lower(): text} if flag else {})
    place = f"--{name.lower()}" if flag else variable
    right = "PRODUCTSEARCH_ENGINE_LISTEN?" if name == "LISTN" else f" ({place})"
    assert f"{says}{right}" == str(error.value)


@pytest.mark.parametrize("data", ["file", "file/below"])
def test_a_data_folder_that_cannot_be_made(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting, the folder and the reason, without Python's words."""
    (tmp_path / "file").write_text("")
    assert 2 == main(["serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / data)])
    told = capsys.readouterr().err
    assert (True, False) == (told.startswith(f"data: {tmp_path}/file"), "Errno" in told)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file or directory"),
        ("folder", "Is a directory"),
        ("pipe", "is no ordinary file"),
        ("/dev/zero", "is no ordinary file"),
        (b"short", "fewer than 32 bytes"),
        (b"x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_a_signing_key_that_is_none_is_told_with_its_variable(
    content: bytes | str | None,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A device or a pipe is not read: neither has an end."""
    file = tmp_path / "key"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "folder":
        file.mkdir()
    elif content == "pipe":
        os.mkfifo(file)
    elif content is not None:
        file = Path(content)
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_SIGNING_KEY_FILE", str(file))
    data = str(tmp_path / "data")
    assert 2 == main(["serve", "--listen", "127.0.0.1:0", "--data", data])
    place = "(PRODUCTSEARCH_ENGINE_SIGNING_KEY_FILE)"
    assert f"signing_key_file: {says}: {file} {place}\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("EMBEDDING", "onnx:", "embedding: names no file: must be onnx:PATH"),
        ("EMBEDDING", "Compact", "embedding: none is called 'Compact'; there is: compact, classic"),
        ("DATA", f"/tmp/{'a' * 300}", f"data: /tmp/{'a' * 300}: File name too long; choose"),
    ],
)
def test_what_is_found_out_at_the_start_has_its_variable(
    name: str,
    value: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As what is found out when the settings are read."""
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv(f"PRODUCTSEARCH_ENGINE_{name}", value)
    assert 2 == main(["serve", "--listen", "127.0.0.1:0"])
    told = capsys.readouterr().err
    assert told.startswith(says)
    assert told.endswith(f"(PRODUCTSEARCH_ENGINE_{name})\n")


def test_an_address_that_is_taken_exits_with_2(tmp_path: Path) -> None:
    """One line that names it and says what to do, before a database is begun."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "productsearch_engine", "serve", "--listen", address],
            env={**os.environ, "PRODUCTSEARCH_ENGINE_DATA": str(tmp_path)},
            capture_output=True,
            text=True,
        )
    told = (
        f"listen: {address} is taken; end the program that listens there, or give another address "
        "with --listen (--listen)"
    )
    assert (2, told) == (done.returncode, done.stderr.strip())
    assert [] == [*tmp_path.iterdir()]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """As the service tells its own."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert 0 == ended.value.code
    assert f"productsearch-engine {version('productsearch-engine')}\n" == capsys.readouterr().out


def test_command_exits_with_2() -> None:
    """Wrong settings end the command with status 2 and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "productsearch_engine", "serve", "--listen", "x"],
        env={"PRODUCTSEARCH_ENGINE_WORKERS": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 2 == done.returncode
    assert ["listen:", "workers:"] == [line.split()[0] for line in done.stderr.splitlines()]


def test_secrets_are_not_shown() -> None:
    """The connection string, which can hold a password, is not in repr."""
    chosen = settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": "password=hidden"}, {})
    assert "password=hidden" == chosen.database
    assert "hidden" not in repr(chosen)


def test_signing_key_is_made_once(tmp_path: Path) -> None:
    """The key in the data directory is made at the first start, for its owner alone."""
    chosen = settings.load({}, {"data": str(tmp_path)})
    key = read_signing_key(chosen)
    assert 32 <= len(key)
    assert key == read_signing_key(chosen)
    assert 0o600 == (tmp_path / "signing.key").stat().st_mode & 0o777
    assert ["signing.key"] == [file.name for file in tmp_path.iterdir()]


def test_signing_key_elsewhere(tmp_path: Path) -> None:
    """A key file that is named must be there and hold 32 bytes."""
    file = tmp_path / "key"
    chosen = settings.load({"PRODUCTSEARCH_ENGINE_SIGNING_KEY_FILE": str(file)}, {})
    with pytest.raises(SettingsError, match="No such file"):
        read_signing_key(chosen)
    file.write_text("x" * 31 + "\n")
    with pytest.raises(SettingsError, match="fewer than 32 bytes"):
        read_signing_key(chosen)
    file.write_text("x" * 32)
    assert b"x" * 32 == read_signing_key(chosen)
