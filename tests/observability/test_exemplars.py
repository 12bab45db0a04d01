"""Exemplars lead from a bucket of a metric to the trace of a call that fell into it."""

from __future__ import annotations

import re
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from demo.processes import Engine
from productsearch import v1
from productsearch_service.counters import CALL_DURATION
from tests.conftest import library_of
from tests.observability.collector import Collector
from tests.observability.test_metrics import SEARCH, Facade, facade  # noqa: F401 - a fixture
from tests.observability.test_traces import collector, parent  # noqa: F401 - a fixture

_OPEN_METRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
"""What Prometheus says that it takes."""
_CALLS = 40


def scraped(url: str, accept: str) -> tuple[str, str]:
    """Return what a scrape gets, and its content type."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def traces_of(text: str, histogram: str) -> list[str]:
    """Return the traces of the exemplars of a histogram, one for each bucket that has one."""
    return [
        sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{histogram}_bucket" and sample.exemplar
    ]


def test_traces_that_are_recorded_are_exemplars_of_both(
    facade: Facade,  # noqa: F811
    collector: Collector,  # noqa: F811
) -> None:
    """Of facade and engine, for a real scrape: recorded ones alone, one a bucket at most."""
    environment = {"PRODUCTSEARCH_ENGINE_TRACES_ENDPOINT": collector.url}
    recorded, unrecorded = parent(), parent(sampled=False)
    with Engine(environment=environment) as engine:
        library = library_of(engine) | {"upstream": "engine"}
        server = facade(library, traces_endpoint=collector.url, traces_share=0)
        with v1.connect(f"127.0.0.1:{server.port}") as channel:
            for number in range(_CALLS):
                of = recorded if number % 2 else unrecorded
                v1.ProductSearchStub(channel).SearchImages(SEARCH, metadata=of[2])
        scrapes = {
            CALL_DURATION: f"http://127.0.0.1:{server.metrics_port}/metrics",
            "productsearch_engine_request_seconds": f"{engine.url}/metrics",
        }
        for histogram, url in scrapes.items():
            text, kind = scraped(url, _OPEN_METRICS)
            assert kind.startswith("application/openmetrics-text")
            found = traces_of(text, histogram)
            assert {recorded[0]} == {*found}
            assert len(found) < _CALLS / 2
            text, kind = scraped(url, "text/plain")
            assert kind.startswith("text/plain")
            assert not re.search("trace_id|# {", text)
