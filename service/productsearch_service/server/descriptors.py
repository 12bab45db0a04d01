"""The descriptions that gRPC reflection answers with; its first call loads them.

grpc_reflection describes v1alpha alone. The messages of v1 are the same on the wire; its
description is made here.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2

_V1ALPHA: Final = "grpc.reflection.v1alpha"
_V1: Final = "grpc.reflection.v1"
_V1_FILE: Final = "grpc/reflection/v1/reflection.proto"


class DescribedPool:
    """The default pool of descriptors, that of reflection v1, and the methods in both.

    FindFileContainingSymbol of protobuf's own pools knows every symbol but methods.
    """

    def __init__(self) -> None:
        own = descriptor_pool.DescriptorPool()
        own.AddSerializedFile(_v1_description().SerializeToString())
        self._pools = (descriptor_pool.Default(), own)

    def FindFileByName(self, name: str) -> Any:  # noqa: N802 - protobuf's name
        """Return the file; raise KeyError."""
        return self._find("FindFileByName", name)

    def FindFileContainingSymbol(self, name: str) -> Any:  # noqa: N802
        """Return the file that defines a symbol, methods too; raise KeyError."""
        try:
            return self._find("FindFileContainingSymbol", name)
        except KeyError:
            return self._find("FindMethodByName", name).containing_service.file

    def FindMessageTypeByName(self, name: str) -> Any:  # noqa: N802
        """Return the message; raise KeyError."""
        return self._find("FindMessageTypeByName", name)

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:  # noqa: N802
        """Return the extension of a message; raise KeyError."""
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Any) -> Any:  # noqa: N802
        """Return the extensions of a message."""
        return message.file.pool.FindAllExtensions(message)

    def _find(self, how: str, name: str) -> Any:
        for pool in self._pools:
            try:
                return getattr(pool, how)(name)
            except KeyError:
                continue
        raise KeyError(name)


def _v1_description() -> descriptor_pb2.FileDescriptorProto:
    """Return v1's file: v1alpha's under the other name."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = _V1_FILE, _V1
    file.ClearField("options")  # they name v1alpha's packages in other languages
    fields = (field for message in file.message_type for field in message.field)
    for field in (field for field in fields if field.HasField("type_name")):
        field.type_name = field.type_name.replace(f".{_V1ALPHA}.", f".{_V1}.")
    for method in (method for service in file.service for method in service.method):
        method.input_type = method.input_type.replace(f".{_V1ALPHA}.", f".{_V1}.")
        method.output_type = method.output_type.replace(f".{_V1ALPHA}.", f".{_V1}.")
    return file
