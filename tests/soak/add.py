"""Adds keep their promise, and nothing hangs: `make soak-add`.

A connection to the upstream is closed, reset or stalled at every byte of an answer and of a
request's head, and at bytes spread over its body, for each RPC. Whatever breaks, what the caller
is told must be true of what the upstream's journal says: OK means carried out, UNAVAILABLE that
an add was not, and no call outlives its deadline. Then servers are killed (see crash).
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.soak import crash
from tests.soak.cut_cases import Case, every_case
from tests.soak.cut_tally import play_all
from tests.soak.measures import Measure, assert_kept, report

_CASES_BAR: Final = 4000


@dataclass(frozen=True)
class Size:
    """How much is tried; ``cases`` None means every one that there is."""

    cases: int | None
    crash: crash.Size
    hang_s: float
    """How long after its deadline a call is said to hang."""
    seed: int = 20240611


FULL: Final = Size(None, crash.FULL, hang_s=1.0)
# Longer: a machine that runs all tests at once may leave a thread waiting for a second.
SMALL: Final = Size(300, crash.SMALL, hang_s=15.0)  # no time is measured: it is how long never is


def assert_table_kept(cases: Sequence[Case]) -> None:
    """Play cases and fail if what a caller was told is not in the outcome table, or late."""
    tally = play_all(cases, SMALL.hang_s)
    assert_kept(tally.measures(len(cases)))


def run(size: Size) -> list[Measure]:
    """Play the cases, then kill servers."""
    print(f"seed: {size.seed}")
    cases = every_case()
    if size.cases is not None:
        cases = random.Random(size.seed).sample(cases, size.cases)
    tally = play_all(cases, size.hang_s)
    measures = tally.measures(size.cases or _CASES_BAR)
    # Else no cut hit the moment after an add was carried out.
    settled = Measure(
        name="lost answers of adds settled", value=tally.settled, relation=">=", bar=1
    )
    return [*measures, settled, *crash.run(size.crash, size.seed)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--seed", type=int, default=FULL.seed)
    arguments = parser.parse_args()
    chosen = FULL if arguments.size == "full" else SMALL
    sys.exit(report(run(replace(chosen, seed=arguments.seed))))
