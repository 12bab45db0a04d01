"""What is allowed and hardly meant is told at the start, with the name of what it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from productsearch_service.identity.policy import Policy
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream

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
    assert all(line.startswith("library default (http://127.0.0.1:") for line in told)
