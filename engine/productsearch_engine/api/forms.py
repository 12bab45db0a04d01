"""Parses a form body into fields, as leniently as the vendor's own samples need.

Accepts multipart/form-data, and reads every other type as application/x-www-form-urlencoded.
Values stay bytes: only the reader of a field knows whether it must be UTF-8. Does not know
which fields exist, nor how long a body may be.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.header_options import content_type_of, options_of
from productsearch_engine.limits import FIELDS_MAX

Fields: TypeAlias = dict[bytes, bytes]
"""Values by field name; of a repeated name the last value, as PHP and Python read it."""

_HEX = np.full(256, -1, dtype=np.int8)
for _digit in b"0123456789abcdefABCDEF":
    _HEX[_digit] = int(chr(_digit), 16)


def parse(content_type: str, body: bytes) -> Fields:
    """Return the fields of a body. Raises ApiError 216100 if it cannot be parsed."""
    try:
        kind, options = content_type_of(content_type)
    except ValueError:
        raise ApiError(codes.PARAM_INVALID) from None
    if kind == b"multipart/form-data":
        return _multipart(options.get(b"boundary", b""), body)
    return _urlencoded(body)


def _urlencoded(body: bytes) -> Fields:
    pairs = body.split(b"&", FIELDS_MAX)
    if len(pairs) > FIELDS_MAX:
        raise ApiError(codes.PARAM_INVALID)
    fields: Fields = {}
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        if pair:
            fields[_unquote(name)] = _unquote(value)
    return fields


def _unquote(quoted: bytes) -> bytes:
    """Undo urlencoding; a ``%`` without two hex digits stays as it is.

    It works on arrays: the standard library makes an object of every escape, which takes half
    a second under the GIL for a hostile 4 MiB value.
    """
    quoted = quoted.replace(b"+", b" ")
    if b"%" not in quoted:
        return quoted
    source = np.frombuffer(quoted, dtype=np.uint8)
    at = np.flatnonzero(source[:-2] == ord("%"))
    high, low = _HEX[source[at + 1]], _HEX[source[at + 2]]
    valid = (high | low) >= 0
    at = at[valid]
    plain = source.copy()
    plain[at] = (high[valid].astype(np.uint8) << 4) | low[valid].astype(np.uint8)
    kept = np.ones(len(source), dtype=np.bool_)
    kept[at + 1] = False
    kept[at + 2] = False
    return plain[kept].tobytes()


class Parts:
    """Collects the parts of a multipart body; a part without a name is skipped.

    Raises ApiError 216100 in the middle of a body that has more parts than any form has: each
    costs calls of Python, also one without a name. The parser bounds the headers of a part.
    """

    def __init__(self) -> None:
        self.fields: Fields = {}
        self.ended = False
        self._parts = 0
        self._header = b""
        self._content = b""
        self._name: bytes | None = None
        self._value: list[bytes] = []

    def begin(self) -> None:
        self._parts += 1
        if self._parts > FIELDS_MAX:
            raise ApiError(codes.PARAM_INVALID)
        self._name, self._value = None, []

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._name = options_of(self._content)[1].get(b"name")
        self._header = self._content = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self._value.append(data[start:end])

    def end_part(self) -> None:
        if self._name is not None:
            self.fields[self._name] = b"".join(self._value)

    def end(self) -> None:
        self.ended = True


def _multipart(boundary: bytes, body: bytes) -> Fields:
    parts = Parts()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_field,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_part_data": parts.data,
                "on_part_end": parts.end_part,
                "on_end": parts.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):
        raise ApiError(codes.PARAM_INVALID) from None
    if not parts.ended:
        raise ApiError(codes.PARAM_INVALID)
    return parts.fields
