"""One call through everything, as one tree: caller, gateway, facade, engine, SQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.facade import Facade
from demo.processes import Engine
from productsearch import v1
from tests.lifecycle.asking import until, until_ready
from tests.mesh.gateway import DEPLOY, Certificates, Gateway, quick_health
from tests.mesh.tools import need
from tests.observability.collector import Collector, Seen
from tests.pictures import jpeg

FACADE, METHOD = "productsearch-service", "productsearch.v1.ProductSearch/AddImage"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return the certificates that compose makes."""
    need("openssl")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Return the collector that gateway, facade and engine send to."""
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def engine(collector: Collector) -> Iterator[Engine]:
    """Return an engine that sends its spans."""
    environment = {"PRODUCTSEARCH_ENGINE_TRACES_ENDPOINT": collector.url}
    with Engine(environment=environment | {"OTEL_BSP_SCHEDULE_DELAY": "100"}) as running:
        yield running


def traced(config: dict[str, Any], port: int) -> None:
    """Put deploy/envoy/tracing.yaml into Envoy's bootstrap, with the collector of the test."""
    text = (DEPLOY / "envoy/tracing.yaml").read_text("utf-8")
    added = yaml.safe_load(text.replace("address: collector,", "address: 127.0.0.1,"))
    endpoints = added["cluster"]["load_assignment"]["endpoints"]
    endpoints[0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] = port
    config["static_resources"]["clusters"].append(added["cluster"])
    (callers,) = (
        each for each in config["static_resources"]["listeners"] if each["name"] == "callers"
    )
    manager = callers["filter_chains"][0]["filters"][0]["typed_config"]
    manager["tracing"] = added["tracing"]


@pytest.mark.slow
def test_one_tree(
    engine: Engine, collector: Collector, certificates: Certificates, tmp_path: Path
) -> None:
    """Each is the child of the one before it, all lines name the trace, and times are in order."""
    facade = Facade(
        tmp_path / "facade",
        engine.url,
        {"default": engine.create_library("traced")},
        environment={
            "PRODUCTSEARCH_TRACES_ENDPOINT": collector.url,
            "PRODUCTSEARCH_TRACES_SHARE": "0",
            "PRODUCTSEARCH_LIBRARIES__DEFAULT__UPSTREAM": "engine",
            "PRODUCTSEARCH_DRAIN_DELAY_S": "0",
            "PRODUCTSEARCH_LOG_FORMAT": "json",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        },
    )
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    add = v1.AddImageRequest(
        new_image=v1.NewImage(image=v1.ImageSource(content=jpeg(1)), brief="b")
    )
    with facade:
        until_ready(facade)
        change = lambda config: traced(config, collector.port)  # noqa: E731
        with Gateway(tmp_path, certificates, [facade.url], quick_health, change) as gateway:
            gateway.wait_for_healthy(1)
            with gateway.channel() as channel:
                stub = v1.ProductSearchStub(channel)
                metadata = (("traceparent", f"00-{trace}-{span}-01"),)
                stub.AddImage(add, metadata=metadata, timeout=30)
            until(lambda: "productsearch-gateway" in _services(collector), "Envoy's spans")
        until(lambda: f'"trace_id":"{trace}"' in facade.log(), "the facade's line")
    collector.wait_for(METHOD, "engine add", "sql")
    seen = collector.spans()
    assert {trace} == {each.trace for each in seen}, "only this call was recorded"
    way = [next(each for each in seen if each.name == "sql")]
    while (above := [each for each in seen if each.own == way[0].parent]) != []:
        way.insert(0, above[0])
    assert span == way[0].parent
    assert ["engine add", "sql"] == [each.name for each in way[-2:]]
    assert [METHOD, "upstream add"] == [each.name for each in way[-4:-2]]
    assert "productsearch-gateway" == way[-5].service
    assert {"decode", "embed", "connection_wait", "sql"} <= {
        each.name for each in seen if each.parent == way[-2].own
    }
    for outer, inner in pairwise(way):
        _within(outer, inner)
    for part in seen:
        if part.parent == way[-2].own:
            _within(way[-2], part)
    assert f'"trace_id":"{trace}"' in engine.log()


def _services(collector: Collector) -> set[str]:
    return {each.service for each in collector.spans()}


def _within(outer: Seen, inner: Seen) -> None:
    """Processes read the same clock, by different calls: within a hundredth of a second."""
    assert outer.began_ns - 10**7 <= inner.began_ns, (outer, inner)
    assert inner.ended_ns <= outer.ended_ns + 10**7, (outer, inner)
