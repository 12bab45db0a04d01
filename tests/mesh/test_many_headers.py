"""Headers by the hundred thousand, which HTTP/2 spells in a byte each, sent to the gateway."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from functools import partial

from productsearch import v1
from tests.calls.http2 import END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, head
from tests.lifecycle.asking import until
from tests.mesh.conftest import Mesh
from tests.mesh.gateway import Certificates
from tests.pictures import jpeg

SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
CONTINUATION, RST_STREAM, GOAWAY = 9, 3, 7
ACCEPT_ENCODING = b"\x90"
"""Both name and value stand in HTTP/2's own table (RFC 7541, A, 16)."""
FRAME_BYTES = 16_000
FIELDS = 100_000
LARGE_BYTES = 3_900
NEWEST = b"\xbe"
"""The newest entry of the table that the two sides share (RFC 7541, 2.3.3)."""


def _length(left: int) -> bytes:
    """Return the rest of a length that HPACK's first seven bits do not hold."""
    made = bytearray()
    while left >= 128:
        made.append(left % 128 + 128)
        left //= 128
    made.append(left)
    return bytes(made)


LARGE = b"\x40\x01x" + b"\x7f" + _length(LARGE_BYTES - 127) + b"y" * LARGE_BYTES
"""A header that is kept as the newest entry (RFC 7541, 6.2.1)."""


def _connected(mesh: Mesh, certificates: Certificates) -> ssl.SSLSocket:
    folder = certificates.folder
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.check_hostname = False
    context.load_cert_chain(folder / "shop.crt", folder / "shop.key")
    context.set_alpn_protocols(["h2"])
    host, port = mesh.gateway.address.rsplit(":", 1)
    return context.wrap_socket(socket.create_connection((host, int(port)), 20))


def _ends(line: ssl.SSLSocket) -> set[int]:
    """Return the kinds of frames that came until the call or its connection ended."""
    kinds, buffered = set(), b""
    while not kinds & {RST_STREAM, GOAWAY}:
        content = line.recv(65_536)
        if not content:
            return kinds | {GOAWAY}
        buffered += content
        while len(buffered) >= 9:
            length = struct.unpack(">I", b"\0" + buffered[:3])[0]
            if len(buffered) < 9 + length:
                break
            kinds.add(buffered[3])
            buffered = buffered[9 + length :]
    return kinds


def _sent(line: ssl.SSLSocket, stream: int, fields: bytes) -> None:
    first, rest = fields[:FRAME_BYTES], fields[FRAME_BYTES:]
    line.sendall(frame(HEADERS, 0 if rest else END_HEADERS, stream, first))
    while rest:
        first, rest = rest[:FRAME_BYTES], rest[FRAME_BYTES:]
        line.sendall(frame(CONTINUATION, 0 if rest else END_HEADERS, stream, first))


def _refused(mesh: Mesh, certificates: Certificates, fields: bytes) -> None:
    """Send a call with these fields; it is ended by the gateway and no facade sees it."""
    before = int(mesh.gateway.stats()["upstream_rq_total"])
    with _connected(mesh, certificates) as line, mesh.gateway.channel("catalogue") as channel:
        line.sendall(PREFACE + frame(SETTINGS, 0, 0))
        try:
            _sent(line, 1, head("SearchImages") + fields)
            ended = _ends(line)
        except (ConnectionError, ssl.SSLError):
            ended = {GOAWAY}
        assert ended & {RST_STREAM, GOAWAY}
        assert before == int(mesh.gateway.stats()["upstream_rq_total"])
        assert v1.ProductSearchStub(channel).SearchImages(SEARCH, timeout=20).results
        assert 2 == mesh.gateway.stats()["membership_healthy"]


def test_many_headers_end_at_the_gateway(calm_mesh: Mesh, certificates: Certificates) -> None:
    """100,000 in a call of 100 KB: no facade reads one, and others are served."""
    _refused(calm_mesh, certificates, ACCEPT_ENCODING * FIELDS)


def test_references_to_a_large_header_end_at_the_gateway(
    calm_mesh: Mesh, certificates: Certificates
) -> None:
    """4,000 references to one of 3.9 KB, 16 MB in 8 KB: the same."""
    _refused(calm_mesh, certificates, LARGE + NEWEST * 4_000)


def _reached(sent_on: Callable[[], int], count: int) -> bool:
    return sent_on() >= count


def test_what_is_below_the_bounds_reaches_a_facade(
    calm_mesh: Mesh, certificates: Certificates
) -> None:
    """The same bytes, fewer of them: it is their number that the gateway refuses."""

    def sent_on() -> int:
        return int(calm_mesh.gateway.stats()["upstream_rq_total"])

    first = sent_on()
    for count, fields in enumerate((ACCEPT_ENCODING * 50, LARGE + NEWEST * 10), 1):
        with _connected(calm_mesh, certificates) as line:
            line.sendall(PREFACE + frame(SETTINGS, 0, 0))
            _sent(line, 1, head("SearchImages") + fields)
            until(partial(_reached, sent_on, first + count), "the call is sent on")
