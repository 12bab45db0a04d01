"""A caller learns the names of the libraries that it may use, and of no others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.pictures import jpeg

SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
POLICY = f"""
[callers.shop]
token_sha256 = ["{hashlib.sha256(b"shop").hexdigest()}"]
[[rules]]
callers = ["shop"]
libraries = ["shop-*"]
"""


def told(policy_file: Path | None) -> str:
    """Return what a search in a library that is not there is told."""
    library = {"base_url": "http://127.0.0.1:9", "api_key": "k", "secret_key": "s"}
    names = ("default", "secret-hr", "shop-a", "shop-b")
    server = Server(
        Settings(
            listen="127.0.0.1:0",
            policy_file=policy_file,
            libraries={name: dict(library) for name in names},  # type: ignore[misc]
            drain_delay_s=0,
            drain_grace_s=0,
        )
    )
    server.start()
    try:
        request = v1.SearchImagesRequest(library="shop-nope", image=SEARCH.image)
        with v1.connect(f"127.0.0.1:{server.port}") as channel:
            stub = v1.ProductSearchStub(channel)
            with pytest.raises(grpc.RpcError) as failure:
                stub.SearchImages(request, metadata=(("authorization", "Bearer shop"),))
        assert R.LIBRARY_UNKNOWN == v1.reason_of(failure.value)
        return str(failure.value.details())
    finally:
        server.stop()


def test_names_are_told_as_the_policy_allows(tmp_path: Path) -> None:
    """With a rule for two of four libraries these two; without a policy all of them."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    assert told(policy) == "no library 'shop-nope'; there is: shop-a, shop-b"
    assert told(None).endswith("there is: default, secret-hr, shop-a, shop-b")
