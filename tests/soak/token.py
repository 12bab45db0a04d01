"""How the token source holds up: herds, outages of the issuer, clock steps, replicas, secrets.

The issuer is a token endpoint on loopback that is asked over real HTTP; lifetimes, gates and
outages pass on a virtual clock. ``python -m tests.soak.token`` prints the herd's table of ours
and the rivals', then a line for each measure.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.soak.measures import Measure, at_least, equal, report
from tests.soak.token_clocks import replicas, wall_clock_steps
from tests.soak.token_facade import rejections, revocations
from tests.soak.token_herds import herds, side_by_side
from tests.soak.token_outages import outage_without_token, outages
from tests.soak.token_pairs import rotations, secret_swaps
from tests.soak.token_stage import FULL, SMALL, Size
from tests.tokens.states import TokenStates


def run(size: Size) -> list[Measure]:
    """Run every family and return all measures."""
    print(f"seed {size.seed}", flush=True)
    return [measure for family in FAMILIES for measure in family(size)]


def orders_of_events(size: Size) -> list[Measure]:
    """The state machine of tests/tokens, with as many random orders of events as there is time."""
    tried = 0

    class Counted(TokenStates):
        def teardown(self) -> None:
            nonlocal tried
            tried += 1
            super().teardown()

    rules = settings(max_examples=size.orders, stateful_step_count=60, deadline=None, database=None)
    violated = 0
    try:
        run_state_machine_as_test(seed(size.seed)(Counted), settings=rules)
    except Exception:  # noqa: BLE001 - hypothesis groups what it finds
        violated = 1
        traceback.print_exc()
    return [
        equal("invariants violated by some order of events", violated, 0),
        at_least("orders of events tried", tried, size.orders),
    ]


Family = Callable[[Size], list[Measure]]
FAMILIES: Final[tuple[Family, ...]] = (
    side_by_side,
    herds,
    rejections,
    revocations,
    outages,
    outage_without_token,
    wall_clock_steps,
    replicas,
    secret_swaps,
    rotations,
    orders_of_events,
)


def _main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", choices=("full", "small"), default="full")
    arguments.add_argument("--seed", type=int, default=FULL.seed)
    chosen = arguments.parse_args()
    # A thousand connections through a pool of 64 and every failed flight have their log line.
    logging.disable(logging.CRITICAL)
    size = FULL if chosen.size == "full" else SMALL
    return report(run(replace(size, seed=chosen.seed)))


if __name__ == "__main__":
    code = _main()
    sys.stdout.flush()
    os._exit(code)  # a thousand daemon threads of the endpoint need no farewell
