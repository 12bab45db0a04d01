"""Decides what a source is by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from productsearch.cli.sources.entry import SourceError
from productsearch.cli.sources.folder import Folder

if TYPE_CHECKING:
    from productsearch.cli.sources.entry import Source
    from productsearch.cli.sources.template import Mapping


def open_source(name: str, mapping: Mapping) -> Source:
    """Return the source that ``name`` means. Raises SourceError."""
    if "://" in name:
        from productsearch.cli.sources.bucket import Bucket

        return Bucket(name, mapping)
    path = Path(name)
    if path.is_dir():
        return Folder(name, mapping)
    from productsearch.cli.sources.rows import SUFFIXES, Rows

    if path.suffix.lower() in SUFFIXES:
        return Rows(name, mapping)
    what = "neither a folder nor a list" if path.exists() else "No such file or directory"
    next_step = f"give a folder of images, or a list ({', '.join(SUFFIXES)})"
    raise SourceError(f"{name}: {what}", next_step)
