"""Builds image files that cost their reader more than they look like.

Each format has one builder with the knobs that make files costly: sides, depth, scans, frames,
segments or chunks, tables, metadata, text that inflates. All of them are small on the wire.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import lru_cache, partial

from PIL import Image

from tests.engine.image_files import encoded

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PART_BYTES_MAX = 4 << 20
"""Of what a builder repeats: files fit into a call."""
_INFLATED_BYTES_MAX = 256 << 20
"""Of pixels; a header may claim more."""


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@lru_cache(maxsize=64)
def zeros(size: int) -> bytes:
    """Return so many zeros, deflated."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [packer.compress(block[: min(len(block), size - at)]) for at in range(0, size, 1 << 20)]
    return b"".join(parts) + packer.flush()


def png(
    *,
    width: int = 300,
    height: int = 300,
    depth: int = 8,
    colour: int = 6,
    interlaced: bool = False,
    texts: int = 0,
    text_bytes: int = 1 << 20,
    text_kind: bytes = b"zTXt",
    empty_chunks: int = 0,
    frames: int = 0,
    surplus: int = 0,
) -> bytes:
    """Return a PNG of one colour; ``surplus`` is what inflates beyond its pixels, in bytes."""
    row = 1 + (width * _CHANNELS[colour] * depth + 7) // 8
    rows = 2 * height if interlaced else height
    inflated = {
        b"zTXt": b"Comment\0\0" + zeros(text_bytes),
        b"iTXt": b"Comment\0\1\0\0\0" + zeros(text_bytes),
        b"iCCP": b"profile\0\0" + zeros(text_bytes),
        b"eXIf": b"MM\0*\0\0\0\x08" + b"\xff\xff" + bytes(min(text_bytes, 60_000)),
    }[text_kind]
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)),
        *([chunk(b"PLTE", bytes(768))] if colour == 3 else []),
        *([chunk(b"acTL", struct.pack(">II", frames, 0))] if frames else []),
        *[chunk(text_kind, inflated)] * texts,
        *[chunk(b"IDAT", b"")] * empty_chunks,
        chunk(b"IDAT", zeros(min(row * rows, _INFLATED_BYTES_MAX) + surplus)),
    ]
    for number in range(frames):
        head = struct.pack(">5IHHBB", 2 * number, width, height, 0, 0, 1, 100, 0, 0)
        data = struct.pack(">I", 2 * number + 1) + zeros(min(row * height, _INFLATED_BYTES_MAX))
        parts += [chunk(b"fcTL", head), chunk(b"fdAT", data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@lru_cache(maxsize=32)
def _flat(width: int, height: int, mode: str, progressive: bool) -> bytes:
    image = Image.new(mode, (width, height), 0)
    return encoded(image, "JPEG", progressive=progressive, subsampling=0, quality=90)


def jpeg(
    *,
    width: int = 300,
    height: int = 300,
    mode: str = "RGB",
    progressive: bool = True,
    scans: int = 0,
    segments: int = 0,
    segment_marker: int = 0xE1,
    segment_bytes: int = 2,
    images: int = 1,
    ended: bool = True,
    claimed: tuple[int, int] | None = None,
) -> bytes:
    """Return a JPEG of one colour; ``scans`` repeats its last one, ``claimed`` are other sides."""
    file = _flat(width, height, mode, progressive)
    if claimed is not None:
        marker = b"\xff\xc2" if progressive else b"\xff\xc0"
        at = file.index(marker) + 5
        file = file[:at] + struct.pack(">HH", claimed[1], claimed[0]) + file[at + 4 :]
    last = file[file.rindex(b"\xff\xda") : -2]
    segment = bytes((0xFF, segment_marker)) + struct.pack(">H", segment_bytes)
    segment += bytes(segment_bytes - 2)
    segments = min(segments, _PART_BYTES_MAX // len(segment))
    scans = min(scans, _PART_BYTES_MAX // len(last))
    file = file[:2] + segment * segments + file[2:-2] + last * scans
    return (file + b"\xff\xd9") * images if ended else file


def bmp(
    *,
    width: int = 300,
    height: int = 300,
    bits: int = 8,
    compression: int = 0,
    colours: int = 0,
    data: bytes = b"",
    masks: bytes = b"",
) -> bytes:
    """Return a BMP of what its header says and of ``data``, which need not agree."""
    head = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, colours, 0
    )
    palette = bytes(1024) if bits <= 8 else b""
    start = 14 + len(head) + len(masks) + len(palette)
    name = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    return name + head + masks + palette + data


def runs(side: int = 4096) -> bytes:
    """Return run lengths of eight pixels each, which Pillow decodes in Python."""
    return b"\x08\x07" * (side * side // 8)


_SIDE = 4096
WORST: dict[str, Callable[[], bytes]] = {
    "progressive JPEG, 4096 x 4096": partial(jpeg, width=_SIDE, height=_SIDE),
    "progressive CMYK JPEG, 4096 x 4096": partial(jpeg, width=_SIDE, height=_SIDE, mode="CMYK"),
    "progressive JPEG, 4096 x 4096, 90 scans": partial(jpeg, width=_SIDE, height=_SIDE, scans=80),
    "JPEG, 5000 scans": partial(jpeg, scans=5000),
    "JPEG, 500,000 empty segments": partial(jpeg, segments=500_000),
    "JPEG without end mark, 4096 x 4096": partial(jpeg, width=_SIDE, height=_SIDE, ended=False),
    "PNG, RGBA, 4096 x 4096": partial(png, width=_SIDE, height=_SIDE),
    "PNG, RGBA, 16 bits, 4096 x 4096": partial(png, width=_SIDE, height=_SIDE, depth=16),
    "PNG, interlaced, 4096 x 4096": partial(png, width=_SIDE, height=_SIDE, interlaced=True),
    "PNG, palette, 4096 x 4096": partial(png, width=_SIDE, height=_SIDE, colour=3),
    "PNG, 2,000 texts of 1 MB": partial(png, texts=2000, text_kind=b"zTXt"),
    "PNG, 30 texts of 64 MB": partial(png, texts=30, text_kind=b"iTXt", text_bytes=64 << 20),
    "PNG, profile of 1 GB": partial(png, texts=1, text_kind=b"iCCP", text_bytes=1 << 30),
    "PNG, 1 GB after its pixels": partial(png, surplus=1 << 30),
    "PNG, 200,000 empty chunks": partial(png, empty_chunks=200_000),
    "PNG, 100 frames of 4096 x 4096": partial(png, width=_SIDE, height=_SIDE, colour=0, frames=100),
    "BMP, run lengths, 4096 x 4096": partial(
        bmp, width=_SIDE, height=_SIDE, compression=1, data=runs(2400)
    ),
    "BMP, 1 bit, 4096 x 4096": partial(
        bmp, width=_SIDE, height=_SIDE, bits=1, data=bytes(_SIDE * 512)
    ),
}
"""The costliest file of each kind that fits into a call; to make one takes up to seconds."""
