"""What the client package exports, and what it asks to have installed."""

from __future__ import annotations

import inspect
import json
import tomllib
from pathlib import Path

import pytest

from productsearch import v1
from productsearch.v1 import aio, product_search_pb2

ROOT = Path(__file__).resolve().parents[2]


def test_every_message_and_enum_is_exported() -> None:
    """All messages, enums and the stub come from productsearch.v1 itself."""
    file = product_search_pb2.DESCRIPTOR
    names = {*file.message_types_by_name, *file.enum_types_by_name, "ErrorReason"}
    assert names <= {*v1.__all__}
    assert all(hasattr(v1, name) for name in v1.__all__)
    assert sorted(v1.__all__) == v1.__all__


def test_asyncio_has_the_same_helpers() -> None:
    """connect, bulk_add, batch_delete and search_all take the same parameters in both kinds."""
    for name in ("connect", "bulk_add", "batch_delete", "search_all"):
        sync, asynchronous = (inspect.signature(getattr(module, name)) for module in (v1, aio))
        assert [*sync.parameters] == [*asynchronous.parameters], name


def test_the_client_depends_on_three_packages() -> None:
    """grpcio, protobuf and googleapis-common-protos, in the ranges that the design names."""
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    assert ["grpcio>=1.76", "protobuf>=6.31.1,<8", "googleapis-common-protos>=1.70"] == project[
        "dependencies"
    ]


def test_the_service_config_names_real_methods() -> None:
    """Each method of the service config exists; adds are not retried by the transport."""
    path = ROOT / "protos/productsearch/v1/product_search_grpc_service_config.json"
    service = product_search_pb2.DESCRIPTOR.services_by_name["ProductSearch"]
    retried = set()
    for entry in json.loads(path.read_text())["methodConfig"]:
        for name in entry["name"]:
            assert service.full_name == name["service"]
            assert name.get("method") in (None, *service.methods_by_name)
            if "retryPolicy" in entry:
                retried.add(name["method"])
    assert {"SearchImages", "UpdateImage", "DeleteImage"} == retried


@pytest.mark.parametrize(
    ("language", "source", "definition", "row"),
    [
        ("python", "productsearch/v1/errors.py", "def is_retryable(", "| `is_retryable(error)`"),
        ("go", "productsearch/errors.go", "func IsRetryable(", "| `IsRetryable(err)`"),
        (
            "java",
            "src/main/java/com/productsearch/client/ProductSearchException.java",
            "public boolean isRetryable()",
            "| `isRetryable()`",
        ),
    ],
)
def test_each_client_says_what_to_repeat(
    language: str, source: str, definition: str, row: str
) -> None:
    """One function in each, in the table of its README and in errors.md, over one truth table."""
    client = ROOT / "clients" / language
    assert definition in (client / source).read_text("utf-8")
    assert row in (client / "README.md").read_text("utf-8")
    assert row.strip("| `").partition("(")[0] in (ROOT / "docs/errors.md").read_text("utf-8")
    tests = ROOT / "tests/clients" if language == "python" else client
    suffix = {"python": ".py", "go": ".go", "java": ".java"}[language]
    readers = [
        file
        for file in tests.rglob(f"*etryable*{suffix}")
        if "interop/retryable.json" in file.read_text("utf-8")
    ]
    assert readers, "no test reads tests/interop/retryable.json"
    assert "waiting does not help" not in (client / "README.md").read_text("utf-8")
