"""What the facade and a worker of ``fit`` say to each other, over a socket.

A frame is one byte for its kind, its length in eight bytes, and its content. A request is an image.
The answer to it is FITTED with a JPEG, UNCHANGED, MORE_MEMORY (ask again, as ORDER_LARGE), or why
not, as a sentence: UNREADABLE or SIZE_INVALID. FAILED has the traceback of a fault of ours.
"""

from __future__ import annotations

import struct
from typing import Final

HEAD: Final = struct.Struct(">BQ")

TEXT_BYTES_MAX: Final = 4096
"""Longest content of an answer that is no JPEG."""

READY: Final = 1
"""A worker's first frame: its decoders are loaded."""
ORDER: Final = 2
ORDER_LARGE: Final = 3
"""The image may take as much memory as all workers together."""
FITTED: Final = 4
UNCHANGED: Final = 5
MORE_MEMORY: Final = 6
UNREADABLE: Final = 7
SIZE_INVALID: Final = 8
FAILED: Final = 9
