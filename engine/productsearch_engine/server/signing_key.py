"""Reads the key that signs access tokens, and creates it at the first start.

Knows files. Does not know tokens.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from productsearch_engine.settings import Settings, SettingsError

KEY_BYTES_MIN = 32


def read_signing_key(settings: Settings) -> bytes:
    """Return the key; it is created if its file is in the data directory and missing.

    Raises SettingsError if the file cannot be read or holds fewer than 32 bytes.
    """
    file = settings.signing_key_file
    try:
        if file.parent == settings.data and not file.exists():
            _create(file)
        key = file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"signing_key_file: {error.strerror}: {file}") from None
    if len(key) < KEY_BYTES_MIN:
        raise SettingsError(f"signing_key_file: fewer than {KEY_BYTES_MIN} bytes: {file}")
    return key


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
