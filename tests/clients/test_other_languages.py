"""What docs/other-languages.md promises to languages without a client of their own."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import status_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from productsearch.v1 import product_search_pb2
from productsearch_service.settings import Settings
from tests.clients.running import ROOT, output_of
from tests.facade import Server

SERVICE = "productsearch.v1.ProductSearch"


def test_the_protos_are_a_buf_module(tmp_path: Path) -> None:
    """buf builds them without a network, with googleapis' status.proto laid beside them."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    imported = tmp_path / "build/imports/google/rpc/status.proto"
    imported.parent.mkdir(parents=True)
    shutil.copy(Path(status_pb2.__file__).with_name("status.proto"), imported)
    output_of(Path(sys.executable).with_name("buf"), "build", "-o", "built.binpb", cwd=tmp_path)
    built = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "built.binpb").read_bytes())
    services = [f"{file.package}.{one.name}" for file in built.file for one in file.service]
    assert [SERVICE] == services


def test_reflection_tells_the_schema() -> None:
    """With ``reflection`` a tool without files learns every method and message."""
    library: Any = {"base_url": "http://127.0.0.1:9", "api_key": "k", "secret_key": "s"}
    beside = {"listen": "127.0.0.1:0", "admin_listen": "", "metrics_listen": ""}
    settings: Any = {"libraries": {"default": library}, "drain_delay_s": 0, **beside}
    server = Server(Settings(reflection=True, **settings))
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        told = descriptor_pool.DescriptorPool(database).FindServiceByName(SERVICE)
        known = product_search_pb2.DESCRIPTOR.services_by_name["ProductSearch"]
        assert [*known.methods_by_name] == [*told.methods_by_name]
        for name, method in known.methods_by_name.items():
            asked = told.methods_by_name[name].input_type
            assert [*method.input_type.fields_by_name] == [*asked.fields_by_name]
    _stop(server)


def _stop(server: Server) -> None:
    hurry = threading.Event()
    hurry.set()
    server.stop(hurry)


def test_the_lock_file_of_node_names_no_registry() -> None:
    """Versions and hashes, and no address to download from."""
    lock = (ROOT / "tests/interop/node/package-lock.json").read_text("utf-8")
    assert '"resolved"' not in lock
    assert "registry" not in lock
    assert lock.count('"integrity"') > 10
