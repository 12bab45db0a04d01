"""A gateway that does not hear of a stop in time: the facade's own word is enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from productsearch import v1
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream
from tests.mesh.gateway import Certificates, Gateway
from tests.mesh.load import NO_RETRIES
from tests.pictures import jpeg

_CALLS = 50


def _deaf(config: dict[str, Any]) -> None:
    for cluster in config["static_resources"]["clusters"]:
        cluster.pop("health_checks", None)


async def _begin_to_drain(server: Server) -> None:
    server.service._admission.drain()


def test_calls_that_a_stopping_facade_refuses_go_to_another(
    server: ServerFactory, upstream: FakeUpstream, certificates: Certificates, tmp_path: Path
) -> None:
    """Envoy repeats elsewhere what SERVER_DRAINING refused: no call fails, none is doubled."""
    stopping, other = server(), server()
    stopping.run(_begin_to_drain(stopping))
    addresses = [f"127.0.0.1:{each.port}" for each in (stopping, other)]
    with (
        Gateway(tmp_path, certificates, addresses, _deaf) as gateway,
        gateway.channel("catalogue", NO_RETRIES) as channel,
    ):
        stub = v1.ProductSearchStub(channel)
        image = v1.ImageSource(content=jpeg(1))
        add = v1.AddImageRequest(new_image=v1.NewImage(image=image, brief="b"))
        for _ in range(_CALLS):
            assert "1,2" == stub.AddImage(add, timeout=20).cont_sign
        sent = {address: host["rq_total"] for address, host in gateway.hosts().items()}
        assert sent[addresses[0]] > 0
    assert _CALLS == len(upstream.calls)
