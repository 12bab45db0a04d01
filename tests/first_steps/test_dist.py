"""`make dist` builds wheels that install together, and their programs start."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
_PROGRAMS: Final = ("productsearch", "productsearch-service", "productsearch-engine")
_INSTALL_S: Final = 280

pytestmark = pytest.mark.slow


def _done(*command: str | Path, cwd: Path) -> str:
    """Run a command that has to succeed, outside this environment."""
    environment = {name: text for name, text in os.environ.items() if "VIRTUAL_ENV" not in name}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=environment | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(_INSTALL_S * 2)
def test_the_wheels_install_and_their_programs_start(tmp_path: Path) -> None:
    """In a fresh environment, in a folder that holds nothing of the repository."""
    _done("make", "dist", f"dist={tmp_path / 'dist'}", cwd=ROOT)
    wheels = sorted((tmp_path / "dist").glob("*.whl"))
    assert [f"productsearch_{name}" for name in ("client", "engine", "service")] == [
        wheel.name.split("-")[0] for wheel in wheels
    ]
    venv.create(tmp_path / "fresh", with_pip=True)
    programs = tmp_path / "fresh/bin"
    # `pip install dist/*.whl 'productsearch-client[cli]'`, as the README says
    asked = (*wheels, "productsearch-client[cli]")
    _done(programs / "python", "-m", "pip", "install", "-q", "--no-compile", *asked, cwd=tmp_path)
    for name in _PROGRAMS:
        assert "usage: " in _done(programs / name, "--help", cwd=tmp_path).lower(), name
    weights = _done(
        programs / "python",
        "-c",
        "from productsearch_engine.embedding.load import load; print(load('compact').dimensions)",
        cwd=tmp_path,
    )
    assert int(weights) > 0
    _done(programs / "python", "-m", "pip", "uninstall", "-q", "-y", "rich", cwd=tmp_path)
    assert "usage: " in _done(programs / "productsearch", "--help", cwd=tmp_path).lower()
