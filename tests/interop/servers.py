"""Starts the servers of one runner: the real service in several states, and the flaky one.

Each runner gets servers of its own, so that no language sees what another one left behind. The
service runs in this process, over real HTTP and real gRPC; states that take bad luck to meet
(a fault of the service, a full replica) are brought about here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from unittest import mock

from demo.processes import Engine
from productsearch import v1
from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.library.commands import Delete
from productsearch_service.rpc import validation
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.interop.certificates import CALLER, Certificates
from tests.interop.flaky import FlakyServer
from tests.interop.scripted import SCRIPTS, ScriptedUpstream

_OUT_OF_REACH: Final = "http://127.0.0.1:9"
_GRACE_S: Final = 20
_POLICY: Final = f"""
[callers."{CALLER}"]
[[rules]]
callers = ["{CALLER}"]
methods = ["SearchImages"]
"""
_NOBODY: Final = "callers = {}"


class Servers:
    """The servers of one runner; a context manager. ``targets`` is what its plan needs.

    Without ``engine`` there is no target of that name.
    """

    def __init__(self, name: str, engine: Engine | None, folder: Path, codes: list[str]) -> None:
        self._name = name
        self._engine = engine
        self._folder = folder
        self._codes = codes
        self._stack = ExitStack()
        self._running: dict[str, Server] = {}
        self.targets: dict[str, dict[str, str]] = {}
        self.control = ""
        self.upstream = ScriptedUpstream()
        self.flaky = FlakyServer()

    def __enter__(self) -> Servers:
        with ExitStack() as stack:
            stack.enter_context(self.upstream)
            stack.enter_context(self.flaky)
            stack.enter_context(_bad_luck())
            self.targets["flaky"] = {"address": self.flaky.address}
            self.control = stack.enter_context(_control(self._drain))
            stack.callback(self._stop_all)
            self._start_all()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_all(self) -> None:
        plain = {"plain": self._at_fake("plain")}
        scripted = {name: self._at_fake(name) for name in (*SCRIPTS, *self._codes)}
        scripted["one-call-in-20-s"]["quota_qps"] = 0.05
        scripted["out-of-reach"]["base_url"] = _OUT_OF_REACH
        self._start("fake", scripted)
        if self._engine is not None:
            self._start("engine", self._at_engine(self._engine))
        self._start("drained", {"once-each": self._at_fake("once-each")})
        draining = self._start("draining", plain)
        draining.run(_begin_to_drain(draining))  # refuses calls, and serves on to say so
        with mock.patch.object(limits, "RPCS_IN_FLIGHT_MAX", 0):
            self._start("overloaded", plain)
        self._start("guarded", plain, policy_file=self._file("nobody.toml", _NOBODY))
        self._start_tls(plain)

    def _start_tls(self, libraries: dict[str, Any]) -> None:
        made = Certificates(self._folder)
        tls = {"tls_cert_file": made.server_certificate, "tls_key_file": made.server_key}
        policy = {"policy_file": self._file("policy.toml", _POLICY)}
        self._start("tls", libraries, **tls)
        self._start("mutual-tls", libraries, **tls, **policy, tls_client_ca_file=made.authority)
        for name in ("tls", "mutual-tls"):
            port = self.targets[name]["address"].rpartition(":")[2]
            self.targets[name] = {"address": f"localhost:{port}", "ca": str(made.authority)}
        self.targets["mutual-tls"] |= {
            "certificate": str(made.caller_certificate),
            "key": str(made.caller_key),
        }

    def _start(self, target: str, libraries: dict[str, Any], **changes: Any) -> Server:
        settings: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "libraries": libraries,
            "default_library": next(iter(libraries)),
            "drain_delay_s": 0,
            "drain_grace_s": _GRACE_S,
            "admin_listen": "",
            "metrics_listen": "",
        }
        server = Server(Settings(**settings | changes))
        server.start()
        self._running[target] = server
        self.targets[target] = {"address": f"127.0.0.1:{server.port}"}
        return server

    def _at_fake(self, library: str) -> dict[str, Any]:
        pair = {"api_key": library, "secret_key": "the-secret-key"}
        return {"base_url": self.upstream.url, "quota_qps": 0, **pair}

    def _at_engine(self, engine: Engine) -> dict[str, Any]:
        libraries = {}
        for name, options in (("default", ()), ("room-for-one", ("--capacity", "1"))):
            pair = engine.create_library(f"{self._name}-{name}", *options)
            keys = {"api_key": pair[0], "secret_key": pair[1]}
            libraries[name] = {"base_url": engine.url, "quota_qps": 0, **keys}
        return libraries

    def _file(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text, "utf-8")
        return path

    def _drain(self, target: str) -> None:
        """Stop a server as SIGTERM does; a target that is not the service is left alone."""
        server = self._running.pop(target, None)
        if server is not None:
            stop = threading.Thread(target=server.stop)
            stop.start()
            self._stack.callback(stop.join)

    def _stop_all(self) -> None:
        for server in self._running.values():
            server.stop()


async def _begin_to_drain(server: Server) -> None:
    server.service._admission.drain()


@contextmanager
def _bad_luck() -> Iterator[None]:
    """Let deletes in library ``fault`` meet a bug, and those in ``hurried`` a late hour."""
    sound = validation.delete

    def delete(request: v1.DeleteImageRequest, image: memoryview | None) -> Delete:
        if request.library == "fault":
            raise RuntimeError("a bug")
        if request.library == "hurried":
            Deadline.after(0.05).require()
        return sound(request, image)

    with mock.patch.object(validation, "delete", delete):
        yield


@contextmanager
def _control(drain: Callable[[str], None]) -> Iterator[str]:
    """Serve ``POST /drain/TARGET`` and yield the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            drain(self.path.removeprefix("/drain/"))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
