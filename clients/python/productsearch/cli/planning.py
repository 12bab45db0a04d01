"""Works out what an import or a sync will do, from the source and the journal alone.

Only images whose size, mtime or row have changed are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from productsearch.cli import output
from productsearch.cli.forgetting import sort
from productsearch.cli.importing.deciding import Known, Work, decide, settled
from productsearch.cli.importing.importer import unique
from productsearch.cli.journal import REJECTED, Row

if TYPE_CHECKING:
    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.journal import Journal
    from productsearch.cli.profile import Profile
    from productsearch.cli.sources import Source

_DELETES_A_CALL = 100
_DELETES_SHOWN = 10
_QPS_MIN = 1e-6


@dataclass
class Plan:
    """Counts by what will be done; ``gone`` are the rows whose entry has gone or has changed."""

    adds: int = 0
    updates: int = 0
    unchanged: int = 0
    rejected: int = 0
    gone: list[Row] = field(default_factory=list)
    deletes: list[Row] = field(default_factory=list)
    """Those of them whose image goes from the library."""
    broken: int = 0
    """Entries that the source cannot name: it is not known what is gone, so nothing is."""
    looks: int = 0
    """Images that the library is asked for, with ``check``."""
    bytes: int = 0
    """Of the images to add, as far as their sizes are known."""

    @property
    def total(self) -> int:
        """Entries of the source."""
        return self.adds + self.updates + self.unchanged + self.rejected

    def calls(self, *, with_deletes: bool) -> int:
        """Return how many calls of the upstream's quota it takes, without repeated ones."""
        deletes = math.ceil(len(self.deletes) / _DELETES_A_CALL) if with_deletes else 0
        return self.adds + self.updates + self.looks + deletes


def plan_of(
    source: Source, journal: Journal, settings: Settings, *, also_kept: bool = False
) -> Plan:
    """Return the plan. Raises SourceError, JournalError."""
    plan = Plan()
    live: set[int] = set()
    for entry in unique(source.entries()):
        plan.broken += bool(entry.problem)
        rows = journal.rows_of(entry.key)
        row: Row | Work | Known | None = settled(entry, journal, settings)
        if row is None and rows:
            row = decide(entry, source, journal, settings)
        row = row.row if isinstance(row, Known) else row
        if isinstance(row, Row):
            live.add(hash((row.key, row.digest)))
            if row.state == REJECTED:
                # It is still in the source: what was stored of it before stays.
                live.update(hash((known.key, known.digest)) for known in rows)
                plan.rejected += 1
            else:
                plan.unchanged += 1
        elif isinstance(row, Work) and row.update_sign:
            live.add(hash((entry.key, row.row.digest)))
            plan.updates += 1
        else:
            plan.adds += 1
            plan.bytes += entry.size or 0
    if not plan.broken:
        plan.gone = [row for row in journal.in_library() if hash((row.key, row.digest)) not in live]
    deleted = sort(journal, plan.gone, also_kept=also_kept).deleted
    plan.deletes = [row for row in plan.gone if row.cont_sign in deleted]
    plan.looks = plan.unchanged if settings.check else 0
    return plan


def cost_of(plan: Plan, profile: Profile, *, with_deletes: bool) -> dict[str, Any]:
    """Return calls, time, days of quota and money, as far as the profile tells quota and price."""
    calls = plan.calls(with_deletes=with_deletes)
    cost: dict[str, Any] = {"calls": calls}
    if profile.quota_qps > _QPS_MIN:
        cost["seconds"] = round(calls / profile.quota_qps, 1)
    if profile.quota_per_day:
        cost["days_of_quota"] = math.ceil(calls / profile.quota_per_day)
    if profile.price_per_1000:
        cost["money"] = round(calls * profile.price_per_1000 / 1000, 2)
        if profile.currency:
            cost["currency"] = profile.currency
    return cost


def fields_of(plan: Plan, profile: Profile, *, with_deletes: bool) -> dict[str, Any]:
    """Return the plan and its cost for a person or a program."""
    counts = {
        "images": plan.total,
        "unchanged": plan.unchanged,
        "rejected_before": plan.rejected,
        "adds": plan.adds,
        "updates": plan.updates,
    }
    if with_deletes:
        counts["deletes"] = len(plan.deletes)
    return (
        counts
        | {"megabytes": round(plan.bytes / 1e6, 1)}
        | cost_of(plan, profile, with_deletes=with_deletes)
    )


def tell_deletes(plan: Plan) -> None:
    """Name the images that go from the library, the first ones of many; or say why none does."""
    if plan.broken:
        output.note(f"{plan.broken} rows cannot be read, so nothing is deleted: mend them first")
    for row in plan.deletes[:_DELETES_SHOWN]:
        output.note(f"  - {row.key}")
    if (more := len(plan.deletes) - _DELETES_SHOWN) > 0:
        output.note(f"  - and {more} more")
