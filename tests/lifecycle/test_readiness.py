"""When a replica is ready: what takes it out of the rotation, and what does not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from demo.facade import Facade
from productsearch import v1
from tests.fakes.upstream import FakeUpstream, Fault, error
from tests.lifecycle.asking import http, metrics, until, until_ready
from tests.lifecycle.replica import Replica, replica_of
from tests.pictures import jpeg

SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NO_TOKEN = Fault(status=401, body=b'{"error": "invalid_client"}')


Start = Callable[..., Replica]


@pytest.fixture
def start(upstream: FakeUpstream) -> Iterator[Start]:
    """Return a function that starts a service with these libraries in front of the fake."""
    with contextlib.ExitStack() as running:
        yield lambda *libraries: running.enter_context(replica_of(upstream, *libraries))


def health(process: Replica | Facade, name: str = "", port: str = "") -> int:
    """Return what the admin port (or another one) says of a name."""
    with grpc.insecure_channel(port or process.admin) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status)


def says(process: Replica | Facade) -> tuple[int, int, int]:
    """Return readiness by gRPC at both ports and by HTTP."""
    service = "productsearch.v1.ProductSearch"
    return health(process), health(process, service, process.url), http(process, "/readyz")[0]


READY = (SERVING, SERVING, 200)
NOT_READY = (NOT_SERVING, NOT_SERVING, 503)


def test_tokens_are_fetched_before_the_first_call(start: Start, upstream: FakeUpstream) -> None:
    """Ready means a token in every library; nobody had to call for it."""
    process = start("default", "shoes")
    until_ready(process)
    assert READY == says(process)
    assert ["token", "token"] == [request.method for request in upstream.received]


def test_without_a_token_it_is_alive_and_not_ready(start: Start, upstream: FakeUpstream) -> None:
    """A wrong key pair at the start: not ready, and says which library; alive all along."""
    upstream.always("token", NO_TOKEN)
    process = start()
    until(lambda: "no valid token" in http(process, "/readyz")[1], "said why")
    assert NOT_READY == says(process)
    assert (503, "default: no valid token\n") == http(process, "/readyz")
    assert (SERVING, (200, "alive\n")) == (health(process, "liveness"), http(process, "/livez"))


def test_one_wrong_key_pair_of_two_keeps_a_new_replica_out(
    start: Start, upstream: FakeUpstream
) -> None:
    """A rollout with a wrong pair for one library stops; once the issuer agrees it goes on."""
    upstream.then("token", Fault(status=500, body=b"down"))
    process = start("default", "shoes")
    until(lambda: len(upstream.received) >= 2, "asked for both tokens")
    assert NOT_READY == says(process)
    until_ready(process)


def test_a_token_that_is_lost_for_good_takes_it_out(start: Start, upstream: FakeUpstream) -> None:
    """The upstream rejects the token and gives no new one: not ready."""
    process = start()
    until_ready(process)
    upstream.always("token", NO_TOKEN)
    upstream.always("search", error(110))
    with v1.connect(process.url) as channel, pytest.raises(grpc.RpcError):
        v1.ProductSearchStub(channel).SearchImages(SEARCH)
    until(lambda: says(process) == NOT_READY, "not ready")


def test_an_open_breaker_takes_it_out_and_a_probe_brings_it_back(
    start: Start, upstream: FakeUpstream
) -> None:
    """Not ready while calls would be refused; ready in between so that a call can probe."""
    process = start()
    until_ready(process)
    upstream.always("search", error(2))
    with v1.connect(process.url) as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        refused = 0
        while not refused:  # until the breaker refuses without asking
            before = len(upstream.calls)
            with pytest.raises(grpc.RpcError):
                search(SEARCH)
            refused = before == len(upstream.calls)
        until(lambda: http(process, "/readyz") == (503, "default: breaker open\n"), "not ready")
        assert 1 == metrics(process)['productsearch_breaker_open{library="default"}']
        upstream.always("search", None)
        until_ready(process)  # the probe is due
        search(SEARCH)
    assert 0 == metrics(process)['productsearch_breaker_open{library="default"}']
    assert READY == says(process)


@pytest.mark.parametrize("code", [17, 19])
def test_an_exhausted_quota_never_takes_it_out(
    start: Start, upstream: FakeUpstream, code: int
) -> None:
    """No other replica could do better: it stays ready, and the metrics tell."""
    process = start()
    until_ready(process)
    upstream.always("search", error(code))
    with v1.connect(process.url) as channel:
        stub, watcher = v1.ProductSearchStub(channel), health_pb2_grpc.HealthStub(channel)
        watch = watcher.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert SERVING == next(watch).status
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                stub.SearchImages(SEARCH)
        until(
            lambda: metrics(process)['productsearch_quota_exhausted{library="default"}'] == 1,
            "exhausted",
        )
        for _ in range(3):  # readiness is looked at twice a second
            seen = looks(process)
            until(lambda n=seen: looks(process) > n, "looked at again")  # type: ignore[misc]
            assert READY == says(process)
        watch.cancel()
        assert [] == [change for change in _rest(watch) if change.status != SERVING]


def looks(process: Replica) -> float:
    """Return how often readiness was looked at."""
    return metrics(process)["productsearch_readiness_looks_total"]


def _rest(watch: Iterator[health_pb2.HealthCheckResponse]) -> Iterator[object]:
    with contextlib.suppress(grpc.RpcError):
        yield from watch


def test_one_library_that_fails_does_not_take_the_others_out(
    start: Start, upstream: FakeUpstream
) -> None:
    """Once it was ready, a replica that can serve one library stays ready."""
    process = start("default", "shoes")
    until_ready(process)
    upstream.always("token", NO_TOKEN)
    upstream.then("search", error(110))
    with v1.connect(process.url) as channel:
        stub = v1.ProductSearchStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.SearchImages(SEARCH)
        until(
            lambda: metrics(process)['productsearch_library_ready{library="default"}'] == 0,
            "noticed",
        )
        assert READY == says(process)
        shoes = v1.SearchImagesRequest(image=SEARCH.image, library="shoes")
        assert 1 == len(stub.SearchImages(shoes).results)


def test_a_stop_is_not_ready_and_alive(upstream: FakeUpstream, tmp_path: Path) -> None:
    """During the drain delay health, probes and metrics go on answering."""
    slow = {"PRODUCTSEARCH_DRAIN_DELAY_S": "300"}
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=slow) as process:
        until_ready(process)
        process.send_signal()
        until(lambda: http(process, "/readyz") == (503, "stopping\n"), "not ready")
        assert NOT_READY == says(process)
        assert SERVING == health(process, "liveness")
        assert 0 == metrics(process)["productsearch_ready"]
        process.send_signal()
        assert 0 == process.wait()
