"""The Python client as others get it: a wheel in a clean environment."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

import pytest

from tests.clients.running import CLIENT, output_of


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    out = tmp_path_factory.mktemp("wheel")
    output_of(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, CLIENT)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the python of an environment that has the wheel and what types need, no more."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    packages = (wheel, "mypy", "types-grpcio", "types-protobuf")
    output_of(python, "-m", "pip", "install", "-q", *packages)
    return python
