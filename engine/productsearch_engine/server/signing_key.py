"""Reads the key that signs access tokens, and creates it at the first start.

Knows files. Does not know tokens.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from productsearch_engine.settings import Settings, SettingsError

KEY_BYTES_MIN = 32
KEY_BYTES_MAX = 65_536


def read_signing_key(settings: Settings) -> bytes:
    """Return the key; it is created if its file is in the data directory and missing.

    Raises SettingsError if the file cannot be read, is no ordinary file, or holds fewer than 32
    bytes or more than 64 KiB.
    """
    file = settings.signing_key_file
    try:
        if file.parent == settings.data and not file.exists():
            _create(file)
        key = read_key(file).strip()
    except OSError as error:
        raise SettingsError(f"signing_key_file: {error.strerror}: {file}") from None
    if len(key) > KEY_BYTES_MAX:
        raise SettingsError(f"signing_key_file: more than {KEY_BYTES_MAX} bytes: {file}")
    if len(key) < KEY_BYTES_MIN:
        raise SettingsError(f"signing_key_file: fewer than {KEY_BYTES_MIN} bytes: {file}")
    return key


def read_key(file: Path) -> bytes:
    """Return what a key file begins with; raise OSError.

    A pipe or a device may have no end, and is refused.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "is no ordinary file")
        return opened.read(KEY_BYTES_MAX + 1)


def _create(file: Path) -> None:
    # The key is written under another name first, then linked: of two processes that start
    # together, the second finds the complete key of the first.
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as made:
        made.write(secrets.token_hex(32))
        made.flush()
        os.fsync(made.fileno())
    try:
        os.link(new, file)
    except FileExistsError:
        pass
    finally:
        new.unlink()
