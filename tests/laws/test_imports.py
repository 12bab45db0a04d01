"""Who may know whom: the architecture, read from the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the top down; a room may import rooms of its own line and of the lines below.
LAYERS = [
    {"__main__"},
    {"server"},
    {"operations.admin", "building", "operations.metrics", "settings"},
    {"operations.health", "operations.scraping"},
    {"interceptors", "servicer"},
    {"access.identity", "ports", "operations.readiness"},
    {
        "bulk",
        "validation",
        "libraries",
        "status",
        "admission",
        "affinity",
        "certificates",
        "draining",
        "logs",
        "access.policy",
        "reloading",
        "operations.rpcs",
    },
    {"paging", "headers", "images", "searches"},
    {"upstream.client", "upstream.rotation"},
    {"upstream.exchange", "upstream.issuer"},
    {"upstream.gate", "upstream.retry", "upstream.pacer", "upstream.token", "upstream.transport"},
    {
        "upstream.answers",
        "upstream.codes",
        "upstream.connections",
        "upstream.credentials",
        "upstream.form",
    },
    {"upstream.latency", "upstream.punctual", "upstream.rate", "upstream.sealed"},
    {
        "access.addresses",
        "calls",
        "access.callers",
        "deadline",
        "access.forwarded",
        "upstream.heads",
        "operations.tally",
        "operations.vitals",
    },
    {"errors", "preparing", "redaction"},
    {"limits"},
]
HTTP = {"requests", "urllib3", "http.client", "httpx", "aiohttp"}
GRPC_ROOMS = {
    *("server", "servicer", "interceptors", "access.identity", "status"),
    *("operations.admin", "operations.health", "ports"),
}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert found
    return found


def _rooms() -> dict[str, set[str]]:
    """Return the rooms of the service and what each imports."""
    top = ROOT / "service/productsearch_service"
    return {
        ".".join(path.relative_to(top).with_suffix("").parts): _imports(path)
        for path in _files("service/productsearch_service")
        if path.name != "__init__.py"
    }


def _imports_any(imported: set[str], packages: set[str]) -> set[str]:
    return {
        name
        for name in imported
        for package in packages
        if name == package or name.startswith(f"{package}.")
    }


def test_service_and_engine_are_strangers() -> None:
    """They meet in the REST contract and nowhere else; the client knows neither."""
    for path in _files("service", "clients/python"):
        assert set() == _imports_any(_imports(path), {"productsearch_engine"}), path
    for path in _files("engine"):
        assert set() == _imports_any(_imports(path), {"productsearch_service", "productsearch"})
    for path in _files("clients/python"):
        assert set() == _imports_any(_imports(path), {"productsearch_service"}), path


def test_the_service_imports_downwards_only() -> None:
    """Every room is in the picture, and imports only rooms beside or below it."""
    level = {room: depth for depth, layer in enumerate(LAYERS) for room in layer}
    rooms = _rooms()
    assert {*level} == {*rooms}
    for room, imported in rooms.items():
        for name in imported:
            below = name.removeprefix("productsearch_service.")
            if below != name and below in level:
                assert level[room] <= level[below], f"{room} imports {below}"


@pytest.mark.parametrize("room", sorted(_rooms()))
def test_only_the_transport_knows_http_and_only_the_top_knows_grpc(room: str) -> None:
    """HTTP libraries end in the transport, gRPC in the rooms that face callers."""
    imported = _rooms()[room]
    if room.removeprefix("upstream.") not in ("transport", "connections", "punctual", "heads"):
        assert set() == _imports_any(imported, HTTP)
    if room not in GRPC_ROOMS:
        assert set() == _imports_any(imported, {"grpc", "grpc_status", "grpc_health"})
    if room.startswith("upstream."):
        assert set() == _imports_any(imported, {"productsearch", "google"})
