"""Reads the structure of a JPEG file (ITU T.81, annex B).

Knows markers and their segments. Does not know Huffman codes.
"""

from __future__ import annotations

import re
import struct

from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.images.structure import Structure
from productsearch_engine.limits import (
    JPEG_SCAN_COMPONENTS_MAX,
    JPEG_SCANS_MAX,
    LARGE_PX,
    LARGE_SCANNED_PX,
    MARKS_MAX,
)

_SOI, _EOI, _SOS, _COM, _TEM = 0xD8, 0xD9, 0xDA, 0xFE, 0x01
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_APPLICATION = range(0xE0, 0xF0)
_JFIF, _EXIF, _ADOBE = 0xE0, 0xE1, 0xEE
# Neither a stuffed byte nor a restart marker: those belong to the entropy-coded data.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)


def read(content: bytes) -> Structure:
    """Return the structure of a file. Raises ImageUnreadableError.

    It ends with the first image: phones store several in one file (MPO).
    """
    needed = [slice(0, 2)]
    frame: tuple[int, bytes] | None = None
    scans: list[bytes] = []
    oriented, ended, at = False, False, 2
    for _ in range(MARKS_MAX):
        found = _MARKER.search(content, at)
        if found is None:
            break
        marker, start = found[1][0], found.start()
        end = found.end() if marker in (_SOI, _EOI, _TEM) else _segment_end(content, found.end())
        if marker == _EOI:
            needed.append(slice(at, end))
            ended = True
            break
        if marker in _FRAMES and frame is None:
            frame = marker, content[start + 4 : end]
        if marker == _SOS:
            scans.append(content[start + 4 : end])
        exif = marker == _EXIF and content.startswith(b"Exif\0\0", start + 4)
        wanted = marker in (_JFIF, _ADOBE) or (exif and not oriented)
        oriented |= exif
        if wanted or (marker not in _APPLICATION and marker != _COM):
            needed.append(slice(at, end))  # with what comes before: data of the last scan
        elif scans:
            needed.append(slice(at, start))
        at = end
    else:
        raise ImageUnreadableError
    if not ended:
        # Half a mark at the end belongs to what is missing.
        needed.append(slice(at, len(content.rstrip(b"\xff"))))
    if frame is None or not scans or len(scans) > JPEG_SCANS_MAX:
        raise ImageUnreadableError
    if not ended and not _are_all(scans, frame[1]):
        raise ImageUnreadableError
    return _structure(frame, len(scans), needed, ended=ended)


def _are_all(scans: list[bytes], frame: bytes) -> bool:
    """Return whether the scans give every coefficient of every component to its last bit."""
    components = frame[6::3]
    if len(components) > JPEG_SCAN_COMPONENTS_MAX:
        return False
    missing = {(component, place) for component in components for place in range(64)}
    for scan in scans:
        if len(scan) < 6 or len(scan) < 2 * scan[0] + 4 or scan[0] > JPEG_SCAN_COMPONENTS_MAX:
            return False
        first, last, bits = scan[2 * scan[0] + 1 : 2 * scan[0] + 4]
        if not bits & 15:
            places = range(first, min(last, 63) + 1)
            missing -= {(each, place) for each in scan[1 : 2 * scan[0] + 1 : 2] for place in places}
    return not missing


def _segment_end(content: bytes, at: int) -> int:
    length = int.from_bytes(content[at : at + 2], "big")
    if length < 2 or at + length > len(content):
        raise ImageUnreadableError
    return at + length


def _structure(
    frame: tuple[int, bytes], scans: int, needed: list[slice], *, ended: bool
) -> Structure:
    marker, segment = frame
    try:
        _, height, width, _ = struct.unpack_from(">BHHB", segment)
    except struct.error:
        raise ImageUnreadableError from None
    area = width * height
    # The coefficients of a progressive file, and of any with more than one scan, are all kept
    # in memory, and each scan passes over them.
    many = scans > 1 or marker in _PROGRESSIVE
    return Structure(
        kind="JPEG",
        width=width,
        height=height,
        large=not ended or (many and (area > LARGE_PX or area * scans > LARGE_SCANNED_PX)),
        needed=needed,
        ended=ended,
    )
