"""Checks of the database's indexes: whether searches have them, and whether they are as now."""

from __future__ import annotations

from collections.abc import Callable

from productsearch_engine.database import tuning
from productsearch_engine.database.inspection import Facts
from productsearch_engine.limits import EF_CONSTRUCTION
from productsearch_engine.server.doctor.finding import Finding, judged
from productsearch_engine.settings import Settings

_MIB = 1 << 20
_LINKS_BYTES = 128 * _MIB
"""A smaller index, of about 200,000 images of ``compact``, misses next to nothing."""
_EF_CONSTRUCTION_UNSET = 64
_REMEDY_OF_IMPORTS = (
    "an import builds the index at its end; if it was stopped, the next one does, of any file"
)
_REMEDY = (
    "make the index: CREATE INDEX CONCURRENTLY ON nearest_ID USING hnsw (prefix halfvec_cosine_ops)"
    f" WITH (ef_construction = {EF_CONSTRUCTION}), with the ID that library list --json has"
)


def _valid(facts: Facts, _: Settings) -> Finding:
    bad = [each.name for each in facts.indexes if not each.valid]
    return judged(
        "index.valid",
        f"not valid: {', '.join(bad)}" if bad else f"{len(facts.indexes)} indexes, all valid",
        warning="REINDEX INDEX CONCURRENTLY, or drop it if a change of embedding left it, or its"
        " name ends with _ccnew"
        if bad
        else "",
    )


def _present(facts: Facts, _: Settings) -> Finding:
    bad = [each for each in facts.libraries if not each.indexed]
    names = ", ".join(each.name for each in bad)
    remedy = _REMEDY if any(not each.waits for each in bad) else _REMEDY_OF_IMPORTS
    return judged(
        "index.present",
        f"no index of vectors: {names}" if bad else "each library's vectors have an index",
        warning=f"searches read the whole library: {remedy}" if bad else "",
    )


def _fits(facts: Facts, chosen: Settings) -> Finding:
    size = sum(each.size_bytes for each in facts.indexes if each.nearest)
    if chosen.database:
        return judged("index.memory", f"the indexes of vectors have {size // _MIB} MiB")
    there = tuning.memory_bytes()
    return judged(
        "index.memory",
        f"the indexes of vectors have {size // _MIB} MiB, the machine {there // _MIB} MiB",
        warning="give the machine more memory: see docs/scaling.md" if size > there // 2 else "",
    )


def _links(facts: Facts, _: Settings) -> Finding:
    old = [
        each.name
        for each in facts.indexes
        if each.nearest
        and each.size_bytes > _LINKS_BYTES
        and (each.ef_construction or _EF_CONSTRUCTION_UNSET) < EF_CONSTRUCTION
    ]
    return judged(
        "index.links",
        f"built with fewer candidates than now: {', '.join(old)}" if old else "built as now",
        warning=f"ALTER INDEX ... SET (ef_construction = {EF_CONSTRUCTION}), then REINDEX INDEX"
        " CONCURRENTLY: searches find more, see docs/scaling.md"
        if old
        else "",
    )


JUDGES: dict[str, Callable[[Facts, Settings], Finding]] = {
    "index.valid": _valid,
    "index.present": _present,
    "index.memory": _fits,
    "index.links": _links,
}
"""What is made of the facts, by code."""
