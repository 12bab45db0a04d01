"""Calls as bytes of HTTP/2, for what no client does."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, WINDOW_UPDATE = 0, 1, 3, 4, 8
END_STREAM, END_HEADERS = 1, 4
_FRAME_BYTES = 16_000


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def head(method: str, token: str = "", service: str = "productsearch.v1.ProductSearch") -> bytes:
    """Return the headers of a call, each as a literal that is not indexed (RFC 7541, 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{service}/{method}",
    }
    fields |= {":authority": "x", "content-type": "application/grpc", "te": "trailers"}
    if token:
        fields["authorization"] = f"Bearer {token}"
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


def message(stream: int, content: bytes) -> bytes:
    """Return the frames of a call's only message, of gRPC's form."""
    prefixed = b"\0" + struct.pack(">I", len(content)) + content
    parts = [prefixed[at : at + _FRAME_BYTES] for at in range(0, len(prefixed), _FRAME_BYTES)]
    flags = [0] * (len(parts) - 1) + [END_STREAM]
    return b"".join(map(frame, [DATA] * len(parts), flags, [stream] * len(parts), parts))
