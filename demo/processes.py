"""Starts and stops the product's servers as processes, for the demo and the tests.

Knows command lines and how a server says that it is ready. Does not know their APIs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_READY = "listening on "
_STOP_S = 60


class ServerError(Exception):
    """A server or one of its commands failed; the text is the end of its log."""


class Server:
    """A server process that says ``listening on URL`` on stdout as soon as it does.

    Lines before that one name its other ports: ``admin on ADDRESS``. Its log goes to a file.
    Used as a context it is started, and stopped at the end.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]):
        self._command = list(command)
        self._log = log
        self.environment = {**os.environ, **environment}
        self._process: subprocess.Popen[str] | None = None
        self._log_began = 0
        self.url = ""
        """Base URL or address, once started."""
        self.other_ports: dict[str, str] = {}
        """Addresses of its other ports by name, once started."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.push(self)  # a signal may come while it starts
            self.start()
            stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, ready_s: float = 60) -> None:
        """Start and wait until the server is ready. Raises ServerError."""
        with self._log.open("ab") as log:
            self._log_began = log.tell()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe, see above
        *others, ready = _lines_until_ready(self._process.stdout, ready_s) or [""]
        if not ready.startswith(_READY):
            self.kill()
            raise ServerError(f"{self._command[0]} did not start:\n{self.log_end()}")
        self.url = ready.removeprefix(_READY).strip()
        self.other_ports = dict(line.strip().split(" on ", 1) for line in others)

    def run_by(self, *command: str) -> None:
        """Let ``command`` run the server, as a wrapper does, from the next start on."""
        self._command = [*command, *self._command]

    def stop(self) -> int:
        """Stop as an operator does (SIGTERM) and return the exit status; 0 if not running."""
        return self._end(signal.SIGTERM)

    def wait(self, within_s: float = _STOP_S) -> int:
        """Wait until the server has ended by itself and return its exit status (-9: it had not)."""
        return self._end(None, within_s)

    def send_signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and do not wait for what comes of it."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Stop as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None  # noqa: S101 - asked of a server that was started
        return self._process.pid

    def log(self) -> str:
        """Return all that the server has logged."""
        return self._log.read_text(errors="replace")

    def log_end(self) -> str:
        """Return the last lines that were logged since the last start."""
        began = self._log.read_bytes()[self._log_began :]
        return "\n".join(began.decode(errors="replace").splitlines()[-30:])

    def _end(self, number: signal.Signals | None, within_s: float = _STOP_S) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if number is not None:
            process.send_signal(number)
        try:
            status = process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return status


class Engine(Server):
    """The self-hosted upstream over its embedded PostgreSQL, on a free port of loopback.

    Without ``data`` it works in a temporary folder that goes with it. ``environment`` adds
    settings (``PRODUCTSEARCH_ENGINE_...``).
    """

    def __init__(
        self,
        data: Path | None = None,
        *,
        listen: str = "127.0.0.1:0",
        environment: Mapping[str, str] | None = None,
    ):
        self._temporary = None if data else tempfile.TemporaryDirectory(prefix="productsearch-")
        self.data = data or Path(self._temporary.name if self._temporary else "")
        self.data.mkdir(parents=True, exist_ok=True)
        _open_temporary(self.data)
        settings = {"PRODUCTSEARCH_ENGINE_DATA": str(self.data), **(environment or {})}
        super().__init__(
            [sys.executable, "-m", "productsearch_engine", "serve", "--listen", listen],
            self.data / "engine.log",
            settings,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        # An engine that was killed leaves PostgreSQL running: its last user stops it, and
        # that is now this command.
        if (self.data / "postgres" / "postmaster.pid").exists():
            self.command("library", "list")
        if self._temporary:
            self._temporary.cleanup()

    def create_library(self, name: str, *options: str) -> tuple[str, str]:
        """Create a library and return its API key and secret key. Raises ServerError."""
        made = json.loads(self.command("library", "create", name, "--json", *options))
        return made["api_key"], made["secret_key"]

    def command(self, *arguments: str) -> str:
        """Run ``productsearch-engine`` with arguments and return its stdout.

        Works whether or not the engine is running. Raises ServerError.
        """
        done = subprocess.run(
            [sys.executable, "-m", "productsearch_engine", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"status {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def _open_temporary(folder: Path) -> None:
    """Let other accounts pass through a temporary folder of ours.

    Python makes temporary folders for its own account alone, and as root the engine's PostgreSQL
    has another one.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for each in (folder.resolve(), *folder.resolve().parents):
        if temporary in each.parents and each.stat().st_uid == os.geteuid():
            each.chmod(each.stat().st_mode | 0o011)


def _lines_until_ready(stream: IO[str], within_s: float) -> list[str]:
    """Return the lines up to the one that says ready, or as far as stream or time go."""
    lines: list[str] = []

    def read() -> None:
        for line in stream:
            lines.append(line)
            if line.startswith(_READY):
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(within_s)
    return lines.copy()
