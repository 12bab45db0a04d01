"""Images that are small and dear: each takes memory or time far beyond its bytes.

By format and by what is exaggerated: pixels, frames, scans, chunks, tables or metadata. ``size``
scales what costs time to make; the pixels that a header states cost nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import pillow_heif
from PIL import Image

from tests.pictures import draw, encode
from tests.soak.fuzz_files import claiming

_ORIENTATION: Final = 0x0112


def progressive(side_px: int) -> bytes:
    """Return a progressive JPEG that states these sides and ends early: memory comes first."""
    file = encode(draw(1, 256, 256), progressive=True)
    return claiming("JPEG", file, side_px, side_px)


def whole_progressive(side_px: int) -> bytes:
    """Return a progressive JPEG that really has these sides."""
    return encode(Image.new("RGB", (side_px, side_px), "red"), progressive=True, quality=50)


def scans(side_px: int, count: int) -> bytes:
    """Return a progressive JPEG whose last scan comes ``count`` times."""
    file = encode(Image.new("L", (side_px, side_px)), progressive=True)
    last = file[file.rindex(b"\xff\xda") : -2]
    return file[:-2] + last * count + file[-2:]


def one_component_a_scan(side_px: int) -> bytes:
    """Return a baseline JPEG whose components come one after the other, all held until the end."""
    file = bytearray(claiming("JPEG", encode(draw(1, 256, 256)), side_px, side_px))
    at = file.index(b"\xff\xda")
    file[at : at + 14] = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    return bytes(file)


def segments(kind: bytes, segment: bytes, count: int) -> bytes:
    """Return a small JPEG with that segment ``count`` times before its image."""
    file = encode(draw(1, 200, 200))
    whole = b"\xff" + kind + struct.pack(">H", len(segment) + 2) + segment
    return file[:2] + whole * count + file[2:]


def exif_entries(count: int) -> bytes:
    """Return a small JPEG whose EXIF has that many entries, over several segments."""
    entries = b"".join(struct.pack("<HHII", 1000 + i, 3, 1, 1) for i in range(count))
    exif = b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4)
    file = encode(draw(1, 200, 200))
    parts = [b"Exif\0\0" + exif[at : at + 65_000] for at in range(0, len(exif), 65_000)]
    marked = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    return file[:2] + marked + file[2:]


def png(side_px: int, mode: str = "RGBA") -> bytes:
    """Return a PNG of one colour, with an orientation that is only known behind its pixels."""
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    return encode(Image.new(mode, (side_px, side_px)), "PNG", exif=exif)


def png_chunks(chunk: bytes, count: int, *, behind: bool = False) -> bytes:
    """Return a small PNG with that chunk ``count`` times, before or behind its pixels."""
    file = encode(draw(1, 200, 200), "PNG")
    at = len(file) - 12 if behind else 33
    return file[:at] + chunk * count + file[at:]


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk with its checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def lying(kind: str, file: bytes, width: int, height: int) -> bytes:
    """Return a small file whose header states these sides."""
    return claiming(kind, file, width, height)


def frames(kind: str, count: int, side_px: int) -> bytes:
    """Return an animation of that many frames."""
    images = [Image.new("P", (side_px, side_px), number % 250) for number in range(count)]
    return encode(images[0], kind, save_all=True, append_images=images[1:], duration=20)


def webp(side_px: int) -> bytes:
    """Return a lossless WebP of one colour."""
    return encode(Image.new("RGBA", (side_px, side_px)), "WEBP", lossless=True, method=0)


def tiff_entries(count: int, each_bytes: int) -> bytes:
    """Return a TIFF with that many tags, all of which point to the same bytes."""
    entries = b"".join(
        struct.pack("<HHII", 1000 + number, 1, each_bytes, 8) for number in range(count)
    )
    directory = 8 + each_bytes
    head = b"II*\0" + struct.pack("<I", directory) + bytes(each_bytes)
    return head + struct.pack("<H", count) + entries + bytes(4)


def tiff(mode: str, side_px: int, compression: str) -> bytes:
    """Return a TIFF of one colour."""
    return encode(Image.new(mode, (side_px, side_px)), "TIFF", compression=compression)


def bmp_rle(side_px: int) -> bytes:
    """Return a run-length encoded BMP of one colour: Pillow decodes these in Python."""
    row = (b"\xff\x01" * (side_px // 255) + bytes((side_px % 255, 1))) + b"\0\0"
    pixels = row * side_px + b"\0\1"
    palette = bytes(range(256)) * 4
    offset = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, side_px, side_px, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    return (
        b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + palette + pixels
    )


def noise(side_px: int, kind: str) -> bytes:
    """Return noise, which no quality makes small."""
    pixels = np.random.default_rng(1).integers(0, 256, (side_px, side_px, 3), np.uint8)
    return encode(Image.fromarray(pixels), kind)


def heif(kind: str, side_px: int) -> bytes:
    """Return a HEIC or AVIF of one colour."""
    pillow_heif.register_heif_opener()
    image = Image.new("RGB", (side_px, side_px), "red")
    return encode(image, kind, quality=30)


def all_bombs(size: float) -> dict[str, Callable[[], bytes]]:
    """Return what makes each bomb, by name; ``size`` 1 is the full size of all."""
    side = int(5000 * size**0.5)

    def many(count: int) -> int:
        return max(1, int(count * size))

    small = {kind: encode(draw(1, 200, 200), kind) for kind in ("GIF", "TIFF", "WEBP", "BMP")}
    text = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(900_000)))
    profile = png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(many(200_000_000))))
    photoshop = b"Photoshop 3.0\0" + b"8BIM\0\0\0\0\0\0\0\0" * 5000
    tables = (b"\0" + bytes(range(1, 65))) * 1000
    return {
        "JPEG, progressive, 14,000 squared": partial(progressive, 14_000),
        "JPEG, progressive, 8,000 squared": partial(progressive, 8_000),
        "JPEG, progressive, 65,500 squared": partial(progressive, 65_500),
        "JPEG, progressive, 6,000 squared, whole": partial(
            whole_progressive, int(6000 * size**0.5)
        ),
        "JPEG, 20,000 scans": partial(scans, side if size == 1 else 250, many(20_000)),
        "JPEG, 90 scans": partial(scans, side, 90),
        "JPEG, a component a scan, 14,000 squared": partial(one_component_a_scan, 14_000),
        "JPEG, baseline": partial(
            lying, "JPEG", encode(draw(1, 256, 256)), *[int(14_000 * size**0.5)] * 2
        ),
        "JPEG, EXIF of 65,000 entries": partial(exif_entries, many(60_000)),
        "JPEG, Photoshop": partial(segments, b"\xed", photoshop, many(320)),
        "JPEG, tables": partial(segments, b"\xdb", tables, many(300)),
        "JPEG, comments": partial(segments, b"\xfe", b"", many(5_000_000)),
        "PNG, RGBA": partial(png, side),
        "PNG, 16 bits": partial(png, side, "I;16"),
        "PNG, grey with alpha": partial(png, side, "LA"),
        "PNG, one bit, 100,000 squared": lambda: lying("PNG", png(300, "1"), 100_000, 100_000),
        "PNG, texts": partial(png_chunks, text, many(2000)),
        "PNG, texts behind": partial(png_chunks, text, many(2000), behind=True),
        "PNG, profile": partial(png_chunks, profile, 1),
        "PNG, empty chunks": partial(png_chunks, png_chunk(b"prVt", b""), many(1_600_000)),
        "PNG, frames": partial(frames, "PNG", many(2000), 200),
        "PNG, noise": partial(noise, int(2600 * size**0.5), "PNG"),
        "GIF, 65,000 squared": lambda: lying("GIF", small["GIF"], 65_000, 65_000),
        "GIF, large": lambda: encode(Image.new("P", (side, side)), "GIF"),
        "GIF, frames": partial(frames, "GIF", many(2000), 200),
        "WEBP, 16,383 squared": lambda: lying("WEBP", small["WEBP"], 16_383, 16_383),
        "WEBP, large": partial(webp, side),
        "WEBP, 4,200 squared": partial(webp, int(4200 * size**0.5)),
        "WEBP, frames": partial(frames, "WEBP", many(200), 200),
        "TIFF, 60,000 squared": lambda: lying("TIFF", small["TIFF"], 60_000, 60_000),
        "TIFF, deflated": partial(tiff, "RGBA", side, "tiff_deflate"),
        "TIFF, float": partial(tiff, "F", side, "tiff_deflate"),
        "TIFF, LZW": partial(tiff, "CMYK", side, "tiff_lzw"),
        "TIFF, tags": partial(tiff_entries, many(60_000), many(15_000_000)),
        "BMP, 30,000 squared": lambda: lying("BMP", small["BMP"], 30_000, 30_000),
        "BMP, run lengths": partial(bmp_rle, side),
        "HEIC, large": partial(heif, "HEIF", int(2000 * size**0.5)),
        "HEIC, 30,000 squared": lambda: lying("HEIC", heif("HEIF", 256), 30_000, 30_000),
        "AVIF, large": partial(heif, "AVIF", int(3000 * size**0.5)),
    }
