"""The files of the embedded PostgreSQL: its cluster, its settings, its socket and what locks it.

Knows files and the account that they belong to. Does not know whether a server runs.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import shlex
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from productsearch_engine.database import processes, tuning
from productsearch_engine.database.programs import EmbeddedError, Programs

_log = logging.getLogger(__name__)

SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES_MAX = 100
"""Linux allows 107 bytes, macOS 103."""

_NOTE = "# Written by productsearch-engine; yours to change."
_MACHINE = "machine.conf"
_INCLUDE = f"include_if_exists = '{_MACHINE}'  # written anew at each start; later lines win"
_BEFORE = "\nshared_buffers = 256MB"
"""What engines of the version before wrote below the note."""


class ServerFiles:
    """The files of the server in the folder ``cluster``."""

    def __init__(self, cluster: Path, programs: Programs):
        self._cluster = cluster
        self._programs = programs

    def prepare(self) -> None:
        """Create the cluster if there is none. Raises EmbeddedError."""
        if self._has_cluster():
            self._require_version()
            self._require_owner()
        else:
            self._initialize()

    def _has_cluster(self) -> bool:
        """Return whether there is a cluster; an empty folder takes one. Raises EmbeddedError."""
        if (self._cluster / "PG_VERSION").exists():
            return True
        if os.path.lexists(self._cluster) and not _is_empty_folder(self._cluster):
            raise EmbeddedError(
                f"{self._cluster} is no data directory of PostgreSQL, as it has no file PG_VERSION,"
                " and it is not empty: restore it from a backup, or move it away to begin an empty"
                " database"
            )
        return False

    def _require_owner(self) -> None:
        """Raise EmbeddedError for a cluster of another account, as a copy of one can be.

        PostgreSQL does not start on one.
        """
        needed = self._programs.owner
        if (found := self._cluster.stat().st_uid) == needed:
            return
        raise EmbeddedError(
            f"{self._cluster} belongs to the account {_account_name(found)}, and PostgreSQL runs as"
            f" {_account_name(needed)}: give it all files there, with"
            f" chown -R {_account_name(needed)} {shlex.quote(str(self._cluster))}"
        )

    def _require_version(self) -> None:
        """Raise EmbeddedError for a cluster of another PostgreSQL."""
        found = (self._cluster / "PG_VERSION").read_text().strip()
        if found != self._programs.version:
            raise EmbeddedError(
                f"{self._cluster} is the data directory of PostgreSQL {found!r}, and the embedded"
                f" one is {self._programs.version}: dump it with the PostgreSQL that it is of, and"
                " restore the dump into an empty data directory"
            )

    def _initialize(self) -> None:
        data = self._cluster.parent
        _log.info("%s is new: its database begins now; --data names another", data)
        # In another folder first: a run that is killed half way leaves no incomplete cluster.
        new = self._cluster.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        self._programs.give(new)
        # Trust, because only this account and root can open the socket.
        choices = "--username=postgres --encoding=UTF8 --locale=C"
        access = "--auth-local=trust --auth-host=reject"
        self._programs.run("initdb", "-D", str(new), *choices.split(), *access.split())
        with (new / "postgresql.conf").open("a") as configuration:
            configuration.write(f"\n{_NOTE}\n{_INCLUDE}\n")
        new.rename(self._cluster)

    def socket_folder(self) -> Path:
        """Return the cluster, or a folder below the temporary one if its path is too long."""
        if len(os.fsencode(self._cluster / SOCKET)) <= _SOCKET_PATH_BYTES_MAX:
            return self._cluster
        name = hashlib.sha256(os.fsencode(self._cluster)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"productsearch-{name}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self._programs.give(folder)
        found = folder.lstat()
        if found.st_uid != self._programs.owner or found.st_mode & 0o170777 != 0o040700:
            raise EmbeddedError(
                f"{folder} belongs to another account; use a shorter data directory"
            )
        return folder

    def configure(self) -> None:
        """Write the settings for this machine to a file that ``postgresql.conf`` includes."""
        disk = shutil.disk_usage(self._cluster).total
        values = tuning.configuration(tuning.memory_bytes(), tuning.cores(), disk)
        lines = [f"{name} = {value}\n" for name, value in values.items()]
        self._write(self._cluster / _MACHINE, "".join(lines))
        file = self._cluster / "postgresql.conf"
        text = file.read_text()
        if _MACHINE in text or _NOTE not in text:
            return  # it is there, or whoever removed the note wants nothing of it
        before, _, after = text.rpartition(_NOTE)
        self._write(file, f"{before}{_NOTE}\n{_INCLUDE}{after.removeprefix(_BEFORE)}")

    def _write(self, file: Path, text: str) -> None:
        """Replace a file as a whole: one that is cut short would keep the server from starting."""
        new = file.with_name(f"{file.name}.new")
        new.write_text(text)
        new.chmod(0o600)
        self._programs.give(new)
        new.replace(file)

    def remove_stale_locks(self, socket_folder: Path) -> None:
        """Remove a dead server's lock files if its process id now belongs to something else.

        PostgreSQL notices when no process has the id. It mistakes a zombie, or another program
        with the id, for a running server; after a container restarts, ids are often reused. A base
        backup has a copy of the socket's lock file, which names the server that it was made of.
        """
        for file in (self._cluster / "postmaster.pid", socket_folder / f"{SOCKET}.lock"):
            with suppress(OSError, ValueError, IndexError):
                number, folder, *_ = file.read_text().splitlines()
                is_copied = file.suffix == ".lock" and folder != str(self._cluster)
                exists = processes.exists(int(number))
                if exists and (is_copied or not processes.is_postgres(int(number))):
                    file.unlink()


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _account_name(user_id: int) -> str:
    """Return the name of an account, or its number where it has none."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
