"""How a search finds its images: the engine chooses, by the number that pass the filter.

PostgreSQL's planner is not asked. It does not know that the index of the vectors finds fewer of an
image's neighbours, and takes longer, the fewer images pass a filter. So only a search without a
filter uses that index, in a library that is large enough; all others compare every image that
passes: few of them by their whole vectors, many by prefixes first. A large class can have an index
of the vectors of its own.

Knows numbers. Does not know SQL: ``store.statements`` does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from productsearch_engine.limits import EXACT_IMAGES, PREFIX_IMAGES, RARE_SHARE


class Plan(enum.Enum):
    """A way to find the nearest images."""

    NEAREST = "index of the vectors"
    CLASS_INDEX = "index of the class's vectors"
    PREFIXES = "all prefixes"
    CLASSES = "index of the classes"
    LIBRARY = "all of the library"


@dataclass(frozen=True, kw_only=True)
class Borders:
    """Where one plan ends and another begins; see ``limits``."""

    exact_images: int = EXACT_IMAGES
    prefix_images: int = PREFIX_IMAGES
    rare_share: float = RARE_SHARE

    def rare_max(self, stored: int) -> int:
        """Return how many of ``stored`` images may pass a filter that counts as rare."""
        return int(stored * self.rare_share)

    def plan(self, stored: int, passing: int | None, *, has_index: bool = False) -> Plan:
        """Return the plan for a library of ``stored`` images of which ``passing`` pass the filter.

        ``passing`` is None for a search without a filter. ``has_index``: the filter is one class
        that has an index of its vectors.
        """
        if passing is None:
            if stored <= self.exact_images:
                return Plan.LIBRARY
            return Plan.PREFIXES if stored <= self.prefix_images else Plan.NEAREST
        if has_index:
            return Plan.CLASS_INDEX
        if passing <= self.rare_max(stored):
            return Plan.CLASSES
        return Plan.LIBRARY if stored <= self.exact_images else Plan.PREFIXES
