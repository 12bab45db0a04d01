"""Ranks the images of a library for a search, by the plan that suits its size and its filter.

All pages of a search have one ranking. What an index of the vectors finds is taken as far as it
fits (``search_statements.Fit``); the rest is ranked among all prefixes. Knows plans and when one is
not good enough. Does not know SQL.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import psycopg

from productsearch_engine.limits import FIRST_RANKS, WINDOW
from productsearch_engine.store import search_statements
from productsearch_engine.store.class_counts import ClassCounts
from productsearch_engine.store.class_indexes import ClassIndexes
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Borders, Plan, Step
from productsearch_engine.store.recall import RecallSample
from productsearch_engine.store.search_statements import Fit
from productsearch_engine.store.statements import ClassColumn, ClassFilter

_log = logging.getLogger(__name__)

_BY_INDEX = frozenset(
    {Plan.NEAREST, Plan.CLASS_INDEX, Plan.CLASS_BUDGET, Plan.CLASS_UNION, Plan.BUDGET}
)

Rows = list[tuple[Any, ...]]


class Ranking:
    """The rankings of one engine; safe for threads."""

    def __init__(
        self,
        borders: Borders | None = None,
        sample: RecallSample | None = None,
        class_indexes: ClassIndexes | None = None,
    ):
        self._borders = borders or Borders()
        self._counts = ClassCounts()
        self._sample = sample
        self._class_indexes = class_indexes or ClassIndexes()

    def rows(
        self,
        connection: psycopg.Connection[Any],
        library: Library,
        classes: ClassFilter,
        values: dict[str, Any],
    ) -> Rows:
        """Return the rows of a page: sign, cosine distance, brief, whether it is the very image.

        ``values`` are those of ``search_statements.search`` that do not depend on the library.
        """
        steps, passing = self._steps(connection, library, classes)
        values = values | search_statements.prefix_of(connection, library, values["embedding"])
        values["stored"] = library.image_count if passing is None else passing
        values["read"] = search_statements.read_of(values["start"], values["count"])

        def found(statement: bytes) -> tuple[Rows, Fit]:
            return search_statements.read(
                connection.execute(statement, values, binary=True).fetchall()
            )

        end = values["start"] + values["count"]
        for step in steps:
            _log.debug(
                "library %d: %s of %d images pass: %s",
                *(library.id, passing, library.image_count, step.plan.value),
            )
            rows, fit = found(search_statements.search(library, classes, step.plan, step.scanned))
            if step.plan not in _BY_INDEX:
                return rows
            wanted = min(values["count"], WINDOW + 1 - values["start"])
            if not library.nearest and len(rows) < wanted:
                # An index does not have vectors of zeros.
                return found(search_statements.search(library, classes, Plan.LIBRARY))[0]
            if fit is Fit.NOTHING:
                _log.debug("library %d: the index has too few images, or a crowd", library.id)
                continue
            if fit is Fit.FIRST_RANKS and end > FIRST_RANKS:
                _log.debug("library %d: the index is good for the first ranks alone", library.id)
                return found(
                    search_statements.search_after_first(library, classes, step.plan, step.scanned)
                )[0]
            if step.plan is Plan.NEAREST and self._sample is not None:
                self._sample.offer(library, values["embedding"], end - 1)
            return rows
        return found(search_statements.search(library, classes, Plan.PREFIXES))[0]

    def _steps(
        self, connection: psycopg.Connection[Any], library: Library, classes: ClassFilter
    ) -> tuple[list[Step], int | None]:
        """Return the plans to be tried, and at most how many images pass; None: no filter.

        If the last one is an index that is not good enough, all prefixes are left. All pages of a
        search try the same.
        """
        stored = library.image_count
        both = classes.class_id1 is not None and classes.class_id2 is not None
        is_and = both and not classes.any_class
        enough = max(
            self._borders.rare_max(stored, is_and=is_and) + 1,
            self._class_indexes.bounds.large,
            self._borders.budget_min(stored) or 0,
        )
        images = self._counts.images(connection, library, classes, enough)
        steps: list[Step] = []
        if images:
            indexed = self._class_indexes.serves(connection, library, classes, images)
            steps = self._borders.by_class_indexes(stored, images, indexed, is_and=is_and)
        if library.bucketed:
            steps = [step for step in steps if step.plan is not Plan.CLASS_BUDGET]
        passing = _passing(images, is_and=is_and)
        plan = self._borders.plan(stored, passing, is_and=is_and)
        if plan is Plan.BUDGET and (library.bucketed or not library.nearest):
            # The shards of a cluster would each read as much.
            plan = Plan.PREFIXES
        if passing is None and plan is Plan.PREFIXES and not library.nearest:
            plan = Plan.NEAREST  # by the index that images have until their prefixes are there
        if plan is Plan.BUDGET and steps:
            plan = Plan.PREFIXES  # the index of all vectors does not lead out of a crowd either
        return [*steps, Step(plan)], passing


def _passing(images: Mapping[ClassColumn, int], *, is_and: bool) -> int | None:
    """Return at most how many images pass, of the sizes of the classes asked for."""
    if not images:
        return None
    return min(images.values()) if is_and else sum(images.values())
