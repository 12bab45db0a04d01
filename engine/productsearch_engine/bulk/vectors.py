"""Whether the vectors of files, and those of a library, are of one embedding.

Knows first lines. Does not know rows.
"""

from __future__ import annotations

from productsearch_engine.bulk.heads import Head
from productsearch_engine.bulk.source import Source
from productsearch_engine.store.libraries import Library, LibraryError


def require_one_embedding(sources: list[Source]) -> None:
    """Raise LibraryError for files of two: no library takes both, nor is created for them."""
    first = sources[0]
    for each in sources:
        if first.head and each.head and _of(each.head) != _of(first.head):
            ours, theirs = _of(first.head), _of(each.head)
            raise LibraryError(
                f"{each.file} has vectors of {theirs[0]} ({theirs[1]} numbers), {first.file} of"
                f" {ours[0]} ({ours[1]}): import them into two libraries"
            )


def require_same(library: Library, source: Source) -> None:
    """Raise LibraryError for a file whose vectors are of another embedding than a library's."""
    head = source.head
    if head and _of(head) != (library.embedding, library.dimensions):
        raise LibraryError(
            f"{source.file} has vectors of {head.embedding} ({head.dimensions} numbers);"
            f" {library.name!r} has {library.embedding} ({library.dimensions}). Import it into a"
            " library of the same embedding (--create), and change that with reembed"
        )


def _of(head: Head) -> tuple[str, int]:
    return head.embedding, head.dimensions
