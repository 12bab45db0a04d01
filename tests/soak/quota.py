"""Quota: ours beside what people use, and ours with other users, floods and greedy callers.

``python -m tests.soak.quota`` runs ten virtual minutes of each and prints the table.
"""

from __future__ import annotations

import argparse
import sys

from productsearch_service import limits
from tests.soak.measures import Measure, report
from tests.soak.quota_model import (
    QUOTA,
    Outcome,
    Paced,
    Request,
    Stream,
    TokenBucket,
    Unlimited,
    run,
)

FULL = 600.0
SEED = 18


def measures(seconds: float) -> list[Measure]:
    """Run everything for so many virtual seconds."""
    print(f"seed {SEED}")
    return [
        *_demand_of_three_quotas(seconds),
        *_demand_below_the_quota(seconds),
        *_another_user_of_the_key(),
        *_a_greedy_caller(seconds),
        *_a_flood_of_adds(seconds),
    ]


def _demand_of_three_quotas(seconds: float) -> list[Measure]:
    demand = [Stream("caller", 3 * QUOTA)]
    ours = run(Paced, demand, seconds, SEED)
    rivals = {
        "no limiter": run(Unlimited, demand, seconds, SEED),
        "three blind retries": run(lambda c, u: Unlimited(c, u, 3), demand, seconds, SEED),
        "token bucket": run(TokenBucket, demand, seconds, SEED),
        "ours": ours,
    }
    print(f"\ndemand 3 x quota, deadlines of 2 s, {seconds:.0f} virtual seconds")
    print(f"{'':22}{'goodput/quota':>14}{'errors 18':>12}{'calls/success':>15}{'late':>9}")
    for name, outcome in rivals.items():
        print(
            f"{name:22}{outcome.good_per_s / QUOTA:14.3f}{outcome.error_18_share:12.2%}"
            f"{outcome.calls_per_success:15.2f}{outcome.late_share:9.2%}"
        )
    print()
    return [
        _bar("3x demand: goodput / quota", ours.good_per_s / QUOTA, ">=", 0.93),
        _bar("3x demand: errors 18 %", 100 * ours.error_18_share, "<=", 0.5),
        _bar("3x demand: upstream calls per success", ours.calls_per_success, "<=", 1.02),
        _bar("3x demand: late answers %", 100 * ours.late_share, "<=", 0.5),
        _bar("3x demand: RetryInfo off by over 20 % %", 100 * _retry_info_off(ours), "<=", 1),
    ]


def _retry_info_off(outcome: Outcome) -> float:
    """Return the share of refusals whose RetryInfo missed the slot that they were told of.

    The slot is the one that the refused call would have had: as many grants later as there
    were calls before it, which the wait and the pace tell.
    """
    paced = outcome.limiter
    assert isinstance(paced, Paced)
    assert paced.refusals
    off = counted = 0
    pace_s = 1 / (QUOTA * limits.QUOTA_SHARE)
    for refusal in paced.refusals:
        slot = refusal.grants_before + round(refusal.retry_after_s / pace_s - 0.5)
        if slot < len(paced.grants):
            counted += 1
            true_s = paced.grants[slot] - refusal.at_s
            off += abs(refusal.retry_after_s - true_s) > 0.2 * true_s
    return off / counted


def _demand_below_the_quota(seconds: float) -> list[Measure]:
    ours = run(Paced, [Stream("caller", 0.8 * QUOTA, patience_s=5)], seconds, SEED)
    waits = sorted(request.begun_s - request.at_s for request in ours.requests if request.good)
    return [
        _bar("0.8x demand: shed %", 100 * ours.shed_share, "<=", 0.5),
        _bar("0.8x demand: added wait p99 s", _percentile(waits, 0.99), "<=", 1.3),
    ]


def _another_user_of_the_key() -> list[Measure]:
    """Half of the quota is eaten for two minutes, then it is ours alone again."""
    stop_s, end_s = 120.0, 180.0
    ours = run(Paced, [Stream("caller", 2 * QUOTA)], end_s, SEED, QUOTA / 2, stop_s)
    during = [refused for at_s, refused in ours.upstream.calls if 10 <= at_s < stop_s]
    after = [r for r in ours.requests if stop_s + 30 <= r.answered_s < end_s and r.good]
    return [
        _bar("shared key: errors 18 after 10 s %", 100 * sum(during) / len(during), "<=", 5),
        _bar("shared key: goodput / quota 30 s later", len(after) / 30 / QUOTA, ">=", 0.9),
    ]


def _a_greedy_caller(seconds: float) -> list[Measure]:
    share = QUOTA * limits.QUOTA_SHARE / 10
    polite = [Stream(f"polite {number}", share) for number in range(9)]
    ours = run(Paced, [Stream("greedy", 5 * QUOTA), *polite], seconds, SEED)
    worst = min(
        sum(request.good for request in own) / len(own)
        for own in ([r for r in ours.requests if r.caller == one.caller] for one in polite)
    )
    return [_bar("greedy caller: worst polite caller / its share", worst, ">=", 0.9)]


def _a_flood_of_adds(seconds: float) -> list[Measure]:
    searches = Stream("shop", 2.0)
    adds = Stream("import", 5 * QUOTA, is_search=False)

    def p99_s(requests: list[Request]) -> float:
        return _percentile(
            sorted(r.answered_s - r.at_s for r in requests if r.is_search and r.good), 0.99
        )

    idle = run(Paced, [searches], seconds, SEED)
    flooded = run(Paced, [searches, adds], seconds, SEED)
    done = [request for request in flooded.requests if request.is_search]
    return [
        _bar(
            "add flood: search p99 / idle", p99_s(flooded.requests) / p99_s(idle.requests), "<=", 2
        ),
        _bar("add flood: searches refused %", 100 * (1 - _good_share(done)), "<=", 0.5),
    ]


def _good_share(requests: list[Request]) -> float:
    return sum(request.good for request in requests) / len(requests)


def _percentile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def _bar(name: str, value: float, relation: str, bar: float) -> Measure:
    return Measure(name=name, value=value, relation=relation, bar=bar)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=FULL)
    sys.exit(report(measures(parser.parse_args().seconds)))
