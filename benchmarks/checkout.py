"""Another commit of this repository, checked out and ready to run beside this one.

It goes to ``build/against/<sha>``, a work tree of git, and stays there for the next time. Where its
lock file of the service is the one of this checkout, its facade runs with this interpreter; else
with a virtual environment of its own, made from its lock file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_ALL: Final = ROOT / "build" / "against"
_LOCK: Final = Path("service") / "requirements.lock"
_BUILD_LOCK: Final = Path("requirements-build.lock")
_PACKAGES: Final = ("service", "clients/python")


class CheckoutError(Exception):
    """A commit that cannot be checked out or run; the text says why."""


@dataclass(frozen=True)
class Checkout:
    """A commit's files, and the interpreter that runs them."""

    sha: str
    directory: Path
    python: Path

    @classmethod
    def of(cls, revision: str, within: Path = _ALL) -> Checkout:
        """Check out what git knows by that name, in a folder there. Raises CheckoutError."""
        sha = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        directory = within / sha
        if not (directory / ".git").exists():
            _git("worktree", "add", "--force", "--detach", str(directory), sha)
        checkout = cls(sha, directory, _python(directory))
        checkout._check()
        return checkout

    def remove(self) -> None:
        """Remove the files; git forgets the work tree."""
        _git("worktree", "remove", "--force", str(self.directory))

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables with which the interpreter finds this commit's packages before all others."""
        return {"PYTHONPATH": ":".join(str(self.directory / name) for name in _PACKAGES)}

    @property
    def has_one_core(self) -> bool:
        """Whether its facade keeps its threads on one core unless ``one_core`` is false."""
        return (self.directory / "service/productsearch_service/affinity.py").exists()

    def _check(self) -> None:
        """Raise CheckoutError unless the interpreter takes the service from this commit."""
        found = _run(
            [str(self.python), "-c", "import productsearch_service as s; print(s.__file__)"],
            self.environment,
        )
        if not found.startswith(str(self.directory)):
            raise CheckoutError(f"{self.python} runs {found}, not {self.directory}")


def here() -> str:
    """Return the name of this checkout's commit, with a plus if files were changed."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _python(directory: Path) -> Path:
    if (directory / _LOCK).read_bytes() == (ROOT / _LOCK).read_bytes():
        return Path(sys.executable)
    environment = directory / ".venv"
    python, made = environment / "bin" / "python", environment / ".installed"
    if not made.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(environment)])
        install = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        for lock in (_BUILD_LOCK, _LOCK):
            _run([*install, "--require-hashes", "-r", str(directory / lock)])
        # Installed too, because a service asks for its own version.
        packages = [f"--editable={directory / name}" for name in _PACKAGES]
        _run([*install, "--no-deps", "--no-build-isolation", *packages])
        made.touch()
    return python


def _git(*arguments: str) -> str:
    return _run(["git", "-C", str(ROOT), *arguments])


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or "no more is known"
        raise CheckoutError(f"{' '.join(command)} failed: {said}")
    return done.stdout.strip()
