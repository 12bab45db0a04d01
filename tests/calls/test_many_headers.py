"""Calls with thousands of headers, which HTTP/2 spells in a byte each."""

from __future__ import annotations

import socket

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason
from productsearch_service import limits
from tests.calls.http2 import END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, head
from tests.conftest import ServerFactory
from tests.pictures import jpeg

SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
ACCEPT_ENCODING = b"\x90"
"""Both name and value stand in HTTP/2's own table (RFC 7541, A, 16)."""
FIELDS = 15_000
CONTINUATION = 9


def _with_headers(stub: v1.ProductSearchStub, count: int) -> None:
    metadata = tuple((f"x-{number}", "y") for number in range(count))
    stub.SearchImages(SEARCH, metadata=metadata, timeout=20)


def test_a_call_of_too_many_headers_is_refused_in_words(server: ServerFactory) -> None:
    """Whoever sends it has to send fewer; what a mesh adds is far below that."""
    with v1.connect(f"127.0.0.1:{server().port}") as channel:
        stub = v1.ProductSearchStub(channel)
        _with_headers(stub, limits.HEADERS_MAX // 2)
        with pytest.raises(grpc.RpcError) as refused:
            _with_headers(stub, limits.HEADERS_MAX + 10)
    assert grpc.StatusCode.INVALID_ARGUMENT is refused.value.code()
    assert ErrorReason.FIELD_INVALID == v1.reason_of(refused.value)
    assert "more than 128 headers" in (refused.value.details() or "")


def test_thousands_of_headers_hold_no_place(server: ServerFactory) -> None:
    """Ten such calls, then more of them in pieces: searches beside them are answered."""
    running = server()
    ending = frame(CONTINUATION, END_HEADERS, 21, ACCEPT_ENCODING * FIELDS)
    with (
        v1.connect(f"127.0.0.1:{running.port}") as channel,
        socket.create_connection(("127.0.0.1", running.port), 20) as line,
    ):
        line.sendall(PREFACE + frame(SETTINGS, 0, 0))
        for stream in range(1, 21, 2):
            fields = head("SearchImages") + ACCEPT_ENCODING * FIELDS
            line.sendall(frame(HEADERS, END_HEADERS, stream, fields))
        line.sendall(frame(HEADERS, END_STREAM, 21, head("SearchImages")) + ending)
        stub = v1.ProductSearchStub(channel)
        assert 1 == len(stub.SearchImages(SEARCH, timeout=20).results)
        assert (1, len(SEARCH.SerializeToString())) >= running.service._admission.unary.in_flight
        assert (0, 0) == running.service._admission.receiving.held
