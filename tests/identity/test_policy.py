"""The policy file: what it may say, what it decides, what the command answers."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from productsearch import v1
from productsearch_service.cli import main
from productsearch_service.errors import CallerForbidden
from productsearch_service.identity.policy import Policy, PolicyError
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream
from tests.identity.test_refusals import FORBIDDEN, OK, SEARCH, STRANGER, outcome
from tests.lifecycle.asking import until

WEB = "spiffe://mesh.example/ns/shop/sa/web"
FILE = f"""
[callers."{WEB}"]
share = 4
[callers.batch]
token_sha256 = ["{"0" * 64}"]

[[rules]]
callers = ["spiffe://mesh.example/ns/shop/*"]
methods = ["Search*"]

[[rules]]
callers = ["batch", "{WEB}"]
libraries = ["season-??"]
methods = ["BulkAddImages", "AddImage"]
"""


Check = Callable[..., tuple[int, str]]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Return a function that asks the command about a file's content."""

    def ask(content: str, *asked: str) -> tuple[int, str]:
        file = tmp_path / "policy.toml"
        if content:
            file.write_text(content)
        command = ["productsearch-service", "policy", "check", str(file), *asked]
        monkeypatch.setattr(sys, "argv", command)
        code = main()
        out, err = capsys.readouterr()
        return code, (out + err).replace(str(file), "FILE")

    return ask


ANSWERS = {
    (WEB, "SearchImages", "default"): (0, "allowed: rule 1 allows it\n"),
    (WEB, "AddImage", "season-26"): (0, "allowed: rule 2 allows it\n"),
    (WEB, "AddImage", "season-2026"): (
        1,
        "denied: rule 1 does not name method AddImage; rule 2 does not name library season-2026\n",
    ),
    ("batch", "DeleteImage", "default"): (
        1,
        "denied: rule 2 does not name method DeleteImage and does not name library default\n",
    ),
    ("spiffe://mesh.example/ns/shop", "SearchImages", "default"): (
        1,
        "denied: no rule speaks of caller spiffe://mesh.example/ns/shop\n",
    ),
    (WEB, "Search", "default"): (
        2,
        "METHOD: 'Search' is none of AddImage, SearchImages, UpdateImage, DeleteImage, "
        "BatchDeleteImages, BulkAddImages\n",
    ),
}


@pytest.mark.parametrize("asked", ANSWERS, ids=" ".join)
def test_the_command_says_what_is_decided_and_why(check: Check, asked: tuple[str, ...]) -> None:
    """Exit code 0 allowed, 1 denied, 2 not a question; the words name the rule."""
    assert ANSWERS[asked] == check(FILE, *asked)


WRONG = {
    "unknown method": (
        '[[rules]]\ncallers = ["a"]\nmethods = ["SearchImages", "Find"]',
        "rule 1: methods: 'Find' is none of AddImage, SearchImages, UpdateImage, DeleteImage, "
        "BatchDeleteImages, BulkAddImages",
    ),
    "a token of two callers": (
        f'[callers.a]\ntoken_sha256 = ["{"1" * 64}"]\n[callers.b]\ntoken_sha256 = ["{"1" * 64}"]',
        "callers.b: token_sha256: is a token of a too",
    ),
    "no callers": ("[[rules]]\nlibraries = ['x']", "rule 1: callers: is missing; set it"),
    "second rule, misspelt": (
        '[[rules]]\ncallers = ["a"]\n[[rules]]\ncallers = ["a"]\nlibrary = ["x"]',
        "rule 2: library: is not a setting; remove it, or correct its name; did you mean "
        "libraries?",
    ),
    "not a digest": (
        '[callers.a]\ntoken_sha256 = ["the-token-itself"]',
        "callers.a.token_sha256.0: must be a SHA-256 as 64 digits of 0-9 and a-f",
    ),
    "share of nothing": (
        "[callers.a]\nshare = 0",
        "callers.a.share: must be 1 or more",
    ),
    "empty": ("\n", "is empty; write a rule, or a comment if nobody may do anything"),
    "not TOML": (
        "callers = ",
        "is not TOML: no value that TOML knows: text stands in quotes (at end of document)",
    ),
}


@pytest.mark.parametrize(("content", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_told(check: Check, content: str, wrong: str) -> None:
    """Which rule or caller, what was wrong, what would be right; never a token."""
    assert (2, f"FILE: {wrong}\n") == check(content, "a", "AddImage", "default")


def test_a_missing_file_is_told(check: Check) -> None:
    """No such file is exit code 2, too."""
    assert (2, "FILE: No such file or directory\n") == check("", "a", "AddImage", "default")


def test_all_that_is_wrong_is_told_at_once() -> None:
    """One line for each."""
    two = '[[rules]]\ncallers = ["a"]\nmethods = ["X"]\n[[rules]]\ncallers = ["a"]\nmethods = ["Y"]'
    with pytest.raises(PolicyError) as wrong:
        Policy.parse(two.encode())
    assert ["rule 1", "rule 2"] == [line[:6] for line in str(wrong.value).splitlines()]


def test_patterns_are_not_regular_expressions() -> None:
    """A dot is a dot, a bracket a bracket; the star also spans slashes and nothing."""
    policy = Policy.parse(b'[[rules]]\ncallers = ["a.b[c]", "spiffe://x/*"]')
    allowed = [
        name
        for name in ("a.b[c]", "axb[c]", "a.bc", "spiffe://x/", "spiffe://x/a/b", "spiffe://x")
        if policy.explain(name, "AddImage", "default").allowed
    ]
    assert ["a.b[c]", "spiffe://x/", "spiffe://x/a/b"] == allowed


def test_no_rules_allow_nothing() -> None:
    """A policy without rules denies everyone everything."""
    assert not Policy.parse(b"# nobody").explain("a", "AddImage", "default").allowed


def _replace(file: Path, text: str) -> None:
    """Put another file in its place: one that is written in place is empty for a moment."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def _policy(callers: dict[str, str], *rules: str) -> Policy:
    entries = [f'[callers."{name}"]\ntoken_sha256 = ["{token}"]' for name, token in callers.items()]
    return Policy.parse("\n".join([*entries, *rules, "# policy"]).encode())


@pytest.mark.parametrize(
    ("callers", "says"),
    [
        ({"a": "0", "b": "1"}, "callers 2 to 2, rules 1 to 1"),
        ({"a": "2", "b": "3"}, "callers 2 to 2, rules 1 to 1; other tokens for 'a', 'b'"),
        ({"a": "0"}, "callers 2 to 1, rules 1 to 1; callers removed 'b'"),
        (
            {"c": "0", "b": "1"},
            "callers 2 to 2, rules 1 to 1; callers added 'c'; callers removed 'a'",
        ),
    ],
)
def test_what_is_different_is_told_in_words(callers: dict[str, str], says: str) -> None:
    """By the callers' names; of tokens only whose they are."""
    before = {"a": "0" * 64, "b": "1" * 64}
    after = {name: digit * 64 for name, digit in callers.items()}
    rule = '[[rules]]\ncallers = ["*"]'
    assert says == _policy(after, rule).changes_since(_policy(before, rule))


def test_of_many_callers_ten_are_named() -> None:
    """The line of a change has an end."""
    many = {f"caller-{number}": f"{number:064x}" for number in range(100)}
    told = _policy(many).changes_since(_policy({}))
    assert "and 90 more" in told
    assert len(told) < 300


def test_a_changed_policy_is_in_use_without_a_restart(
    server: ServerFactory,
    upstream: FakeUpstream,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A rule that is taken away stops to hold; a broken file keeps the old one, told once."""
    file = tmp_path / "policy.toml"
    entry = f'[callers.a]\ntoken_sha256 = ["{hashlib.sha256(b"token").hexdigest()}"]\n'
    rule = '[[rules]]\ncallers = ["a"]\n'
    file.write_text(entry + rule)
    caplog.set_level(logging.INFO)
    running = server(policy_file=file, tls_poll_s=0.02)
    with v1.connect(f"127.0.0.1:{running.port}") as channel:
        search = v1.ProductSearchStub(channel).SearchImages

        def now() -> object:
            return outcome(lambda: search(SEARCH, metadata=(("authorization", "Bearer token"),)))

        assert OK == now()
        _replace(file, entry)
        until(lambda: now() == FORBIDDEN, "the rule is gone")
        told = f"policy_file was replaced and is in use: {file}: callers 1 to 1, rules 1 to 0"
        assert f"{told}; other rules" in caplog.text
        _replace(file, entry + rule)
        until(lambda: now() == OK, "the rule is back")
        _replace(file, entry + rule + "methods = 7")
        until(lambda: "stays as it was" in caplog.text, "told")
        looks = 0
        while looks < 10:  # as many as the watch would have taken to tell again
            assert OK == now()
            looks += 1
        file.unlink()
        until(lambda: caplog.text.count("stays as it was") == 2, "told that it is gone")
        assert OK == now()
        file.write_text("")  # so far has whoever writes it in place
        until(lambda: caplog.text.count("stays as it was") == 3, "told that it is empty")
        assert OK == now()
        assert 3 == caplog.text.count(f"policy_file stays as it was: {file}: ")
        file.write_text(entry + rule)
        again = "policy_file can be used again: it is what is in use"
        until(lambda: again in caplog.text, "told that it is whole")
        _replace(file, rule)
        until(lambda: now() == STRANGER, "the caller is gone")
    assert 3 == caplog.text.count("stays as it was")


def test_verdicts_keep_little_of_what_callers_make_up() -> None:
    """Names longer than a library's can be are refused on sight, and nothing of them is kept."""
    policy = Policy.parse(b'[[rules]]\ncallers = ["a"]\n')
    for length in (65, 66, 3_000_000):
        for number in range(20):
            with pytest.raises(CallerForbidden, match="longer than 64"):
                policy.check("a", "AddImage", str(number).rjust(length, "x"))
    assert not policy._verdicts
    for number in range(10_000):
        policy.check("a", "AddImage", str(number).rjust(64, "x"))
    assert len(policy._verdicts) <= 4096
