"""The quick look at an answer's head says what http.client says, or nothing."""

from __future__ import annotations

import io
import socket
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from productsearch_service.upstream import heads

PLAIN = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type:application/json\r\n"
    b"Set-Cookie: a=1; b\r\nset-cookie: \t c \r\n"
    b"Connection: keep-alive\r\nContent-Length: 17\r\n\r\n"
)
BODY = b'{"log_id": "123"}'
OTHERS = {
    "not whole": PLAIN[:-2],
    "a body without a length": b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n",
    "two lengths": PLAIN[:-2] + b"Content-Length: 3\r\n\r\n",
    "a length that is no number": PLAIN.replace(b"17", b"1_7"),
    "a negative length": PLAIN.replace(b"17", b"-17"),
    "chunked": PLAIN[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
    "the last answer": PLAIN.replace(b"keep-alive", b"Close"),
    "HTTP/1.0": PLAIN.replace(b"1.1", b"1.0"),
    "a provisional answer": b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
    "no content": PLAIN.replace(b"200 OK", b"204 No Content"),
    "not modified": PLAIN.replace(b"200 OK", b"304 Not Modified"),
    "a folded line": PLAIN.replace(b"a=1; b", b"a=1;\r\n b"),
    "lines that end with LF": PLAIN.replace(b"\r\n", b"\n"),
    "a bare CR": PLAIN.replace(b"a=1; b", b"a=1;\rb"),
    "beyond ASCII": PLAIN.replace(b"nginx", b"nginx\xe9"),
    "a field without a name": PLAIN.replace(b"Server:", b":"),
    "a line without a colon": PLAIN.replace(b"Server:", b"Server"),
    "too many fields": PLAIN[:-2] + b"A: 1\r\n" * 70 + b"\r\n",
    "nothing": b"",
}


def test_a_plain_head_is_read_quickly() -> None:
    """Status, reason, fields in their order and case, length and where the body begins."""
    head = heads.read(PLAIN + BODY)
    assert head is not None
    assert (200, "OK", len(BODY), len(PLAIN)) == (
        head.status, head.reason, head.body_bytes, head.head_bytes,
    )  # fmt: skip
    assert ["a=1; b", "c "] == head.headers.get_all("Set-Cookie")
    assert _told_by_http_client(PLAIN + BODY) == _told(head)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_heads_are_left_to_http_client(kind: str) -> None:
    """What is rare, or means something for the connection, has one reader."""
    assert heads.read(OTHERS[kind] + BODY) is None


@settings(max_examples=2000)
@given(
    st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.binary(max_size=3)), max_size=3),
    st.lists(st.sampled_from(sorted(OTHERS.values())), max_size=1),
)
@example([(15, b"Content-Length: 4\r\n")], [])
def test_altered_heads(changes: list[tuple[int, bytes]], before: list[bytes]) -> None:
    """Where the quick look says something of a head that was tampered with, it is the same."""
    altered = bytearray(b"".join(before) + PLAIN)
    for at, piece in changes:
        altered[at : at + len(piece) - 1] = piece
    head = heads.read(bytes(altered) + BODY)
    if head is not None:
        assert _told_by_http_client(bytes(altered) + BODY) == _told(head)


def _told(head: heads.Head) -> dict[str, Any]:
    return {
        "status": head.status,
        "reason": head.reason,
        "fields": head.headers.items(),
        "length": head.body_bytes,
        "begins at": head.head_bytes,
        "version": 11,
        "chunked": False,
        "will close": False,
    }


def _told_by_http_client(content: bytes) -> dict[str, Any]:
    stream = io.BytesIO(content)

    class Source:
        def makefile(self, _: str) -> io.BytesIO:
            return stream

    answer = HTTPResponse(cast("socket.socket", Source()), method="POST")
    try:
        answer.begin()
    except HTTPException as error:
        return {"refused": repr(error)}
    return {
        "status": answer.status,
        "reason": answer.reason,
        "fields": answer.headers.items(),
        "length": answer.length,
        "begins at": stream.tell(),
        "version": answer.version,
        "chunked": answer.chunked,
        "will close": answer.will_close,
    }
