"""The command line against a real facade in front of an upstream that remembers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from productsearch.cli.main import main
from tests.conftest import ServerFactory
from tests.fakes.remembering_upstream import RememberingUpstream
from tests.pictures import jpeg


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON values that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the configuration of the person who runs the tests out; return the file used."""
    file = tmp_path / "settings" / "config.toml"
    monkeypatch.setenv("PRODUCTSEARCH_CLI_CONFIG", str(file))
    return file


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs a command in this process, as its pipe would see it."""

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def shop() -> Iterator[RememberingUpstream]:
    """Return an upstream with a library."""
    with RememberingUpstream() as upstream:
        yield upstream


@pytest.fixture
def target(
    shop: RememberingUpstream, server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Start a facade over ``shop`` and make it the one that commands call."""
    address = f"127.0.0.1:{server({'base_url': shop.url}).port}"
    monkeypatch.setenv("PRODUCTSEARCH_CLI_TARGET", address)
    return address


@pytest.fixture
def photo(tmp_path: Path) -> Callable[[int], Path]:
    """Return a function that writes an image and returns its path."""

    def write(seed: int) -> Path:
        file = tmp_path / f"sku-{seed}.jpg"
        file.write_bytes(jpeg(seed))
        return file

    return write
