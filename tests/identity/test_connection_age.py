"""Connections that may only get so old: a certificate that was taken away is asked for again."""

from __future__ import annotations

from productsearch import v1
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream, Fault
from tests.identity.test_refusals import SEARCH
from tests.lifecycle.asking import until


def test_an_old_connection_ends_and_its_calls_do_not(
    server: ServerFactory, upstream: FakeUpstream
) -> None:
    """A call that takes longer than the connection may live is answered; later ones reconnect."""
    slow = Fault(seconds=1.5, body=b'{"log_id": 7, "result": [], "has_more": false}')
    upstream.then("search", slow)
    port = server(connection_age_max_s=0.3).port
    with v1.connect(f"127.0.0.1:{port}") as channel:
        connections: list[object] = []
        channel.subscribe(connections.append)
        stub = v1.ProductSearchStub(channel)
        assert 7 == stub.SearchImages(SEARCH).log_id
        until(lambda: "IDLE" in str(connections), "the connection ended")
        assert 1 == len(stub.SearchImages(SEARCH).results)
