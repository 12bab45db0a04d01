"""The vendor's SDKs: how each one's runner is built and started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.engine.sdk.front import STORE_PASSWORD, Front

_HERE: Final = Path(__file__).parent
_BUILT: Final = _HERE.parents[2] / "build" / "sdk"
_BUILD_S: Final = 600


class Runner:
    """A running SDK."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def ask(self, call: str, **asked: Any) -> dict[str, Any]:
        """Make a call: ``image`` (base64) or ``text``, ``brief`` and ``options`` as they are.

        Returns the SDK's answer under ``answer``, or what it threw under ``raised``.
        """
        line = json.dumps({"call": call, "options": {}, **asked})
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        assert told, "the runner has ended"
        answer: dict[str, Any] = json.loads(told)
        return answer


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language; ``build`` runs in the folder of its runner."""

    name: str
    tools: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    command: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """Programs that this machine does not have."""
        return [tool for tool in self.tools if shutil.which(tool) is None]

    @property
    def folder(self) -> Path:
        """The built runner."""
        return _BUILT / self.name

    def make(self) -> None:
        """Build the runner outside the sources."""
        if self.build:
            source = _HERE / self.name
            shutil.copytree(source, self.folder, dirs_exist_ok=True)
            subprocess.run(
                [*self.build], cwd=self.folder, check=True, timeout=_BUILD_S, capture_output=True
            )

    @contextmanager
    def started(self, front: Front, api_key: str, secret_key: str) -> Iterator[Runner]:
        """Start the SDK with a key pair."""
        proxy = f"http://127.0.0.1:{front.port}"
        environment = {
            **os.environ,
            "API_KEY": api_key,
            "SECRET_KEY": secret_key,
            "PROXY_PORT": str(front.port),
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "",
            "no_proxy": "",
            "NODE_EXTRA_CA_CERTS": str(front.certificate),
            "NODE_NO_WARNINGS": "1",
            "JAVA_TOOL_OPTIONS": "",
        }
        values = {"folder": self.folder, "store": front.java_store, "password": STORE_PASSWORD}
        with subprocess.Popen(
            [part.format(**values) for part in self.command],
            env=environment,
            cwd=_HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield Runner(process)
            finally:
                process.kill()


LANGUAGES: Final = (
    Language(name="python", command=(sys.executable, str(_HERE / "run_python.py"))),
    Language(
        name="node",
        tools=("node", "npm"),
        build=("npm", "ci", "--silent"),
        command=("node", "{folder}/run.js"),
    ),
    Language(
        name="java",
        tools=("java", "mvn"),
        build=("mvn", "-B", "-ntp", "-q", "package"),
        command=(
            "java",
            "-Djavax.net.ssl.trustStore={store}",
            "-Djavax.net.ssl.trustStorePassword={password}",
            "-Djavax.net.ssl.trustStoreType=PKCS12",
            "-cp",
            "{folder}/target/classes:{folder}/target/dependency/*",
            "Run",
        ),
    ),
)
