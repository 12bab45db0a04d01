"""Reads the console's forms: fields that may be repeated, and files.

A body is bounded in size and time as a call's is (``api.bodies``). Does not know which fields
exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from productsearch_engine.api import bodies, codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.limits import CONSOLE_BODY_BYTES_MAX, CONSOLE_FIELDS_MAX

_INLINE_BYTES_MAX = 16 << 10


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a form; the name is what the browser says."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a form has."""

    fields: Sequence[tuple[str, str]]
    files: Sequence[File] = ()

    def values(self, name: str) -> list[str]:
        """Return the values of a field that may be repeated."""
        return [value for known, value in self.fields if known == name]

    def one(self, name: str, default: str = "") -> str:
        """Return the last value of a field."""
        return (self.values(name) or [default])[-1]


async def read(request: Request, threads: Executor, most: int = CONSOLE_BODY_BYTES_MAX) -> Form:
    """Return the form of a request. Raises Refusal, ApiError 2."""
    try:
        body = await bodies.read(request, most)
    except ApiError as error:
        if error.code == codes.IMAGE_SIZE:
            raise Refusal(413, "large") from None
        raise
    kind = request.headers.get("content-type", "")
    if len(body) <= _INLINE_BYTES_MAX:
        return parse(kind, body)
    return await asyncio.get_running_loop().run_in_executor(threads, parse, kind, body)


def parse(content_type: str, body: bytes) -> Form:
    """Return the form of a body. Raises Refusal."""
    kind, options = parse_options_header(content_type)
    try:
        if kind == b"multipart/form-data":
            return _multipart(options.get(b"boundary", b""), body)
        fields = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=CONSOLE_FIELDS_MAX,
        )
    except (ValueError, FormParserError):
        raise Refusal(400, "form") from None
    return Form(fields=fields)


class _Parts:
    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.files: list[File] = []
        self.ended = False
        self._parts = 0
        self._header = self._content = b""
        self._options: dict[bytes, bytes] = {}
        self._value: list[bytes] = []

    def begin(self) -> None:
        self._parts += 1
        if self._parts > CONSOLE_FIELDS_MAX:
            raise ValueError
        self._options, self._value = {}, []

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._options = parse_options_header(self._content)[1]
        self._header = self._content = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self._value.append(data[start:end])

    def end_part(self) -> None:
        value = b"".join(self._value)
        filename = self._options.get(b"filename")
        if filename is None:
            self.fields.append((self._options.get(b"name", b"").decode(), value.decode()))
        elif filename or value:  # without a choice browsers send a file without a name
            self.files.append(File(name=filename.decode(errors="replace"), content=value))

    def end(self) -> None:
        self.ended = True


def _multipart(boundary: bytes, body: bytes) -> Form:
    parts = _Parts()
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
    if not parts.ended:
        raise ValueError
    return Form(fields=parts.fields, files=parts.files)
