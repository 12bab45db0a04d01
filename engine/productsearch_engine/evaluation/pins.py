"""Keeps searches with the hit that they must find, and says which of them got lost.

A pins file is JSON. Paths in it are relative to the file, and the hit has its SHA-256, by which
it is found in a library. Knows rankings and files. Does not know how vectors are made.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from productsearch_engine.evaluation.dataset import DatasetError, Item
from productsearch_engine.evaluation.measure import Result

WITHIN = 5
"""The rank at which a pinned hit may be at most."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A search and what it must find among its first ``within`` hits."""

    protocol: str
    query: str
    find: str
    digest: str
    within: int = WITHIN


def made(items: Sequence[Item], results: Sequence[Result], folder: Path) -> list[Pin]:
    """Return a pin for each query whose first hit is right."""
    found = []
    for result in results:
        stored = result.protocol.stored[result.ranking.order[:, 0]]
        for query, hit, right in zip(
            result.protocol.queries, stored, result.ranking.right[:, 0], strict=True
        ):
            if right:
                path = items[hit].path
                found.append(
                    Pin(
                        protocol=result.protocol.name,
                        query=_relative(items[query].path, folder),
                        find=_relative(path, folder),
                        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
                    )
                )
    return found


def lost(
    items: Sequence[Item], results: Sequence[Result], pins: Sequence[Pin], folder: Path
) -> list[Pin]:
    """Return the pins that do not hold, also those whose images are not there any more."""
    places = {_relative(item.path, folder): i for i, item in enumerate(items)}
    rankings = {result.protocol.name: result for result in results}
    return [pin for pin in pins if not _holds(pin, places, rankings.get(pin.protocol))]


def not_there(items: Sequence[Item], pin: Pin, folder: Path) -> list[str]:
    """Return those images of a pin that are not among the labelled ones."""
    there = {_relative(item.path, folder) for item in items}
    return [path for path in dict.fromkeys((pin.query, pin.find)) if path not in there]


def _relative(path: Path, folder: Path) -> str:
    """Return where an image is from a folder, the same by whatever link it is reached.

    Only its own folder is followed: the name of a link to a file says what it shows.
    """
    return os.path.relpath(_resolved(path.parent) / path.name, folder)


@cache
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def _holds(pin: Pin, places: dict[str, int], result: Result | None) -> bool:
    query, find = places.get(pin.query), places.get(pin.find)
    if query is None or find is None or result is None:
        return False
    rows = (result.protocol.queries == query).nonzero()[0]
    if not len(rows):
        return False
    first = result.protocol.stored[result.ranking.order[rows[0], : pin.within]]
    return bool((first == find).any())


def write(path: Path, pins: Sequence[Pin]) -> None:
    """Write a pins file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pins": [asdict(pin) for pin in pins]}, indent=1) + "\n", "utf-8")


def require_queries(path: Path, pins: Sequence[Pin]) -> None:
    """Raise DatasetError if the file of a query is not there; paths are relative to ``path``."""
    missing = [pin.query for pin in pins if not (path.parent / pin.query).is_file()]
    if missing:
        raise DatasetError(
            f"{path}: {len(missing)} of {len(pins)} images to search with are not there, such as"
            f" {path.parent / missing[0]}: paths in a pins file are relative to its folder"
        )


def read(path: Path) -> list[Pin]:
    """Read a pins file. Raises DatasetError, OSError."""
    text = path.read_bytes()
    try:
        found = [Pin(**pin) for pin in json.loads(text)["pins"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        found = None
    if found is None or not all(map(_is_sound, found)):
        raise DatasetError(f"{path}: not a pins file, as --pin writes it")
    return found


def _is_sound(pin: Pin) -> bool:
    texts = (pin.protocol, pin.query, pin.find, pin.digest)
    return (
        all(isinstance(text, str) for text in texts)
        and bool(re.fullmatch("([0-9a-f]{2})+", pin.digest))
        and type(pin.within) is int
        and pin.within > 0
    )
