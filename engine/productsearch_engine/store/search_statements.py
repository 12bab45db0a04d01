"""The SQL of searches: a text for each plan, composed for a library's own tables.

A page is cut from one ranking, whatever page it is. By an index of the vectors that ranking has two
parts: the first ranks are decided among the first candidates alone, the others among all of them.
Either part may be unfit, which each page sees alike, and is then ranked without the index.

Knows tables and query plans. Runs nothing but ``prefix_of``: ``store.images`` does.
"""

from __future__ import annotations

import enum
from typing import Any, LiteralString

from pgvector import HalfVector
from psycopg import Connection

from productsearch_engine.limits import (
    BUDGET,
    BUDGET_ENOUGH,
    BUDGET_FIRST,
    BUDGET_FIRST_ENOUGH,
    BUDGET_FIRST_PASSING,
    BUDGET_PASSING,
    BUDGET_PROBE,
    BUDGET_PROBE_PASSING,
    CANDIDATES,
    CROWD,
    CROWD_WIDTH,
    CROWD_WIDTH_LARGE,
    FIRST_CANDIDATES,
    FIRST_CANDIDATES_LARGE,
    FIRST_RANKS,
    LARGE_LIBRARY,
)
from productsearch_engine.store import budgeted
from productsearch_engine.store import search_texts as texts
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Plan
from productsearch_engine.store.statements import ClassColumn, ClassFilter, composed

_COLUMNS = 4


class Fit(enum.IntEnum):
    """What candidates by an index are good for: the last column of such a search.

    They are unfit if there are fewer than the library has, or if there is a crowd of equal distance
    among them: an index leads from images of a crowd to each other and past what is beside them,
    and does not find all of the crowd either.
    """

    NOTHING = 0
    FIRST_RANKS = 1
    ALL = 2


def search(
    library: Library, classes: ClassFilter, plan: Plan, scanned: ClassColumn | None = None
) -> bytes:
    """Return a select of one page, nearest first.

    Its columns: sign, cosine distance, brief, and whether it is the very image searched with; then
    perhaps a ``Fit``: ``read`` takes it apart. ``candidates_of`` and ``prefix_of`` say what it
    takes beside the page; ``stored`` is the number of images that pass, so far as it is known.
    ``scanned`` is the class whose index ``Plan.CLASS_BUDGET`` reads.
    """
    if library.nearest and (plan in texts.FOUND or plan in budgeted.PLANS):
        near = _near("near", plan, scanned, bucketed=library.bucketed)
        text = texts.RANKED.replace("NEAR", near)
        text = text.replace("FIRST", _first("near", plan, bucketed=library.bucketed))
        text = text.replace("FITNESS", _fit(plan, bucketed=library.bucketed))
        addend = texts.PLAIN
    else:
        text = texts.SEARCH.replace(
            "DISTANCE", texts.INDEXED if plan is Plan.NEAREST else texts.EXACT
        )
        addend = texts.PLAIN if plan is Plan.CLASSES else texts.NO_INDEX
    return _composed(_filtered(text, classes, addend), library)


def search_after_first(
    library: Library, classes: ClassFilter, plan: Plan, scanned: ClassColumn | None = None
) -> bytes:
    """Return a select of one page whose first ranks are those of ``search`` by an index.

    The others are ranked among all prefixes. ``plan`` and ``scanned`` say which index.
    """
    by_index = _near("by_index", plan, scanned, bucketed=library.bucketed)
    by_prefix = _near("by_prefix", Plan.PREFIXES, bucketed=library.bucketed)
    text = texts.AFTER_FIRST.replace("BY_INDEX", by_index).replace("BY_PREFIX", by_prefix)
    text = text.replace("FIRST", _first("by_index", plan, bucketed=library.bucketed))
    return _composed(_filtered(text, classes, texts.PLAIN), library)


def read(rows: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], Fit]:
    """Return the images of a search's rows, and what its candidates are good for."""
    fit = Fit(rows[0][4]) if rows and len(rows[0]) > _COLUMNS else Fit.ALL
    return [row[:_COLUMNS] for row in rows if row[0] is not None], fit


def candidates_of(library: Library, start: int, count: int) -> int:
    """Return how many candidates a page needs."""
    return _first_candidates(library) if start + count <= FIRST_RANKS else CANDIDATES


def read_of(start: int, count: int) -> int:
    """Return how many images of the index a page within a budget reads."""
    return BUDGET_FIRST if start + count <= FIRST_RANKS else BUDGET


def prefix_of(
    connection: Connection[Any], library: Library, embedding: HalfVector
) -> dict[str, Any]:
    """Return the parameter ``prefix`` of a search by prefixes, or none if the statement makes it.

    On a cluster each shard would make it anew for each row.
    """
    if not library.bucketed:
        return {}
    values = {"embedding": embedding}
    row = connection.execute(_composed(texts.PREFIX, library), values, binary=True).fetchone()
    return {"prefix": None if row is None else row[0]}


def _first_candidates(library: Library) -> int:
    return FIRST_CANDIDATES if library.image_count <= LARGE_LIBRARY else FIRST_CANDIDATES_LARGE


def _composed(text: LiteralString, library: Library) -> bytes:
    is_large = library.image_count > LARGE_LIBRARY
    for name, number in (
        ("{candidates}", CANDIDATES),
        ("{first_candidates}", _first_candidates(library)),
        ("{first_ranks}", FIRST_RANKS),
        ("{budget}", BUDGET),
        ("{budget_first}", BUDGET_FIRST),
        ("{budget_passing}", BUDGET_PASSING),
        ("{budget_first_passing}", BUDGET_FIRST_PASSING),
        ("{budget_enough}", BUDGET_ENOUGH),
        ("{budget_first_enough}", BUDGET_FIRST_ENOUGH),
        ("{budget_probe}", BUDGET_PROBE),
        ("{budget_probe_passing}", BUDGET_PROBE_PASSING),
        ("{crowd}", CROWD),
        ("{crowd_width}", CROWD_WIDTH_LARGE if is_large else CROWD_WIDTH),
    ):
        text = text.replace(name, str(number))
    return composed(text, library)


def _near(
    name: LiteralString, plan: Plan, scanned: ClassColumn | None = None, *, bucketed: bool
) -> LiteralString:
    """Return the candidates of a plan as a query of a name."""
    if bucketed and plan is Plan.CLASS_UNION:
        near = texts.NEAR_BUCKETED.replace("FIND", texts.BOTH_BUCKETED)
    elif plan in budgeted.PLANS:
        near = budgeted.near(plan, _one(scanned or "class_id1"))
    elif bucketed:
        near = texts.NEAR_BUCKETED.replace("FIND", texts.FOUND_BUCKETED[plan])
    else:
        near = texts.NEAR.replace("FOUND", texts.FOUND[plan])
    return near.replace("NAME", name)


def _first(name: LiteralString, plan: Plan, *, bucketed: bool) -> LiteralString:
    """Return how far the first candidates of a plan go."""
    is_budgeted = plan in budgeted.PLANS and not bucketed
    return budgeted.FIRST.replace("NAME", name) if is_budgeted else "{first_candidates}"


def _fit(plan: Plan, *, bucketed: bool) -> LiteralString:
    if plan in budgeted.PLANS and not bucketed:
        return budgeted.FIT
    return texts.FITS if plan is Plan.PREFIXES else texts.FIT


def _one(column: ClassColumn, addend: LiteralString = "") -> LiteralString:
    if column == "class_id1":
        return f"class_id1{addend} = %(class_id1)s"
    return f"class_id2{addend} = %(class_id2)s"


def _filtered(text: LiteralString, classes: ClassFilter, addend: LiteralString) -> LiteralString:
    text = text.replace("FILTER", _condition(classes, addend))
    return text.replace("ONE", _one("class_id1")).replace("OTHER", _one("class_id2"))


def _condition(classes: ClassFilter, addend: LiteralString) -> LiteralString:
    first, second = _one("class_id1", addend), _one("class_id2", addend)
    if classes.class_id1 is not None and classes.class_id2 is not None:
        return f"({first} or {second})" if classes.any_class else f"{first} and {second}"
    if classes.class_id1 is not None:
        return first
    return second if classes.class_id2 is not None else "true"
