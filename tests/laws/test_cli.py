"""Laws of the command line: exit codes, what starts quickly, which room knows what."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import grpc

from productsearch.cli import rpc_failures
from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.main import COMMANDS
from productsearch.v1 import ErrorReason

ROOT = Path(__file__).resolve().parents[2]
CLI = ROOT / "clients/python/productsearch/cli"
SLOW_TO_IMPORT = ("grpc", "google.protobuf", "rich", "sqlite3", "asyncio", "PIL", "tomlkit", "csv")


def test_the_exit_codes_are_fixed() -> None:
    """Scripts rely on them: a changed number is a broken promise."""
    assert {
        "DONE": 0,
        "FAULT": 1,
        "USAGE": 2,
        "SOME_REJECTED": 3,
        "GO_ON_LATER": 4,
        "REFUSED": 5,
        "UNREACHABLE": 6,
        "INTERRUPTED": 130,
    } == {code.name: int(code) for code in ExitCode}


def test_the_document_has_the_same_table() -> None:
    """docs/cli.md lists each code with its meaning."""
    text = (ROOT / "docs/cli.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", text, re.MULTILINE))
    assert {str(int(code)): code.meaning for code in ExitCode} == rows


def test_every_error_means_an_exit_code() -> None:
    """Each reason of the wire and each code of gRPC; nothing else is in the tables."""
    assert {*ErrorReason.keys()} == {*rpc_failures.REASONS}
    assert {*grpc.StatusCode} == {*rpc_failures.CODES}
    meant = {code for code, _ in (*rpc_failures.REASONS.values(), *rpc_failures.CODES.values())}
    assert {ExitCode.GO_ON_LATER, ExitCode.REFUSED, ExitCode.UNREACHABLE} == meant


def test_help_and_completion_import_nothing_slow() -> None:
    """All commands are imported, as completion of their options does, and gRPC is not."""
    names = [f"productsearch.cli.commands.{name}_command" for name in COMMANDS]
    program = (
        "import sys; from importlib import import_module; import productsearch.cli.main\n"
        f"[import_module(name) for name in {names}]\n"
        f"print([name for name in {SLOW_TO_IMPORT} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "[]\n" == done.stdout, done.stdout + done.stderr


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    return names | {
        node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }


def test_rooms_know_their_own_subject_only() -> None:
    """Journal and sources know neither gRPC nor messages nor the terminal."""
    for path in (CLI / "journal.py", *(CLI / "sources").glob("*.py"), CLI / "profile.py"):
        known = _imports(path)
        foreign = {
            name
            for name in known
            if name.split(".")[0] in ("grpc", "google", "click", "rich")
            or name.startswith("productsearch.v1")
        }
        assert set() == foreign, path


def test_a_package_that_a_command_lacks_is_named() -> None:
    """The wheel without its extra: what is missing, and what to install, with code 2."""
    program = (
        "import sys; sys.modules['platformdirs'] = None; sys.argv[1:] = ['status']\n"
        "from productsearch.cli import run; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={name: text for name, text in os.environ.items() if "PRODUCTSEARCH" not in name},
    )
    assert 2 == done.returncode, done.stderr
    assert "the package platformdirs is not installed" in done.stderr
    assert "pip install './clients/python[cli]'" in done.stderr
