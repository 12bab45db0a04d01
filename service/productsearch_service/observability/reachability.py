"""Whether callers reach this replica: its own port is called as they would, over a new connection.

Plaintext: grpc.health.v1 is asked. With TLS there is no certificate for us that the port must
accept; a server that shakes hands, or refuses us in words of TLS, is reached.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Final

from productsearch_service import limits
from productsearch_service.observability import health
from productsearch_service.periodic_task import PeriodicTask
from productsearch_service.settings_values import host_and_port

_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here

_log = logging.getLogger(__name__)


class Reachability:
    """Calls the port at ``listen`` every few seconds; a few failures in a row make a reason."""

    def __init__(self, listen: str, *, tls: bool) -> None:
        host = host_and_port(listen)[0]
        self._host = _ANYWHERE.get(host, host)
        self._port = 0
        self._reached = _reached_by_tls if tls else _reached_by_grpc
        self._failures = 0
        self._rounds = PeriodicTask("reachability", self._look, limits.REACHABILITY_POLL_S)

    @property
    def not_ready_reason(self) -> str:
        """Why callers do not reach this replica, or nothing."""
        if self._failures < limits.REACHABILITY_FAILURES:
            return ""
        return f"a call to its own port {self._port} is not answered"

    def start(self, port: int) -> None:
        """Begin to call ``port``. Needs a running event loop."""
        self._port = port
        self._rounds.start()

    async def stop(self) -> None:
        """End these calls."""
        await self._rounds.stop()

    async def _look(self) -> None:
        try:
            reached = await asyncio.to_thread(self._reached, self._host, self._port)
        except Exception:  # noqa: BLE001 - who lacks a descriptor for this lacks one for callers
            reached = False
        before = self.not_ready_reason
        self._failures = 0 if reached else self._failures + 1
        if self.not_ready_reason and not before:
            _log.warning("%s", self.not_ready_reason)


def _reached_by_grpc(host: str, port: int) -> bool:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return health.ask(address) != health.UNREACHABLE


def _reached_by_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), limits.REACHABILITY_TIMEOUT_S) as line,
            context.wrap_socket(line),
        ):
            return True
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return False
    except ssl.SSLError:
        return True  # it asks for a certificate of ours, so it is there
    except OSError:
        return False
