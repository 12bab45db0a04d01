"""The ports beside the service: what answers there, what does not, and what the numbers say."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from demo.facade import Facade
from productsearch import v1
from tests.fakes.upstream import FakeUpstream, error
from tests.lifecycle.asking import http, metrics, until, until_ready
from tests.lifecycle.replica import Replica, replica_of
from tests.pictures import jpeg

QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "1"}
SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
SERVICE = "productsearch.v1.ProductSearch"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facade]:
    """Return a running service in front of a fake upstream, ready; its log is shared."""
    folder = tmp_path_factory.mktemp("facade")
    with (
        FakeUpstream() as upstream,
        Facade(folder, upstream.url, {"default": ("k", "s")}, environment=QUICK) as running,
    ):
        until_ready(running)
        yield running


@pytest.fixture
def replica(upstream: FakeUpstream) -> Iterator[Replica]:
    """Return a service whose metrics nobody else has changed, ready."""
    with replica_of(upstream) as running:
        until_ready(running)
        yield running


def _services(address: str) -> set[str]:
    """Return the services that reflection lists."""
    with grpc.insecure_channel(address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([asked]), timeout=10)
    return {service.name for service in answer.list_services_response.service}


def test_reflection_and_channelz_are_for_the_admin_port(process: Facade) -> None:
    """There they answer; at the service's port they are not implemented."""
    assert SERVICE in _services(process.admin)
    with grpc.insecure_channel(process.admin) as channel:
        channelz = channelz_pb2_grpc.ChannelzStub(channel)
        request = channelz_pb2.GetServersRequest()
        assert 2 == len(channelz.GetServers(request, timeout=10).server)
        with pytest.raises(grpc.RpcError) as elsewhere:
            v1.ProductSearchStub(channel).SearchImages(SEARCH, timeout=10)
        assert grpc.StatusCode.UNIMPLEMENTED == elsewhere.value.code()
    with pytest.raises(grpc.RpcError) as hidden:
        _services(process.url)
    assert grpc.StatusCode.UNIMPLEMENTED == hidden.value.code()


def test_reflection_can_be_turned_on_for_the_service(upstream: FakeUpstream) -> None:
    """With the setting it lists the service there too, and channelz still not."""
    with replica_of(upstream, reflection=True) as open_to_see:
        assert SERVICE in _services(open_to_see.url)
        assert "grpc.channelz.v1.Channelz" not in _services(open_to_see.url)


def test_both_ports_can_be_turned_off(upstream: FakeUpstream, tmp_path: Path) -> None:
    """An empty address opens no port; the service's own health follows readiness all the same."""
    off = QUICK | {"PRODUCTSEARCH_ADMIN_LISTEN": "", "PRODUCTSEARCH_METRICS_LISTEN": ""}
    pair = {"default": ("k", "s")}
    with Facade(tmp_path, upstream.url, pair, environment=off) as process:
        assert {} == process.other_ports
        with grpc.insecure_channel(process.url) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(), timeout=30
            )
            while next(watch).status != health_pb2.HealthCheckResponse.SERVING:
                pass
            watch.cancel()


def test_metrics_count_what_happened(replica: Replica, upstream: FakeUpstream) -> None:
    """RPCs by method, code and reason; the upstream's calls; the token; build and process."""
    upstream.then("search", error(216630), error(282003))
    with v1.connect(replica.url) as channel:
        stub = v1.ProductSearchStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.SearchImages(SEARCH)  # tried again after 216630, and then refused
        stub.SearchImages(SEARCH)
        for made_up in ("made-up", "made-up\nhere"):
            with pytest.raises(grpc.RpcError):
                stub.SearchImages(v1.SearchImagesRequest(image=SEARCH.image, library=made_up))
    found = metrics(replica)
    method = 'rpc_method="productsearch.v1.ProductSearch/SearchImages",rpc_status_code='
    calls = "rpc_server_call_duration_seconds_count"
    assert 1 == found[f'{calls}{{{method}"OK"}}']
    assert 1 == found[f'{calls}{{{method}"INVALID_ARGUMENT"}}']
    bad = 'library="default",method="SearchImages",reason="FIELD_INVALID"'
    assert 1 == found[f'productsearch_errors_total{{blame="caller",breaker="-",{bad}}}']
    unknown = 'caller="other",code="NOT_FOUND",library="unknown"'
    assert 2 == found[f"productsearch_caller_rpcs_total{{{unknown}}}"]
    assert "made-up" not in http(replica, "/metrics")[1]
    search = 'library="default",method="search",outcome='
    calls = "productsearch_upstream_calls_total"
    assert 1 == found[f'{calls}{{{search}"OK"}}']
    assert 1 == found[f'{calls}{{{search}"UPSTREAM_UNAVAILABLE"}}']
    assert 1 == found[f'{calls}{{{search}"FIELD_INVALID"}}']
    assert 1 == found['productsearch_upstream_retries_total{library="default"}']
    assert 1 == found['productsearch_token_state{library="default",state="fresh"}']
    assert 1 == found['productsearch_token_refreshes_total{library="default",outcome="ok"}']
    assert found['productsearch_token_age_seconds{library="default"}'] > 0
    assert 0 == found['productsearch_rpcs_in_flight{kind="unary"}']
    assert not any("productsearch_rpcs_total" in sample for sample in found)
    assert 1 == found["productsearch_ready"]
    assert any(sample.startswith("productsearch_build_info{") for sample in found)
    assert found["process_open_fds"] > 0


def test_a_library_that_is_made_up_cannot_forge_a_line_of_the_log(process: Facade) -> None:
    """What callers call a library is quoted in the access log."""
    forged = v1.SearchImagesRequest(image=SEARCH.image, library="x code=OK\nrpc=AddImage")
    with v1.connect(process.url) as channel, pytest.raises(grpc.RpcError):
        v1.ProductSearchStub(channel).SearchImages(forged)
    until(lambda: "nrpc=AddImage" in process.log(), "the line of the call")  # it may come late
    lines = [line for line in process.log().splitlines() if "nrpc=AddImage" in line]
    told = [json.loads(line) for line in lines]
    assert [("SearchImages", "'x code=OK\\nrpc=AddImage'")] == [
        (line["rpc"], line["library"]) for line in told
    ]
    assert not any(line.startswith("rpc=") for line in process.log().splitlines())


def test_other_paths_are_not_found(process: Facade) -> None:
    """The HTTP port has three paths and tells no versions."""
    assert (404, "one of /metrics, /livez, /readyz\n") == http(process, "/")


def test_the_head_of_a_request_is_bounded(process: Facade) -> None:
    """Of 6 MB of headers on one connection 16 KB are read; then it is refused and closed."""
    address = ("127.0.0.1", int(process.metrics.rpartition(":")[2]))
    field = b"X: " + b"a" * 65_000 + b"\r\n"
    with socket.create_connection(address, 10) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\n")
        with contextlib.suppress(OSError):  # it is closed before all of it was sent
            for _ in range(98):
                line.sendall(field)
            raise AssertionError("all of it was taken")
    with socket.create_connection(address, 10) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\n" + b"X: a\r\n" * 4000 + b"\r\n")
        assert line.makefile("rb").readline().startswith(b"HTTP/1.0 431 ")
