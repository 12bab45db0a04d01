"""Completion, as a shell asks for it: commands, options, names of profiles."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from productsearch.cli.main import COMMANDS
from tests.cli.conftest import Cli


def _completed(words: str) -> set[str]:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "from productsearch.cli import run; run()"],
        env=os.environ | asked | {"_PRODUCTSEARCH_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
    )
    assert "" == done.stderr
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


def test_commands_options_and_profiles_are_completed(cli: Cli) -> None:
    """Each command by its beginning; options of one; profiles of the file."""
    assert {*COMMANDS} == _completed("productsearch ")
    assert {"import"} == _completed("productsearch im")
    assert {"--brief"} == _completed("productsearch import --br")
    cli("config", "set", "target", "x:1", "--profile", "shop")
    assert {"shop"} == _completed("productsearch status --profile s")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(cli: Cli, shell: str) -> None:
    """It names the program; bash itself accepts it."""
    ran = cli("completion", shell)
    assert (0, True) == (ran.code, "_PRODUCTSEARCH_COMPLETE" in ran.out)
    if shell == "bash" and (bash := shutil.which("bash")):
        subprocess.run([bash, "-n"], input=ran.out, text=True, check=True)


def test_every_command_has_help(cli: Cli) -> None:
    """`--help` of each ends with 0 and says how it is used."""
    for name in COMMANDS:
        ran = cli(name, "--help")
        assert (0, True) == (ran.code, ran.out.startswith(f"Usage: productsearch {name}"))
