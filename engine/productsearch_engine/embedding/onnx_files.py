"""Finds the files beside an ONNX model in which it keeps weights.

Large models have them there, and so has whatever ``torch.onnx.export`` writes today. Knows as much
of the format (protocol buffers, ``onnx.proto``) as leads to the tensors. Does not run the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 6: "graph", 11: "graph"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Which fields of a message are messages that lead to a tensor's files, and of what kind."""

_KEY, _VALUE = 1, 2
_LOCATION = b"location"
_FIXED_BYTES = {1: 8, 5: 4}


class _Field(NamedTuple):
    number: int
    content: memoryview


def beside(model: memoryview) -> list[str]:
    """Return the paths, relative to the model's folder, sorted.

    A file that is damaged names none: whoever runs it refuses it.
    """
    found: set[str] = set()
    todo = [("model", model)]
    try:
        while todo:
            kind, message = todo.pop()
            if kind == "entry":
                entry = {field.number: bytes(field.content) for field in _fields(message)}
                if entry.get(_KEY) == _LOCATION:
                    found.add(entry[_VALUE].decode("utf-8"))
                continue
            inside = _INSIDE[kind]
            todo += [(inside[n], content) for n, content in _fields(message) if n in inside]
    except (IndexError, ValueError, KeyError):
        return []
    return sorted(found)


def _fields(message: memoryview) -> Iterator[_Field]:
    """Yield the fields with a length of a message; raise IndexError or ValueError if damaged."""
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        wire = tag & 7
        if wire == 0:
            _, place = _number(message, place)
        elif wire == 2:
            length, place = _number(message, place)
            if place + length > len(message):
                raise ValueError("a field beyond the end")
            yield _Field(tag >> 3, message[place : place + length])
            place += length
        else:
            place += _FIXED_BYTES[wire]


def _number(message: memoryview, place: int) -> tuple[int, int]:
    """Return a varint, and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
