"""Where a broken connection plays: a facade whose libraries have an upstream each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from productsearch import v1
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.cutting import CuttingUpstream, sign_of
from tests.pictures import noise_jpeg, numbered_jpeg

BIG_BYTES: Final = 2_800_000


@dataclass(frozen=True)
class Stage:
    """Where one case plays: a library and an upstream of its own, with one image stored."""

    stub: v1.ProductSearchStub
    library: str
    upstream: CuttingUpstream
    fresh: bytes
    """The image to add."""
    stored: tuple[str, str]
    """Signs that are in the library."""


@contextmanager
def stages(count: int, big: bool = False) -> Iterator[list[Stage]]:
    """Open a facade with ``count`` libraries, each with an upstream of its own."""
    with ExitStack() as open_:
        upstreams = [open_.enter_context(CuttingUpstream()) for _ in range(count)]
        libraries: dict[str, Any] = {
            f"library-{number}": {
                "base_url": upstream.url,
                "api_key": "the-api-key",
                "secret_key": "the-secret-key",
                "quota_qps": 0,
            }
            for number, upstream in enumerate(upstreams)
        }
        server = Server(
            Settings(
                listen="127.0.0.1:0",
                default_library="library-0",
                libraries=libraries,
                drain_delay_s=0,
                drain_grace_s=1,
            )
        )
        server.start()
        open_.callback(server.stop, threading.Event())
        channel = open_.enter_context(v1.connect(f"127.0.0.1:{server.port}"))
        stub = v1.ProductSearchStub(channel)
        fresh = noise_jpeg(BIG_BYTES) if big else numbered_jpeg(0)
        stored = (sign_of(b"one"), sign_of(b"two"))
        for upstream in upstreams:
            upstream.stored.update(dict.fromkeys(stored, "old"))
        pairs = zip(libraries, upstreams, strict=True)
        yield [Stage(stub, name, upstream, fresh, stored) for name, upstream in pairs]
