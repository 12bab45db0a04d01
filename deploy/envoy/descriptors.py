"""Writes the descriptor set with which Envoy speaks JSON over HTTP for the service.

``python deploy/envoy/descriptors.py OUT`` joins the compiled protos of the Python client with the
rules of http.json beside this file, as if the rules stood in the proto; so the proto imports
nothing that only a proxy needs. Fails if a rule names a method or a field that does not exist.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from google.api import annotations_pb2, http_pb2  # type: ignore[import-untyped] # has no stubs
from google.protobuf import descriptor_pb2, json_format
from google.rpc import error_details_pb2

from productsearch.v1 import product_search_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor

RULES = Path(__file__).with_name("http.json")

_VARIABLE = re.compile(r"\{([^}=]+)")


class RuleError(ValueError):
    """A rule does not fit the proto."""


def descriptor_set(rules: Path = RULES) -> descriptor_pb2.FileDescriptorSet:
    """Return the service's files and all that they import, with the rules as method options."""
    http = json_format.Parse(rules.read_text("utf-8"), http_pb2.Http())
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    # The details of errors travel as Any: without their types they could not become JSON.
    for wanted in (annotations_pb2, error_details_pb2, product_search_pb2):
        _collect(wanted.DESCRIPTOR, files)
    services = files[product_search_pb2.DESCRIPTOR.name].service
    for rule in http.rules:
        method = _method(rule.selector)
        _check(rule, method.input_type)
        options = services[method.containing_service.index].method[method.index].options
        options.Extensions[annotations_pb2.http].CopyFrom(rule)
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def _collect(file: FileDescriptor, into: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    """Add the file after everything that it imports."""
    for imported in file.dependencies:
        _collect(imported, into)
    if file.name not in into:
        into[file.name] = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(into[file.name])


def _method(selector: str) -> MethodDescriptor:
    for service in product_search_pb2.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            if selector == method.full_name:
                return method
    raise RuleError(f"{selector}: no such method")


def _check(rule: http_pb2.HttpRule, request: Descriptor) -> None:
    """Raise RuleError unless the fields that the rule names are fields of the request."""
    for binding in (rule, *rule.additional_bindings):
        path = getattr(binding, binding.WhichOneof("pattern"))
        fields = _VARIABLE.findall(path)
        if binding.body not in ("", "*"):
            fields.append(binding.body)
        for field in fields:
            _check_field(request, field, f"{rule.selector}: {path}")


def _check_field(message: Descriptor | None, path: str, where: str) -> None:
    for name in path.split("."):
        if message is None or name not in message.fields_by_name:
            raise RuleError(f"{where}: no such field: {path}")
        message = message.fields_by_name[name].message_type


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: descriptors.py OUT")
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(descriptor_set().SerializeToString())
