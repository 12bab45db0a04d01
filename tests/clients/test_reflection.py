"""Reflection describes every symbol, methods too, in both versions and on both ports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from productsearch.v1 import error_reason_pb2, product_search_pb2
from productsearch_service import limits
from productsearch_service.settings import Settings
from tests.facade import Server

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse

VERSIONS: Final = ("v1", "v1alpha")
PORTS: Final = ("listen", "admin_listen")
_PATIENCE_S: Final = 30
_NOT_FOUND: Final = grpc.StatusCode.NOT_FOUND.value[0]
_OURS: Final = (product_search_pb2.DESCRIPTOR, error_reason_pb2.DESCRIPTOR)


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Start a service with reflection on and return its two ports' addresses."""
    library: Any = {"base_url": "http://127.0.0.1:9", "api_key": "k", "secret_key": "s"}
    here: Any = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "metrics_listen": ""}
    settings = Settings(reflection=True, libraries={"default": library}, drain_delay_s=0, **here)
    server = Server(settings, with_admin=True)
    server.start()
    ports = {"listen": server.port, "admin_listen": server.admin_port}
    yield {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    server.stop()


def _ask(address: str, version: str, requests: Sequence[bytes]) -> list[Any]:
    """Return the answers to serialized requests of one stream."""
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=bytes,
            response_deserializer=Response.FromString,
        )
        return [*call(iter(requests), timeout=_PATIENCE_S)]


def _symbols_of(file: FileDescriptor) -> Iterator[str]:
    """Yield the full name of everything that a file defines."""
    messages = [*file.message_types_by_name.values()]
    enums = [*file.enum_types_by_name.values()]
    while messages:
        message = messages.pop()
        messages += message.nested_types
        enums += message.enum_types
        yield message.full_name
        yield from (field.full_name for field in message.fields)
        yield from (oneof.full_name for oneof in message.oneofs)
    for enum in enums:
        yield enum.full_name
        scope = enum.full_name.rpartition(".")[0]
        yield from (f"{scope}.{value.name}" for value in enum.values)
    for service in file.services_by_name.values():
        yield service.full_name
        yield from (method.full_name for method in service.methods)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_symbol_is_found_in_its_file(
    addresses: dict[str, str], version: str, port: str
) -> None:
    """All that the service's and health's protos define, and channelz's on the admin port."""
    files = [*_OURS, health_pb2.DESCRIPTOR]
    files += [channelz_pb2.DESCRIPTOR] if port == "admin_listen" else []
    home = {symbol: file.name for file in files for symbol in _symbols_of(file)}
    for method in ("ProductSearch.SearchImages", "ProductSearch.BulkAddImages"):
        assert f"productsearch.v1.{method}" in home
    asked = [Request(file_containing_symbol=symbol).SerializeToString() for symbol in home]
    answers = _ask(addresses[port], version, asked)
    assert len(home) == len(answers)
    for answer in answers:
        symbol = answer.original_request.file_containing_symbol
        sent = answer.file_descriptor_response.file_descriptor_proto
        names = [descriptor_pb2.FileDescriptorProto.FromString(file).name for file in sent]
        assert home[symbol] in names, symbol


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_service_that_is_listed_is_described(
    addresses: dict[str, str], version: str, port: str
) -> None:
    """From the answers alone each service can be built, reflection's own two among them."""
    (listed,) = _ask(addresses[port], version, [Request(list_services="").SerializeToString()])
    names = {service.name for service in listed.list_services_response.service}
    reflections = {f"grpc.reflection.{each}.ServerReflection" for each in VERSIONS}
    assert {"productsearch.v1.ProductSearch", "grpc.health.v1.Health", *reflections} <= names
    asked = [Request(file_containing_symbol=name).SerializeToString() for name in names]
    pool = descriptor_pool.DescriptorPool()
    for answer in _ask(addresses[port], version, asked):
        # Dependencies come last; a pool wants them first, and may be told of a file twice.
        for file in reversed(answer.file_descriptor_response.file_descriptor_proto):
            pool.AddSerializedFile(file)
    for name in names:
        assert pool.FindServiceByName(name).methods, name


@pytest.mark.parametrize("port", PORTS)
def test_what_is_not_there_is_not_found(addresses: dict[str, str], port: str) -> None:
    """Unknown symbols and files are told one by one, and the stream goes on."""
    service = "productsearch.v1.ProductSearch"
    unknown = ["", "nothing", "productsearch.v1", f"{service}.Nothing", f"{service}."]
    asked = [Request(file_containing_symbol=name) for name in unknown]
    asked += [Request(file_by_filename="nothing.proto")]
    asked += [Request(all_extension_numbers_of_type="nothing")]
    for message in ("grpc.reflection.v1.ExtensionRequest", "productsearch.v1.ImageRef", "nothing"):
        asked.append(Request())
        asked[-1].file_containing_extension.containing_type = message
        asked[-1].file_containing_extension.extension_number = 1
    known = Request(file_containing_symbol=f"{service}.AddImage")
    sent = [request.SerializeToString() for request in (*asked, known)]
    *missing, last = _ask(addresses[port], "v1", sent)
    assert {_NOT_FOUND} == {answer.error_response.error_code for answer in missing}
    assert last.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "content",
    [Request(file_containing_symbol="x" * limits.BYSTANDER_BYTES_MAX).SerializeToString(), b"\xff"],
    ids=["too large", "no request"],
)
def test_a_request_that_is_none_ends_the_stream(
    addresses: dict[str, str], version: str, content: bytes
) -> None:
    """On the service's port a request over 1 KiB, or of other bytes, is INVALID_ARGUMENT."""
    short = Request(file_containing_symbol="x" * (limits.BYSTANDER_BYTES_MAX - 8))
    assert 1 == len(_ask(addresses["listen"], version, [short.SerializeToString()]))
    with pytest.raises(grpc.RpcError) as refused:
        _ask(addresses["listen"], version, [content])
    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


def test_only_its_first_call_loads_the_descriptor_messages() -> None:
    """An idle service is spared their 4 MB."""
    program = (
        "import sys, productsearch_service.server.compose;"
        "print('google.protobuf.descriptor_pb2' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "False"
