"""What the facades answer never makes the gateway leave one out; only their absence does."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import grpc
import pytest

from demo.facade import Facade
from productsearch import v1
from tests.fakes.upstream import error
from tests.mesh.conftest import Mesh
from tests.mesh.load import NO_RETRIES
from tests.pictures import jpeg

_CALLS = 40
_QUOTA = v1.ErrorReason.QUOTA_EXHAUSTED
_DOWN = v1.ErrorReason.UPSTREAM_UNAVAILABLE


def _search(stub: v1.ProductSearchStub, timeout: float = 10) -> grpc.RpcError | None:
    request = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
    try:
        stub.SearchImages(request, timeout=timeout)
    except grpc.RpcError as failure:
        return failure
    return None


def _readyz(facade: Facade) -> int:
    try:
        with urllib.request.urlopen(f"http://{facade.metrics}/readyz", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def _ejections(mesh: Mesh) -> dict[str, int]:
    stats = mesh.gateway.stats()
    return {name: value for name, value in stats.items() if "ejections_enforced" in name and value}


def test_an_exhausted_quota_ejects_nobody(mesh: Mesh) -> None:
    """Every call fails with QUOTA_EXHAUSTED; both facades stay in and ready."""
    mesh.upstream.always("search", error(17))
    with mesh.gateway.channel("catalogue", NO_RETRIES) as channel:
        failures = [_search(v1.ProductSearchStub(channel)) for _ in range(_CALLS)]
    assert [_QUOTA] * _CALLS == [failure and v1.reason_of(failure) for failure in failures]
    assert {} == _ejections(mesh)
    assert 2 == mesh.gateway.stats()["membership_healthy"]
    assert [200, 200] == [_readyz(facade) for facade in mesh.facades]


def test_short_deadlines_eject_nobody(mesh: Mesh) -> None:
    """A caller that gives no time to its calls does not take the facades from the others."""
    with mesh.gateway.channel("shop", NO_RETRIES) as channel:
        stub = v1.ProductSearchStub(channel)
        failures = [_search(stub, 0.1) for _ in range(_CALLS)]
        assert None not in failures
        assert _search(stub) is None
    assert {} == _ejections(mesh)
    assert 2 == mesh.gateway.stats()["membership_healthy"]


def test_callers_hear_from_the_facades_that_the_upstream_is_down(mesh: Mesh) -> None:
    """No facade is ready: the gateway still asks one, whose error is typed and has RetryInfo."""
    mesh.upstream.always("search", error(2))
    with mesh.gateway.channel("catalogue", NO_RETRIES) as channel:
        stub = v1.ProductSearchStub(channel)
        failures = [_search(stub) for _ in range(_CALLS)]
        assert [_DOWN] * _CALLS == [failure and v1.reason_of(failure) for failure in failures]
        assert None not in [v1.retry_delay_of(failure) for failure in failures if failure]

        def nobody_is_ready() -> bool:
            # A facade is ready for a moment when its breaker wants to try a call.
            failure = _search(stub)
            assert failure is not None
            assert _DOWN == v1.reason_of(failure)
            ready = [_readyz(facade) for facade in mesh.facades]
            return ready == [503, 503] and not mesh.gateway.stats()["membership_healthy"]

        assert mesh.gateway.wait_for(nobody_is_ready)
        assert {} == _ejections(mesh)
        mesh.upstream.always("search", None)
        assert mesh.gateway.wait_for(lambda: _search(stub) is None)
        mesh.gateway.wait_for_healthy(2)


def test_a_flood_from_one_caller_is_refused_at_the_gateway(calm_mesh: Mesh) -> None:
    """Each caller has a bucket of its own: one floods, and another still has all of its 500."""
    with (
        calm_mesh.gateway.channel("shop", NO_RETRIES) as flood,
        calm_mesh.gateway.channel("catalogue", NO_RETRIES) as other,
    ):
        assert _search(v1.ProductSearchStub(other)) is None
        flooded = _told(v1.ProductSearchStub(flood), 1200)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in flooded
        assert "local_rate_limited" in flooded.values()
        told = _told(v1.ProductSearchStub(other), 450)
        assert [grpc.StatusCode.INVALID_ARGUMENT] == [*told]


def _told(stub: v1.ProductSearchStub, calls: int) -> dict[grpc.StatusCode, str]:
    """Return what calls at once came to; the facade refuses each, so a flood of them is cheap."""
    begun = [stub.DeleteImage.future(v1.DeleteImageRequest()) for _ in range(calls)]
    return {call.code(): call.details() for call in begun}


@pytest.mark.parametrize("method", ["/grpc.health.v1.Health/Check", "/productsearch.v2.Other/Do"])
def test_only_the_service_is_routed(calm_mesh: Mesh, method: str) -> None:
    """Health, reflection and whatever else a facade has are not for callers: UNIMPLEMENTED."""
    with calm_mesh.gateway.channel("catalogue", NO_RETRIES) as channel:
        call: Any = channel.unary_unary(method)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    assert grpc.StatusCode.UNIMPLEMENTED == caught.value.code()
