"""All that runs in the evening: callers, gateway, facade, engine, PostgreSQL, Prometheus."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from demo.facade import Facade
from demo.processes import Engine
from tests.mesh.gateway import Certificates, Gateway
from tests.observability.evening_callers import Load, write_certificates, write_policy
from tests.observability.evening_prometheus import Prometheus
from tests.observability.evening_proxy import Proxy
from tests.ports import free_port

_QUOTA_QPS: Final = 6
_FLAGS: Final = re.compile(r" flags=(\S+) ")
_NOWHERE: Final = "127.0.0.1:9"


@dataclass
class Stage:
    """Everything that runs. Gateway and facade keep their ports while they come and go."""

    folder: Path
    engine: Engine
    proxy: Proxy
    facade: Facade
    prometheus: Prometheus
    certificates: Certificates
    gateway_ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    gateway: Gateway | None = None

    @property
    def gateway_address(self) -> str:
        """Where callers connect."""
        return f"127.0.0.1:{self.gateway_ports[0]}"

    def start_gateway(self, *, cut_off: bool = False) -> None:
        """Start Envoy with deploy's files; ``cut_off``: with an address that is no facade's."""
        folder = self.folder / "gateway"
        folder.mkdir(exist_ok=True)
        addresses = [_NOWHERE if cut_off else self.facade.url]
        self.gateway = Gateway(folder, self.certificates, addresses, self._ports, _fifth_of_rate)
        self.gateway.__enter__()
        if not cut_off:
            self.gateway.wait_for_healthy(1)

    def stop_gateway(self) -> None:
        """Stop Envoy; its callers are refused."""
        if self.gateway is not None:
            self.gateway.__exit__(None, None, None)
        self.gateway = None

    def _ports(self, config: dict[str, Any]) -> None:
        listeners = config["static_resources"]["listeners"]
        for listener, port in zip(listeners, self.gateway_ports, strict=True):
            listener["address"]["socket_address"]["port_value"] = port

    def lines(self) -> list[dict[str, object]]:
        """Return the facade's lines of calls."""
        found = []
        for text in self.facade.log().splitlines():
            if '"productsearch.access"' in text:
                found.append(json.loads(text))
        return found

    def flags(self) -> list[str]:
        """Return why calls failed at the gateway, by its own lines, in Envoy's letters."""
        log = self.folder / "gateway" / "envoy.log"
        return [each for each in _FLAGS.findall(log.read_text(errors="replace")) if each != "-"]


def _fifth_of_rate(config: dict[str, Any]) -> None:
    """Let a caller call a fifth as often as deployed, which one process of ours can exceed."""
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    (limit,) = (
        each["typed_config"]
        for each in manager["typed_config"]["http_filters"]
        if each["name"] == "envoy.filters.http.local_ratelimit"
    )
    for bucket in (limit["token_bucket"], limit["descriptors"][0]["token_bucket"]):
        for name in ("max_tokens", "tokens_per_fill"):
            bucket[name] //= 5


@contextmanager
def set_up() -> Iterator[tuple[Stage, Load]]:
    """Start all of it, and its callers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evening-")))
        private = {"PRODUCTSEARCH_ENGINE_ALLOW_PRIVATE_URLS": "true"}
        engine = stack.enter_context(Engine(environment=private))
        proxy = stack.enter_context(Proxy(engine.url))
        facade = Facade(
            folder / "facade",
            proxy.url,
            {"default": engine.create_library("shop")},
            listen=f"127.0.0.1:{free_port()}",
            environment={
                "PRODUCTSEARCH_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
                "PRODUCTSEARCH_LIBRARIES__DEFAULT__QUOTA_QPS": str(_QUOTA_QPS),
                "PRODUCTSEARCH_LIBRARIES__DEFAULT__KEY_PAIR_ENDS": "2099-01-01",
                "PRODUCTSEARCH_POLICY_FILE": str(write_policy(folder)),
                "PRODUCTSEARCH_SIDECARS": '["127.0.0.1/32"]',
                "PRODUCTSEARCH_DRAIN_DELAY_S": "0",
                "PRODUCTSEARCH_LOG_FORMAT": "json",
                "PRODUCTSEARCH_AUDIT_FILE": str(folder / "audit.jsonl"),
            },
        )
        stack.enter_context(facade)
        prometheus = stack.enter_context(Prometheus(folder / "prometheus"))
        certificates = write_certificates(folder / "callers")
        stage = Stage(folder, engine, proxy, facade, prometheus, certificates)
        stack.callback(stage.stop_gateway)
        stage.start_gateway()
        prometheus.targets(
            facade=[facade.metrics],
            engine=[engine.url.removeprefix("http://")],
            gateway=[f"127.0.0.1:{stage.gateway_ports[1]}"],
        )
        yield stage, stack.enter_context(Load(stage.gateway_address, certificates))
