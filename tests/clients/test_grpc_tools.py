"""grpcurl and ghz, as people install them, find their way by reflection and make calls."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream
from tests.mesh.tools import PINNED, tool
from tests.pictures import jpeg

pytestmark = pytest.mark.slow

SERVICE: Final = "productsearch.v1.ProductSearch"
CALL: Final = f"{SERVICE}.SearchImages"
SEARCH: Final = json.dumps({"image": {"content": base64.b64encode(jpeg(1)).decode()}})
HEALTH: Final = "grpc.health.v1.Health"
_PATIENCE_S: Final = 120


@pytest.fixture
def addresses(upstream: FakeUpstream) -> Iterator[list[str]]:
    """Return the addresses of a service's own port and of its admin port."""
    library: Any = {"base_url": upstream.url, "api_key": "k", "secret_key": "s"}
    here: Any = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "metrics_listen": ""}
    settings = Settings(reflection=True, libraries={"default": library}, drain_delay_s=0, **here)
    server = Server(settings, with_admin=True)
    server.start()
    yield [f"127.0.0.1:{port}" for port in (server.port, server.admin_port)]
    server.stop()


def _run(name: str, *arguments: str, given: str | None = None) -> str:
    done = subprocess.run(
        [tool(name), *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def _grpcurl(*arguments: str, given: str | None = None) -> str:
    return _run("grpcurl", "-plaintext", *arguments, given=given)


def test_grpcurl_describes_everything_that_it_lists(addresses: list[str]) -> None:
    """Services, each of their methods, and the messages that these take, on both ports."""
    for address in addresses:
        services = _grpcurl(address, "list").split()
        assert {SERVICE, HEALTH} <= {*services}
        for service in services:
            methods = _grpcurl(address, "list", service).split()
            assert methods, service
            for method in methods:
                described = _grpcurl(address, "describe", method)
                assert described.startswith(f"{method} is a method:"), described
        told = _grpcurl(address, "describe", CALL)
        assert "rpc SearchImages ( .productsearch.v1.SearchImagesRequest )" in told
        assert "ImageSource image" in _grpcurl(
            address, "describe", "productsearch.v1.SearchImagesRequest"
        )


def test_grpcurl_calls_by_reflection(addresses: list[str]) -> None:
    """A search, with the method named in either way, and health on both ports."""
    for method in (CALL, f"{SERVICE}/SearchImages"):
        hits = json.loads(_grpcurl("-d", "@", addresses[0], method, given=SEARCH))["results"]
        assert ["a brief"] == [hit["brief"] for hit in hits]
    for address in addresses:
        assert {"status": "SERVING"} == json.loads(
            _grpcurl("-d", '{"service": "liveness"}', address, f"{HEALTH}/Check")
        )


def test_ghz_calls_by_reflection(addresses: list[str], tmp_path: Path) -> None:
    """ghz sends what it is told to, and every call is answered."""
    data = tmp_path / "search.json"
    data.write_text(SEARCH)
    for call, address in ((CALL, addresses[0]), (f"{HEALTH}.Check", addresses[1])):
        given = ["--data-file", str(data)] if call == CALL else []
        report = json.loads(
            _run("ghz", "--insecure", *given, "--call", call, "-n", "20", "-c", "2",
                 "--format", "json", address)
        )  # fmt: skip
        assert {"OK": 20} == report["statusCodeDistribution"], report


def test_the_programs_are_pinned_without_addresses() -> None:
    """Versions and hashes alone: the module has no replacement and names no download."""
    module = (PINNED / "go.mod").read_text("utf-8")
    assert "replace" not in module
    assert "://" not in module + (PINNED / "go.sum").read_text("utf-8")
