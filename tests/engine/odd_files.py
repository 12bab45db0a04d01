"""Files of the three formats as cameras, shops and old programs write them, and Pillow does not.

Each builder takes samples and returns a whole file. Knows the formats' specifications. Does not
know what the engine makes of the files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from tests.engine.image_files import encoded

Samples: TypeAlias = np.ndarray[Any, Any]
"""Height, width and, unless it is one, channels."""

_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
"""First column and row of each pass, and their steps."""
_ADOBE_TRANSFORM_AT = 11
_YCCK = b"\x02"


def png(
    samples: Samples,
    depth: int,
    colour: int,
    *,
    interlaced: bool = False,
    chunks: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """Return a PNG of samples in 1, 2, 4, 8 or 16 bits; ``chunks`` come before the pixels."""
    height, width = samples.shape[:2]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = [
        b"\0" + _packed(row, depth)
        for left, top, right, down in passes
        for row in samples[top::down, left::right]
    ]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(rows))
    all_chunks = ((b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in all_chunks
    )


def _packed(row: Samples, depth: int) -> bytes:
    flat = row.reshape(-1)
    if depth == 16:
        return flat.astype(">u2").tobytes()
    bits = np.unpackbits(flat.astype("u1")[:, None], axis=1)[:, 8 - depth :]
    return np.packbits(bits.reshape(-1)).tobytes()


def bmp(
    pixels: bytes,
    bits: int,
    size: tuple[int, int],
    *,
    header: int = 40,
    compression: int = 0,
    masks: Sequence[int] = (),
    palette: bytes = b"",
    from_top: bool = False,
) -> bytes:
    """Return a BMP of rows that are padded to four bytes already.

    ``header`` is its length: 12 is OS/2's first, 64 its second; from 52 on the masks are in it.
    """
    width, height = size
    if header == 12:
        head = struct.pack("<IHHHH", header, width, height, 1, bits)
    else:
        signed = -height if from_top else height
        numbers = (bits, compression, len(pixels), 0, 0, 0, 0)
        head = struct.pack("<IiiHHIIiiII", header, width, signed, 1, *numbers)
    head = (head + struct.pack(f"<{len(masks)}I", *masks)).ljust(header, b"\0") + palette
    start = 14 + len(head)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + head + pixels


def rows(samples: Samples) -> bytes:
    """Return the rows of a BMP, from the bottom, padded."""
    lines = [row.tobytes() for row in samples[::-1]]
    return b"".join(line + bytes(-len(line) % 4) for line in lines)


def run_lengths(indices: Samples, bits: int) -> bytes:
    """Return the rows of a BMP as run lengths of 8 or 4 bits."""
    lines = []
    for row in indices[::-1]:
        ends = [*(np.flatnonzero(np.diff(row.astype(int))) + 1), len(row)]
        for start, end in zip([0, *ends], ends, strict=False):
            value = int(row[start]) * (17 if bits == 4 else 1)
            lines += [bytes((min(254, end - at), value)) for at in range(start, end, 254)]
        lines.append(b"\0\0")
    return b"".join([*lines, b"\0\1"])


def segments(file: bytes) -> tuple[list[bytes], bytes]:
    """Return the segments of a JPEG before its first scan, and what follows."""
    found, at = [], 2
    while file[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", file, at + 2)
        found.append(file[at : at + 2 + length])
        at += 2 + length
    return found, file[at:]


def without(file: bytes, *markers: int) -> bytes:
    """Return a JPEG without its segments of these markers."""
    found, scans = segments(file)
    return b"\xff\xd8" + b"".join(one for one in found if one[1] not in markers) + scans


def ycck(image: Image.Image) -> bytes:
    """Return a CMYK image as programs for print write it: as YCCK, inverted, with Adobe's mark."""
    inks = np.asarray(image.convert("CMYK"))
    colours = Image.fromarray(np.ascontiguousarray(inks[..., :3])).convert("YCbCr")
    stored = np.dstack([np.asarray(colours), 255 - inks[..., 3]])
    file = encoded(Image.fromarray(255 - stored, "CMYK"), "JPEG")
    at = file.index(b"Adobe") + _ADOBE_TRANSFORM_AT
    return file[:at] + _YCCK + file[at + 1 :]
