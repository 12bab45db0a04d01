"""Reads one image: a local file, an http address, or an object of a storage that fsspec knows."""

from __future__ import annotations

import errno
import os
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from productsearch.cli.extras import how_to_install

_TIMEOUT_S: Final = 30.0


def read_bytes(folder: Path, image: str, bytes_max: int) -> bytes:
    """Return at most ``bytes_max`` + 1 bytes; paths are relative to ``folder``. Raises OSError."""
    if "://" not in image:
        try:
            return read_file(folder / image, bytes_max)
        except ValueError as wrong:  # a path with a NUL
            raise OSError(str(wrong)) from None
    if image.lower().startswith(("http://", "https://")):
        return _downloaded(image, bytes_max)
    return _stored(image, bytes_max)


def read_file(file: Path, bytes_max: int) -> bytes:
    """Return at most ``bytes_max`` + 1 bytes of a regular file; raises OSError for anything else.

    To open a pipe would wait for whoever writes to it.
    """
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as opened:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(file))
        return opened.read(bytes_max + 1)


def _downloaded(address: str, bytes_max: int) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - http(s)
            content: bytes = answer.read(bytes_max + 1)
            return content
    except urllib.error.URLError as wrong:
        raise OSError(f"download failed: {wrong.reason}") from None
    except Exception as wrong:  # noqa: BLE001 - http.client raises many kinds on bad answers
        raise OSError(f"download failed: {type(wrong).__name__}") from None


def _stored(address: str, bytes_max: int) -> bytes:
    fsspec = storage()
    try:
        with fsspec.open(address, "rb") as file:
            content: bytes = file.read(bytes_max + 1)
            return content
    except OSError:
        raise
    except Exception as wrong:  # noqa: BLE001 - each storage raises its own kinds
        raise OSError(f"{type(wrong).__name__}: {wrong}") from None


def storage() -> Any:
    """Return fsspec. Raises OSError where it is not installed."""
    try:
        import fsspec
    except ModuleNotFoundError:
        raise OSError(f"object storage needs more packages: {how_to_install('storage')}") from None
    return fsspec
