"""What is allowed and hardly meant is told at the start, with the name of what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from productsearch_service import cli
from productsearch_service.identity.policy import Policy
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import until

FILE = f"""
[callers.web]
token_sha256 = ["{"0" * 64}"]
[callers.batch]
token_sha256 = ["{"1" * 64}"]
[[rules]]
callers = ["web"]
libraries = ["default", "season-*"]
"""


def test_names_that_nothing_else_mentions(
    server: ServerFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller without a rule and a library without settings: a warning each, and no other."""
    file = tmp_path / "policy.toml"
    file.write_text(FILE)
    server(policy_file=file)
    told = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert [
        "policy_file: caller batch: no rule names it, so that it may do nothing",
        "policy_file: rule 1: library season-* is none of the settings",
    ] == told


def test_a_library_of_the_settings_is_not_told() -> None:
    """A pattern that matches a library of the settings is meant."""
    policy = Policy.parse(FILE.replace("[callers.batch]", "[callers.web2]").encode())
    assert ["caller web2: no rule names it, so that it may do nothing"] == [
        *policy.unused(["default", "season-1"])
    ]


def test_names_that_are_nearly_others() -> None:
    """A rule's caller that is nearly a listed one, and a library; a certificate's name is none."""
    file = FILE.replace('callers = ["web"]', 'callers = ["web", "batches", "spiffe://shop/web"]')
    policy = Policy.parse(file.replace('"default", "season-*"', '"defualt"').encode())
    assert [
        "caller batch: no rule names it, so that it may do nothing",
        "rule 1: caller batches is none of those listed; did you mean batch?",
        "rule 1: library defualt is none of the settings; did you mean default?",
    ] == [*policy.unused(["default"])]


TYPOS = {
    "a listed caller": (
        'callers = ["wbe", "spiffe://shop/cart"]',
        [
            "caller web: no rule names it, so that it may do nothing",
            "rule 1: caller wbe is none of those listed; did you mean web?",
        ],
    ),
    "a caller of a certificate": (
        'callers = ["web", "spiffe://shop/carts"]',
        [
            "caller spiffe://shop/cart: may do nothing now, and could before",
            "caller spiffe://shop/carts: is new in the rules; did you mean spiffe://shop/cart?",
        ],
    ),
    "a library": (
        'callers = ["web", "spiffe://shop/cart"]\nlibraries = ["defualt"]',
        [
            "rule 1: library defualt is none of the settings; did you mean default?",
            "caller spiffe://shop/cart: may do nothing now, and could before",
            "caller web: may do nothing now, and could before",
        ],
    ),
}


@pytest.mark.parametrize(("rule", "told"), TYPOS.values(), ids=TYPOS)
def test_a_typo_in_a_policy_that_is_replaced(
    rule: str,
    told: list[str],
    server: ServerFactory,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A warning for each caller that it shuts out, and for the name that is nearly another."""
    file = tmp_path / "policy.toml"
    listed = f'[callers.web]\ntoken_sha256 = ["{"0" * 64}"]\n[[rules]]\n'
    file.write_text(f'{listed}callers = ["web", "spiffe://shop/cart"]\n')
    server(policy_file=file, tls_poll_s=0.02)
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
    file.write_text(listed + rule)

    def found() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]

    until(lambda: len(found()) >= len(told), "warnings")
    assert [f"policy_file: {each}" for each in told] == found()


@pytest.mark.parametrize(
    ("days", "says"), [(-9, "was"), (5, "is in"), (400, "")], ids=["over", "soon", "far"]
)
def test_a_key_pair_that_ends(
    days: int, says: str, server: ServerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told at the start, with the library, when there are few days left, or none."""
    server({"key_pair_ends": datetime.now(UTC).date() + timedelta(days=days)})
    told = [one.getMessage() for one in caplog.records if "key_pair_ends" in one.getMessage()]
    assert bool(says) == len(told)
    assert all(
        line.startswith("libraries.default.key_pair_ends: ") and says in line for line in told
    )


@pytest.mark.parametrize(("path", "warnings"), [("", 0), ("/", 0), ("/rest", 1)])
def test_a_base_url_with_a_path(
    path: str,
    warnings: int,
    server: ServerFactory,
    upstream: FakeUpstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told with the library's name; a lone slash is no path."""
    server({"base_url": upstream.url + path})
    told = [one.getMessage() for one in caplog.records if "base_url" in one.getMessage()]
    assert warnings == len(told)
    assert all(line.startswith("libraries.default.base_url: ") for line in told)


def test_a_check_of_settings_tells_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, as the doctor's with warnings, and a line for each."""
    (tmp_path / "policy.toml").write_text(FILE)
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "api_key").write_text("")
    file = tmp_path / "settings.toml"
    file.write_text(
        f'policy_file = "{tmp_path}/policy.toml"\n'
        f'[libraries.default]\ncredentials_dir = "{tmp_path}/pair"\nkey_pair_ends = 2020-01-01\n'
        'base_url = "https://proxy.example/rest"\n'
    )
    monkeypatch.setattr("sys.argv", ["productsearch-service", "settings", "check", str(file)])
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", "")
    assert 1 == cli.main()
    told = [line.split(" ")[1] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert [
        "libraries.default.base_url:",
        "libraries.default.key_pair_ends:",
        "libraries.default.credentials_dir:",
        "libraries.default.credentials_dir:",
        "policy_file:",
        "policy_file:",
    ] == told
