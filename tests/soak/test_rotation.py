"""The small version of the rotation soak, and what must not replace a working pair."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from productsearch import v1
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Fault
from tests.pictures import jpeg
from tests.soak import rotation
from tests.soak.measures import assert_kept


def test_key_pairs_are_swapped_under_load() -> None:
    """60 swaps: no mixed pair, no failed call, the last pair is in use."""
    assert_kept(rotation.run(60))


def test_what_does_not_work_replaces_nothing(upstream: FakeUpstream, tmp_path: Path) -> None:
    """An empty file, then a rejected pair: the old token goes on; a good pair takes over."""
    for name in ("api_key", "secret_key"):
        (tmp_path / name).write_text(f"{name}-one")
    library = {
        "base_url": upstream.url,
        "credentials_dir": tmp_path,
        "credentials_poll_s": 0.02,
        "quota_qps": 0,
    }
    settings = Settings(listen="127.0.0.1:0", libraries={"default": library}, drain_delay_s=0)
    server = Server(settings)
    server.start()
    with v1.connect(f"127.0.0.1:{server.port}") as channel:
        stub = v1.ProductSearchStub(channel)

        def token() -> str:
            stub.SearchImages(v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1))))
            return upstream.calls[-1].token

        first = token()
        (tmp_path / "secret_key").write_text("")
        time.sleep(0.1)
        assert first == token()
        upstream.always("token", Fault(status=401, body=b'{"error": "invalid_client"}'))
        (tmp_path / "secret_key").write_text("secret_key-wrong")
        asked = len(upstream.received)
        while len(upstream.received) == asked:
            time.sleep(0.01)
        assert first == token()
        time.sleep(0.2)
        assert 2 == sum(request.method == "token" for request in upstream.received)
        upstream.always("token", {"access_token": "24.new", "expires_in": 2592000})
        (tmp_path / "secret_key").write_text("secret_key-two")
        while token() != "24.new":
            time.sleep(0.01)
    server.stop(threading.Event())
