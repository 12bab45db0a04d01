"""`python -m benchmarks --against REV` measures two commits by what git says they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import against, checkout
from benchmarks.__main__ import main
from benchmarks.load import Result


def _result(per_s: float, cost_s: float) -> Result:
    calls = round(per_s)
    return Result(seconds=1.0, calls=calls, server_cpu_s=calls * cost_s, p50_s=0.01, p99_s=0.02)


@pytest.fixture
def commit(tmp_path: Path) -> Iterator[checkout.Checkout]:
    """The commit of this checkout in a folder of its own."""
    made = checkout.Checkout.of("HEAD", tmp_path)
    yield made
    made.remove()


def test_a_checkout_runs_its_own_code(commit: checkout.Checkout) -> None:
    """The interpreter of a checkout takes the service from there, whatever is installed."""
    code = "import productsearch_service as s, productsearch as c; print(s.__file__, c.__file__)"
    told = subprocess.run(
        [commit.python, "-c", code],
        env=commit.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [True, True] == [path.startswith(str(commit.directory)) for path in told]


def test_a_checkout_is_the_commit(commit: checkout.Checkout) -> None:
    """Its files are those of the commit, and a second call finds it there."""
    head = subprocess.run(
        ["git", "-C", commit.directory, "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert head == commit.sha == commit.directory.name
    assert commit == checkout.Checkout.of(commit.sha, commit.directory.parent)


@pytest.mark.parametrize("revision", ["no-such-commit", "", "--version", "HEAD:README.md"])
def test_what_is_no_commit_is_refused(revision: str) -> None:
    """Nothing is checked out for a name that git does not know as a commit."""
    with pytest.raises(checkout.CheckoutError):
        checkout.Checkout.of(revision)


@pytest.mark.parametrize("callers", against.CALLERS)
@pytest.mark.parametrize("size", against.SIZES)
def test_each_bar_is_held_against_its_own_rival(size: str, callers: int) -> None:
    """A measure is short when its own ratio is, at every load and size."""
    unpinned = "there, one_core = false"
    bar = {"1 KB": 1.6, "300 KB": 1.3}[size]
    turns = {
        "here": [_result(1000, 1e-3)] * 3,
        "there": [_result(1000, 1e-3)] * 3,
        unpinned: [_result(1000 / (bar + 0.1), 1e-3)] * 3,
    }
    assert [True] * 3 == [m.kept for m in against.measures_of(size, callers, turns)]
    slower = 900 if callers != 8 else 990
    worse = {
        "here": [_result(slower, 1.06e-3)] * 3,
        "there": turns["there"],
        unpinned: [_result(slower / (bar - 0.1), 1e-3)] * 3,
    }
    assert [False] * 3 == [m.kept for m in against.measures_of(size, callers, worse)]


def test_the_command_line_names_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown measure or commit ends with status 2 before anything runs."""
    for arguments, said in (
        (["nothing"], "no such measure: nothing"),
        (["--against", "no-such-commit"], "no-such-commit"),
        (["encoder", "--against", "HEAD"], "no such measure: encoder"),
        (["mixed", "--against", "no-such-commit"], "no-such-commit"),
    ):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (2, True) == (ended.value.code, said in capsys.readouterr().err)
