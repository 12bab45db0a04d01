"""A facade within the soak's process, and searches that are all different."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from productsearch import v1
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream
from tests.pictures import jpeg


@contextlib.contextmanager
def facade_before(upstream: FakeUpstream, quota_qps: float = 0) -> Iterator[v1.ProductSearchStub]:
    """Serve a library of the upstream in this process."""
    library = {"base_url": upstream.url, "api_key": "k" * 20, "secret_key": "s" * 20}
    server = Server(
        Settings(
            listen="127.0.0.1:0",
            libraries={"default": library | {"quota_qps": quota_qps}},  # type: ignore[dict-item]
            drain_delay_s=0,
            drain_grace_s=1,
        )
    )
    server.start()
    with v1.connect(f"127.0.0.1:{server.port}") as channel:
        yield v1.ProductSearchStub(channel)
    server.stop(threading.Event())


def search_of(seed: int) -> v1.SearchImagesRequest:
    """Return a search that no other search shares a call with."""
    content = jpeg(0) + seed.to_bytes(8, "big")
    return v1.SearchImagesRequest(image=v1.ImageSource(content=content))
