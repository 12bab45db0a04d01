"""How a search finds its images: the engine chooses, by the number that pass the filter.

PostgreSQL's planner is not asked. It does not know that the index of the vectors finds fewer of an
image's neighbours, and takes longer, the fewer images pass a filter. So a search without a filter
uses that index, in a library that is large enough, and in a large one a filter that much of it
passes, within a budget; all others compare every image that passes: few of them by their whole
vectors, many by prefixes first. A large class can have an index of the vectors of its own, which
goes before these: also for a filter of two classes, in a large library.

Knows numbers. Does not know SQL: ``store.statements`` does.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Set
from dataclasses import dataclass

from productsearch_engine.limits import (
    BUDGET_SHARE,
    EXACT_IMAGES,
    LARGE_LIBRARY,
    PREFIX_IMAGES,
    RARE_SHARE,
    RARE_SHARE_LARGE,
)
from productsearch_engine.store.statements import ClassColumn


class Plan(enum.Enum):
    """A way to find the nearest images."""

    NEAREST = "index of the vectors"
    CLASS_INDEX = "index of the class's vectors"
    CLASS_BUDGET = "index of the vectors of one of two classes, within a budget"
    CLASS_UNION = "indexes of the vectors of two classes"
    BUDGET = "index of the vectors, within a budget"
    PREFIXES = "all prefixes"
    CLASSES = "index of the classes"
    LIBRARY = "all of the library"


@dataclass(frozen=True)
class Step:
    """A plan that is tried; ``scanned`` is the class whose index it reads, if it reads one."""

    plan: Plan
    scanned: ClassColumn | None = None


@dataclass(frozen=True, kw_only=True)
class Borders:
    """Where one plan ends and another begins; see ``limits``."""

    exact_images: int = EXACT_IMAGES
    prefix_images: int = PREFIX_IMAGES
    rare_share: float = RARE_SHARE
    rare_share_large: float = RARE_SHARE_LARGE
    budget_share: float = BUDGET_SHARE
    large_library: int = LARGE_LIBRARY

    def rare_max(self, stored: int, *, is_and: bool = False) -> int:
        """Return how many of ``stored`` images may pass a filter that counts as rare."""
        is_large = stored > self.large_library and not is_and
        return int(stored * (self.rare_share_large if is_large else self.rare_share))

    def budget_min(self, stored: int) -> int | None:
        """Return how many images must pass for a budget; None: the library is not large."""
        return int(stored * self.budget_share) if stored > self.large_library else None

    def plan(
        self,
        stored: int,
        passing: int | None,
        *,
        is_and: bool = False,
    ) -> Plan:
        """Return the plan for a library of ``stored`` images of which ``passing`` pass the filter.

        ``passing`` is None for a search without a filter. ``is_and``: it is two classes, and an
        image needs both; ``passing`` then says little of how many do.
        """
        if passing is None:
            if stored <= self.exact_images:
                return Plan.LIBRARY
            return Plan.PREFIXES if stored <= self.prefix_images else Plan.NEAREST
        if passing <= self.rare_max(stored, is_and=is_and):
            return Plan.CLASSES
        enough = self.budget_min(stored)
        if enough is not None and passing >= enough and not is_and:
            return Plan.BUDGET
        return Plan.LIBRARY if stored <= self.exact_images else Plan.PREFIXES

    def by_class_indexes(
        self,
        stored: int,
        images: Mapping[ClassColumn, int],
        indexed: Set[ClassColumn],
        *,
        is_and: bool,
    ) -> list[Step]:
        """Return the plans by indexes of classes to be tried before ``plan``, one after the other.

        ``images`` are the sizes of the filter's classes, ``indexed`` those that have an index. With
        AND each index of the two may lead past what passes, the other one then not: the smaller
        class is first. It is not read where so few images are expected to pass that looking them
        up costs less.
        """
        if len(images) == 1:
            return [Step(Plan.CLASS_INDEX, column) for column in images if column in indexed]
        enough = self.budget_min(stored)
        if enough is None:
            return []
        if not is_and:
            return [Step(Plan.CLASS_UNION)] if indexed >= set(images) else []
        if min(images.values()) <= self.rare_max(stored, is_and=True):
            if max(images.values()) < enough:
                return []
            smaller = min(images, key=lambda column: (images[column], column))
            return [Step(Plan.CLASS_BUDGET, smaller)] if smaller in indexed else []
        by_size = sorted(images, key=lambda column: (images[column], column))
        return [Step(Plan.CLASS_BUDGET, column) for column in by_size if column in indexed]
