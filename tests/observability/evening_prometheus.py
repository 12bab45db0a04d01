"""A real Prometheus with the product's alerts, whose durations are divided by 60."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from deploy.prometheus import alerts
from tests.ports import free_port

_DIVIDE = 60
_CONFIGURATION = {
    "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"},
    "rule_files": ["alerts.yml"],
    "scrape_configs": [
        {
            "job_name": job,
            "metrics_path": path,
            "file_sd_configs": [{"files": [f"{job}.json"], "refresh_interval": "1s"}],
        }
        for job, path in (
            ("facade", "/metrics"),
            ("engine", "/metrics"),
            ("gateway", "/stats/prometheus"),
        )
    ],
}


class Prometheus:
    """A context: the server on a free port; ``targets`` says whom it asks, by job."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        (folder / "alerts.yml").write_text(alerts.text(_DIVIDE))
        (folder / "prometheus.yml").write_text(json.dumps(_CONFIGURATION))
        self._began_s = time.time()
        self._targets: dict[str, list[str]] = {}
        self.targets(facade=[], engine=[], gateway=[])

    def __enter__(self) -> Self:
        program = shutil.which("prometheus")
        if program is None:
            raise SystemExit("prometheus is not installed: apt-get install prometheus")
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={self._folder}/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )
        with ExitStack() as stack:
            stack.push(self)  # a signal may come while it starts
            self._wait_until_ready()
            stack.pop_all()
        return self

    def _wait_until_ready(self) -> None:
        ends_s = time.monotonic() + 60
        while time.monotonic() < ends_s:
            try:
                if requests.get(f"{self.url}/-/ready", timeout=2).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        raise SystemExit((self._folder / "log").read_text()[-2000:])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    def targets(self, **addresses: list[str]) -> None:
        """Ask these addresses from now on; jobs that are not named stay as they are."""
        self._targets |= addresses
        for job, found in self._targets.items():
            file = self._folder / f"{job}.json"
            new = file.with_suffix(".new")
            new.write_text(json.dumps([{"targets": found}]))
            new.replace(file)

    def add_target(self, job: str, address: str) -> None:
        """Ask one more."""
        self.targets(**{job: [*self._targets[job], address]})

    def remove_target(self, job: str, address: str) -> None:
        """Ask one less."""
        self.targets(**{job: [each for each in self._targets[job] if each != address]})

    def ever_had_data(self, query: str) -> bool:
        """Return whether a query gives anything at any time since the start."""
        asked: dict[str, str | float] = {
            "query": query,
            "start": self._began_s,
            "end": time.time(),
            "step": 5,
        }
        answer = requests.get(f"{self.url}/api/v1/query_range", params=asked, timeout=60)
        return bool(answer.json()["data"]["result"])

    def query(self, query: str, at_s: float | None = None) -> list[dict[str, Any]]:
        """Return what a query gives now, or at a time of the clock."""
        asked: dict[str, str | float] = {"query": query}
        if at_s is not None:
            asked["time"] = at_s
        answer = requests.get(f"{self.url}/api/v1/query", params=asked, timeout=30)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def firing(self, kind: str) -> set[str]:
        """Return the names of the alerts of a kind that fire."""
        found = self.query(f'ALERTS{{alertstate="firing",kind="{kind}"}}')
        return {each["metric"]["alertname"] for each in found}
