"""Writes config.toml: comments stay, the file is replaced as a whole, only its owner reads it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import tomlkit

from productsearch.cli import profile
from productsearch.cli.failures import usage

if TYPE_CHECKING:
    from typing import Any


def change(name: str, key: str, value: Any) -> None:
    """Set a key of a profile; None removes it. Raises Failure."""
    file, document = _read()
    profiles = document.setdefault("profiles", tomlkit.table(is_super_table=True))
    chosen = profiles.setdefault(name, tomlkit.table())
    if value is None:
        chosen.pop(key, None)
    else:
        chosen[key] = value
    _write(file, document)


def use(name: str) -> None:
    """Make a profile the default. Raises Failure."""
    file, document = _read()
    if name not in document.get("profiles", {}):
        raise usage(f"there is no profile {name!r}", "productsearch config list")
    document["profile"] = name
    if next(iter(document)) != "profile":
        # A bare key after a table would belong to that table.
        moved = tomlkit.document()
        moved["profile"] = name
        for other, item in document.items():
            if other != "profile":
                moved[other] = item
        document = moved
    _write(file, document)


def _read() -> tuple[Path, tomlkit.TOMLDocument]:
    file = profile.config_file()
    profile.read_config(file)  # says what is wrong with it
    return file, tomlkit.parse(file.read_text("utf-8")) if file.exists() else tomlkit.document()


def _write(file: Path, document: tomlkit.TOMLDocument) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".config-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as written:
                written.write(tomlkit.dumps(document))
            Path(name).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as wrong:
        raise usage(f"{file}: {wrong.strerror}", "check the folder's rights") from None
