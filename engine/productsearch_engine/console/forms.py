"""Reads the console's forms: fields that may be repeated, and files.

A body is bounded in size and time as a call's is (``api.bodies``). Does not know which fields
exist.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request

from productsearch_engine.api import bodies, codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.header_options import content_type_of, options_of
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.limits import CONSOLE_BODY_BYTES_MAX, CONSOLE_FIELDS_MAX

_INLINE_BYTES_MAX = 16 << 10
_ESCAPED = {"%22": '"', "%0D": "\r", "%0A": "\n"}
"""What browsers escape in names of files, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a form; the name is the person's own."""

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
        if error.code == codes.UNAVAILABLE:
            # It came too slowly, and stopped in the middle: no database is in it.
            raise Refusal(408, "slow") from None
        raise
    kind = request.headers.get("content-type", "")
    if len(body) <= _INLINE_BYTES_MAX:
        return parse(kind, body)
    return await asyncio.get_running_loop().run_in_executor(threads, parse, kind, body)


def parse(content_type: str, body: bytes) -> Form:
    """Return the form of a body. Raises Refusal."""
    try:
        kind, options = content_type_of(content_type)
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


async def without_files(request: Request, threads: Executor, most: int) -> Form:
    """Return what is written in a form: its files have names and nothing else.

    ``most``: bytes of all that is kept. Raises Refusal, ApiError 2.
    """
    try:
        kind, options = content_type_of(request.headers.get("content-type", ""))
    except ValueError:
        raise Refusal(400, "form") from None
    if kind != b"multipart/form-data":
        return await read(request, threads, most)
    try:
        parts = _Parts(options.get(b"boundary", b""), most, keeps_files=False)
        async for piece in bodies.pieces(request, CONSOLE_BODY_BYTES_MAX):
            parts.take(piece)
        return parts.form()
    except (ValueError, FormParserError):
        raise Refusal(400, "form") from None


class _Parts:
    """The parts of a multipart body, which may come piece by piece.

    Raises ValueError, FormParserError for a body that is none, or has more than ``most`` bytes
    beside its files.
    """

    def __init__(self, boundary: bytes, most: int, *, keeps_files: bool):
        self._fields: list[tuple[str, str]] = []
        self._files: list[File] = []
        self._left = most
        self._keeps_files = keeps_files
        self._ended = False
        self._parts = 0
        self._header = self._content = b""
        self._options: dict[bytes, bytes] = {}
        self._value: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def take(self, piece: bytes) -> None:
        self._parser.write(piece)

    def form(self) -> Form:
        self._parser.finalize()
        if not self._ended:
            raise ValueError
        return Form(fields=self._fields, files=self._files)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > CONSOLE_FIELDS_MAX:
            raise ValueError
        self._options, self._value = {}, []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += self._counted(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._content += self._counted(data[start:end])

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._options = options_of(self._content)[1]
        self._header = self._content = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if b"filename" not in self._options:
            self._value.append(self._counted(data[start:end]))
        elif self._keeps_files:
            self._value.append(data[start:end])

    def _counted(self, kept: bytes) -> bytes:
        self._left -= len(kept)
        if self._left < 0:
            raise ValueError
        return kept

    def _end_part(self) -> None:
        value = b"".join(self._value)
        filename = self._options.get(b"filename")
        if filename is None:
            self._fields.append((self._options.get(b"name", b"").decode(), value.decode()))
        elif filename or value:  # without a choice browsers send a file without a name
            self._files.append(File(name=_named(filename), content=value))

    def _end(self) -> None:
        self._ended = True


def _named(filename: bytes) -> str:
    name = filename.decode(errors="replace")
    return re.sub("|".join(_ESCAPED), lambda found: _ESCAPED[found[0]], name)


def _multipart(boundary: bytes, body: bytes) -> Form:
    parts = _Parts(boundary, CONSOLE_BODY_BYTES_MAX, keeps_files=True)
    parts.take(body)
    return parts.form()
