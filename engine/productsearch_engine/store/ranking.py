"""Ranks the images of a library for a search, by the plan that suits its size and its filter.

All pages of a search have one ranking. What an index of the vectors finds is taken as far as it
fits (``search_statements.Fit``); the rest is ranked among all prefixes. Knows plans and when one is
not good enough. Does not know SQL.
"""

from __future__ import annotations

import logging
from typing import Any

import psycopg

from productsearch_engine.limits import FIRST_RANKS, WINDOW
from productsearch_engine.store import search_statements
from productsearch_engine.store.class_counts import ClassCounts
from productsearch_engine.store.class_indexes import ClassIndexes
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Borders, Plan
from productsearch_engine.store.recall import RecallSample
from productsearch_engine.store.search_statements import Fit
from productsearch_engine.store.statements import ClassFilter

_log = logging.getLogger(__name__)

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
        plan, passing = self._plan(connection, library, classes)
        values = values | search_statements.prefix_of(connection, library, values["embedding"])
        values["stored"] = library.image_count if passing is None else passing

        values["read"] = search_statements.read_of(values["start"], values["count"])

        def found(statement: bytes) -> tuple[Rows, Fit]:
            return search_statements.read(
                connection.execute(statement, values, binary=True).fetchall()
            )

        rows, fit = found(search_statements.search(library, classes, plan))
        if plan not in (Plan.NEAREST, Plan.CLASS_INDEX, Plan.BUDGET):
            return rows
        wanted = min(values["count"], WINDOW + 1 - values["start"])
        if not library.nearest and len(rows) < wanted:
            # An index does not have vectors of zeros.
            return found(search_statements.search(library, classes, Plan.LIBRARY))[0]
        end = values["start"] + values["count"]
        if fit is Fit.NOTHING:
            _log.debug("library %d: the index has too few images, or a crowd", library.id)
            return found(search_statements.search(library, classes, Plan.PREFIXES))[0]
        if fit is Fit.FIRST_RANKS and end > FIRST_RANKS:
            _log.debug("library %d: the index is good for the first ranks alone", library.id)
            return found(search_statements.search_after_first(library, classes, plan))[0]
        if plan is Plan.NEAREST and self._sample is not None:
            self._sample.offer(library, values["embedding"], end - 1)
        return rows

    def _plan(
        self, connection: psycopg.Connection[Any], library: Library, classes: ClassFilter
    ) -> tuple[Plan, int | None]:
        """Return the plan, and how many images pass the filter; None: there is no filter."""
        stored = library.image_count
        both = classes.class_id1 is not None and classes.class_id2 is not None
        is_and = both and not classes.any_class
        enough = max(
            self._borders.rare_max(stored, is_and=is_and) + 1,
            self._class_indexes.bounds.large,
            0 if is_and else self._borders.budget_min(stored) or 0,
        )
        passing = self._counts.passing(connection, library, classes, enough)
        has_index = passing is not None and self._class_indexes.serves(
            connection, library, classes, passing
        )
        plan = self._borders.plan(stored, passing, has_index=has_index, is_and=is_and)
        if plan is Plan.BUDGET and (library.bucketed or not library.nearest):
            # The shards of a cluster would each read as much.
            plan = Plan.PREFIXES
        if passing is None and plan is Plan.PREFIXES and not library.nearest:
            plan = Plan.NEAREST  # by the index that images have until their prefixes are there
        _log.debug("library %d: %s of %d images pass: %s", library.id, passing, stored, plan.value)
        return plan, passing
