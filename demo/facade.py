"""Starts the facade as a process, with a settings file and credential files as in production."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from demo.processes import Server


class Facade(Server):
    """The gRPC facade on loopback, for libraries of one upstream.

    ``key_pairs`` maps library names to (API key, secret key); they are written to files under
    ``data``, readable by this user alone. ``environment`` adds settings (``PRODUCTSEARCH_...``).
    ``upstream`` says what the upstream is; empty leaves that to the service, as older ones do not
    know the setting. Ports are free ones unless they are given.
    """

    def __init__(
        self,
        data: Path,
        upstream_url: str,
        key_pairs: Mapping[str, tuple[str, str]],
        *,
        listen: str = "127.0.0.1:0",
        admin_listen: str = "127.0.0.1:0",
        metrics_listen: str = "127.0.0.1:0",
        upstream: str = "engine",
        environment: Mapping[str, str] | None = None,
    ):
        data.mkdir(parents=True, exist_ok=True)
        lines = [
            f'listen = "{listen}"',
            f'admin_listen = "{admin_listen}"',
            f'metrics_listen = "{metrics_listen}"',
        ]
        for name, (api_key, secret_key) in key_pairs.items():
            directory = data / "credentials" / name
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_secret(directory / "api_key", api_key)
            _write_secret(directory / "secret_key", secret_key)
            lines += [
                f"[libraries.{name}]",
                f'base_url = "{upstream_url}"',
                *([f'upstream = "{upstream}"'] if upstream else []),
                f'credentials_dir = "{directory.resolve()}"',
                "quota_qps = 0  # the engine keeps its own, if it has one",
            ]
        self.settings = data.resolve() / "settings.toml"
        self.settings.write_text("\n".join(lines) + "\n", "utf-8")
        super().__init__(
            [sys.executable, "-m", "productsearch_service"],
            data / "service.log",
            {"PRODUCTSEARCH_SETTINGS": str(self.settings), **(environment or {})},
        )

    def write_ports(self) -> None:
        """Write the ports that it listens at into its settings file, for whoever reads it."""
        names = {"listen": self.url, "admin_listen": self.admin, "metrics_listen": self.metrics}
        text = self.settings.read_text("utf-8")
        for name, address in names.items():
            text = re.sub(rf'^{name} = ".*"$', f'{name} = "{address}"', text, flags=re.MULTILINE)
        self.settings.write_text(text, "utf-8")

    @property
    def admin(self) -> str:
        """Address of health, reflection and channelz by gRPC, once started."""
        return self.other_ports["admin"]

    @property
    def metrics(self) -> str:
        """Address of metrics and probes by HTTP, once started."""
        return self.other_ports["metrics"]


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
