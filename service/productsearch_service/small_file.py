"""Reads the files that an operator names: ordinary ones, of a size that such files have."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from productsearch_service import limits

_QUOTED: Final = re.compile(rb"\"[^\"\n]*\"|'[^'\n]*'")
_BESIDE_DOTS: Final = re.compile(rb"#[^\n]*|[\w \t-]+")
_KEY_PARTS_MAX: Final = 64


def read(path: Path) -> bytes:
    """Return the content of a file; raise OSError, whose ``strerror`` says what is wrong.

    A pipe or a device is refused: whoever opens a pipe without a writer waits for one.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise OSError(None, "is a directory, not a file")
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "is no ordinary file")
        content = file.read(limits.FILE_BYTES_MAX + 1)
    if len(content) > limits.FILE_BYTES_MAX:
        raise OSError(None, f"is larger than {limits.FILE_BYTES_MAX // 2**20} MiB")
    return content


def has_long_keys(toml: bytes) -> bool:
    """Whether a key has more than 64 parts, as no file of ours: ``a.a.a...``.

    Python's parser takes time with the square of a key's parts, and more: over 300 s for 100,000.
    """
    bare = _BESIDE_DOTS.sub(b"", _QUOTED.sub(b"", toml))
    return b"." * _KEY_PARTS_MAX in bare
