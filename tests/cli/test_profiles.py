"""Profiles: what wins, what is written, what is never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.profile import KEYS, resolve
from productsearch_service.settings_reading import read_settings
from tests.cli.conftest import Cli


def test_flags_win_over_the_environment_over_the_profile(
    cli: Cli, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key by itself; without anything the defaults hold."""
    assert "127.0.0.1:50051" == resolve({}).target
    for key, value in (("target", "file:1"), ("library", "file"), ("quota_qps", "2.5")):
        assert 0 == cli("config", "set", key, value, "--profile", "shop").code
    assert 0 == cli("config", "use", "shop").code
    assert ("file:1", "file", 2.5) == (
        (found := resolve({})).target,
        found.library,
        found.quota_qps,
    )
    monkeypatch.setenv("PRODUCTSEARCH_CLI_TARGET", "environment:1")
    found = resolve({"library": "flag"})
    assert ("environment:1", "flag", "shop") == (found.target, found.library, found.name)


def test_the_file_is_private_and_keeps_comments(cli: Cli, settings: Path) -> None:
    """0600, comments kept, and an unset key is gone."""
    settings.parent.mkdir()
    settings.write_text('# ours\n[profiles.a]\ntarget = "x:1"  # near\ntls = true\n')
    assert 0 == cli("config", "unset", "tls", "-p", "a").code
    assert 0 == cli("config", "use", "a").code
    text = settings.read_text()
    assert ("# near" in text, "tls" in text) == (True, False)
    assert 0o600 == stat.S_IMODE(settings.stat().st_mode)
    assert "a\tx:1\t\tTrue" in cli("config", "list").out
    assert str(settings) == cli("config", "path").out.strip()


def test_a_token_is_never_shown(
    cli: Cli, settings: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither by config show, nor by an error; it cannot be set on the command line."""
    monkeypatch.setenv("PRODUCTSEARCH_CLI_TOKEN", "the-secret\x01token")
    shown = cli("config", "show", "--json")
    assert "(set)" == shown.rows[0]["token"]
    failed = cli("status")
    assert ExitCode.USAGE == failed.code
    assert "secret" not in shown.out + failed.err + repr(resolve({}))
    assert ExitCode.USAGE == cli("config", "set", "token", "x").code


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "config.toml"),
        ("[profiles.a]\nnonsense = 1", "profiles.a.nonsense is no setting; use one of"),
        ('[profiles.a]\nquota_qps = "many"', "use a number of 0 or more"),
        ("[profiles.a]\ntls = 7", "use true or false"),
        ("[profiles.a]\ntarget = 7", "use text"),
    ],
)
def test_a_wrong_file_is_told(cli: Cli, settings: Path, text: str, told: str) -> None:
    """Usage, with the file and what would be right."""
    settings.parent.mkdir()
    settings.write_text(text)
    ran = cli("config", "show")
    assert ExitCode.USAGE == ran.code
    assert told.split(";")[0] in ran.err


def test_the_service_takes_no_offence_at_our_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone runs both on one machine: the service refuses unknown variables, not these."""
    for key in KEYS:
        monkeypatch.setenv(f"PRODUCTSEARCH_CLI_{key.upper()}", "1")
    monkeypatch.setenv("PRODUCTSEARCH_LIBRARIES__DEFAULT__API_KEY", "k")
    monkeypatch.setenv("PRODUCTSEARCH_LIBRARIES__DEFAULT__SECRET_KEY", "s")
    assert "default" in read_settings().libraries


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("profiles = 3", "profiles is 3"),
        ("[profiles]\ndefault = 3", "profiles.default is 3"),
        ('profile = ["a"]', "profile is ['a']"),
        ('profile = "gone"', "there is no profile 'gone'"),
        ("profiles = [", "config.toml"),
        ("[profiles.default]\ntarget = 1", "profiles.default.target is 1; use text"),
        ("[profiles.default]\nquota_qps = nan", "profiles.default.quota_qps is nan"),
    ],
)
def test_a_file_of_another_shape_is_told(text: str, told: str, cli: Cli, settings: Path) -> None:
    """Where it is wrong, before anything is sent anywhere."""
    settings.parent.mkdir()
    settings.write_text(text + "\n")
    ran = cli("status")
    assert ExitCode.USAGE == ran.code, ran.err
    assert told in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "option", ["--timeout=inf", "--timeout=nan", "--min-score=nan", "--timeout=-1"]
)
def test_numbers_are_finite(option: str, cli: Cli, tmp_path: Path) -> None:
    """An endless time is no time, and what is no number is in no range."""
    assert ExitCode.USAGE == cli("search", tmp_path / "x.jpg", option).code


@pytest.mark.parametrize("option", ["--quota-qps=inf", "--price-per-1000=nan"])
def test_numbers_of_plans_are_finite(option: str, cli: Cli, tmp_path: Path) -> None:
    """What is printed stays JSON."""
    assert ExitCode.USAGE == cli("plan", tmp_path, option, "--json").code


def test_status_tells_programs_why(cli: Cli) -> None:
    """With --json as one value, like any other error."""
    ran = cli("status", "--target", "127.0.0.1:1", "--json")
    (told,) = ran.rows
    assert (ExitCode.UNREACHABLE, False) == (ran.code, told["answers"])
    assert ran.code == told["exit_code"]
    assert "127.0.0.1:1" in told["error"]
