"""Plays cases in batches and counts what came of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tests.soak.access_log import AccessLog
from tests.soak.cut_calls import TOKEN, Told, is_own_deadline
from tests.soak.cut_cases import Case, play, still_answers
from tests.soak.cut_stage import Stage, stages
from tests.soak.cut_table import complaint
from tests.soak.measures import Measure

_AT_ONCE: Final = 24
_BIG_AT_ONCE: Final = 4
_BATCH: Final = 96


@dataclass
class Tally:
    """What the cases came to."""

    cases: int = 0
    hangs: int = 0
    unanswering: int = 0
    settled: int = 0
    """Adds whose first answer was lost and that ended with OK."""
    own_deadline: int = 0
    complaints: Counter[str] = field(default_factory=Counter)

    def measures(self, cases_bar: float) -> list[Measure]:
        """Return the lines of the report."""
        broken = self.complaints.total()
        return [
            Measure(name="cases", value=self.cases, relation=">=", bar=cases_bar),
            Measure(name="outcome table broken", value=broken, relation="==", bar=0),
            Measure(name="hangs", value=self.hangs, relation="==", bar=0),
            Measure(
                name="facade silent after a case", value=self.unanswering, relation="==", bar=0
            ),
        ]


def play_all(cases: Sequence[Case], hang_s: float) -> Tally:
    """Play cases in batches, each batch with a facade of its own."""
    tally = Tally()
    alike: dict[tuple[bool, float], list[Case]] = defaultdict(list)
    for case in cases:
        alike[case.big, case.patience_s].append(case)
    for (big, patience_s), group in alike.items():
        for start in range(0, len(group), _BATCH):
            _play_batch(group[start : start + _BATCH], tally, patience_s + hang_s, big)
    print(f"left to the caller's own deadline: {tally.own_deadline}")
    for what, times in sorted(tally.complaints.items()):
        print(f"broken {times} times: {what}")
    return tally


def _play_batch(batch: Sequence[Case], tally: Tally, at_most_s: float, big: bool) -> None:
    at_once = _BIG_AT_ONCE if big else _AT_ONCE
    with stages(len(batch) + 1, big) as (well, *own), ThreadPoolExecutor(at_once) as pool:
        with AccessLog() as log:
            played = list(pool.map(play, batch, own))
            lines = [1 if case.rpc is TOKEN else 2 for case in batch]
            names = [stage.library for stage in own]
            tally.hangs += log.hung(dict(zip(names, lines, strict=True)), at_most_s)
        # Not before: it closes the connections that are stalled, and would end a hang.
        for stage in own:
            stage.upstream.disarm()
        answering = list(pool.map(still_answers, batch, own, [well] * len(own)))
        for case, stage, (told, took_s) in zip(batch, own, played, strict=True):
            tally.cases += 1
            tally.hangs += took_s > at_most_s
            for each in told:
                _judge(case, stage, each, tally)
    tally.unanswering += answering.count(False)


def _judge(case: Case, stage: Stage, told: Told, tally: Tally) -> None:
    if told.failure is not None and is_own_deadline(told.failure):
        tally.own_deadline += 1
    if told.failure is None and any(entry.code == 216681 for entry in stage.upstream.journal):
        tally.settled += 1
    wrong = complaint(case, stage, told)
    if wrong:
        cut = case.cut
        size = "big " if case.big else ""
        lasting = "lasting " if cut.lasting else ""
        where = f"{case.rpc.name}, {size}{cut.side}, {lasting}{cut.kind}: {wrong}"
        tally.complaints[where] += 1
