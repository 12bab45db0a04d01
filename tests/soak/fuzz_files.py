"""Images of every format, what is done to them to damage them, and headers that lie.

Knows nothing of who reads them.
"""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from tests.pictures import draw, encode


def files_of_all_kinds() -> dict[str, bytes]:
    """Return a file of each format, in the ways that decoders have code of their own for."""
    pillow_heif.register_heif_opener()
    drawn, small = draw(1, 300, 300), draw(2, 200, 200)
    frames = [draw(seed, 200, 200).convert("P") for seed in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(np.arange(90_000, dtype=np.uint16).reshape(300, 300))
    several: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    return {
        "JPEG": encode(drawn, "JPEG", exif=exif),
        "JPEG progressive": encode(drawn, "JPEG", progressive=True),
        "JPEG CMYK": encode(drawn.convert("CMYK"), "JPEG"),
        "PNG": encode(drawn, "PNG"),
        "PNG palette": encode(drawn.convert("P"), "PNG", transparency=3),
        "PNG 16 bits": encode(grey16, "PNG"),
        "PNG alpha": encode(small.convert("RGBA"), "PNG"),
        "PNG animated": encode(frames[0], "PNG", **several),
        "BMP": encode(drawn, "BMP"),
        "BMP palette": encode(drawn.convert("P"), "BMP"),
        "WEBP": encode(small, "WEBP"),
        "WEBP lossless": encode(small.convert("RGBA"), "WEBP", lossless=True),
        "WEBP animated": encode(small, "WEBP", save_all=True, append_images=[draw(3, 200, 200)]),
        "GIF animated": encode(frames[0], "GIF", **several),
        "TIFF": encode(small, "TIFF"),
        "TIFF LZW": encode(small, "TIFF", compression="tiff_lzw"),
        "TIFF JPEG": encode(small, "TIFF", compression="jpeg"),
        "TIFF 16 bits": encode(grey16, "TIFF", compression="tiff_deflate"),
        "HEIC": encode(drawn, "HEIF", quality=60),
    }


def claiming(kind: str, file: bytes, width: int, height: int) -> bytes:
    """Return the file with a header that states these sides; the pixels stay what they are."""
    lying = bytearray(file)
    if kind.startswith("JPEG"):
        at = next(at for mark in (b"\xff\xc0", b"\xff\xc2") if (at := file.find(mark)) >= 0)
        lying[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif kind.startswith("PNG"):
        lying[16:24] = struct.pack(">II", width, height)
        lying[29:33] = struct.pack(">I", zlib.crc32(lying[12:29]))
    elif kind.startswith("BMP"):
        lying[18:26] = struct.pack("<ii", width, height)
    elif kind.startswith("GIF"):
        at = file.index(b",", 13 + 3 * 2 ** ((file[10] & 7) + 1))
        lying[6:10] = lying[at + 5 : at + 9] = struct.pack("<HH", width, height)
    elif kind.startswith("TIFF"):
        _set_tiff_sides(lying, width, height)
    elif kind.startswith("HEIC"):
        at = file.index(b"ispe")
        lying[at + 8 : at + 16] = struct.pack(">II", width, height)
    elif file[12:16] == b"VP8X":
        lying[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif file[12:16] == b"VP8L":
        sides = (min(width, 1 << 14) - 1) | (min(height, 1 << 14) - 1) << 14
        lying[21:25] = (sides | 1 << 28).to_bytes(4, "little")
    else:
        sides_px = min(width, (1 << 14) - 1), min(height, (1 << 14) - 1)
        lying[26:30] = struct.pack("<HH", *sides_px)
    return bytes(lying)


def _set_tiff_sides(file: bytearray, width: int, height: int) -> None:
    (at,) = struct.unpack_from("<I", file, 4)
    (count,) = struct.unpack_from("<H", file, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", file, entry)
        if tag in (256, 257):
            struct.pack_into("<HII", file, entry + 2, 4, 1, width if tag == 256 else height)


def damage(kind: str, file: bytes, chance: random.Random) -> bytes:
    """Return the file cut, lying about its sides, or with some bytes changed."""
    way = chance.randrange(10)
    if way == 0:
        return file[: chance.randrange(len(file))]
    if way == 1:
        sides = [chance.choice((0, 1, 299, 300, 2000, 4096, 16383, 65535)) for _ in range(2)]
        return claiming(kind, file, max(sides[0], 1), max(sides[1], 1))
    damaged = bytearray(file)
    reach = len(file) if way == 2 else min(len(file), 1200)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(reach)
        match chance.randrange(4):
            case 0:
                damaged[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 1:
                damaged[at] = chance.randrange(256)
            case 2:
                damaged[at : at + 4] = chance.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1")
                )
            case 3:
                del damaged[at : at + chance.randint(1, 30)]
        reach = min(reach, len(damaged)) or 1
    return bytes(damaged)
