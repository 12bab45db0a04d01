"""Replicas are stopped and started, one after the other, under load: no caller notices.

Two facades behind the gateway; SIGTERM to one, wait for its end, start it again, wait until the
gateway sends it calls, then the other. Meanwhile unary calls and bulk streams go on.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from tests.fakes.cutting import CuttingUpstream
from tests.mesh.gateway import Certificates, Gateway, quick_health
from tests.mesh.load import NO_RETRIES, Bulk, Unary
from tests.mesh.replicas import replicas
from tests.soak.measures import Measure, report

FULL: Final = 100
SMALL: Final = 10

_UNARY_PER_S: Final = 180.0
_ITEMS_PER_S: Final = 20.0
_DEADLINE_S: Final = 30.0
# As deployed: the delay is several health checks long (1 s apart there, 0.25 s here).
_DRAIN: Final = {"PRODUCTSEARCH_DRAIN_DELAY_S": "1.5", "PRODUCTSEARCH_DRAIN_GRACE_S": "10"}

_TELLING: Final = re.compile(
    r"upstream_rq_(retry|rx_reset|total$)|health_check.(failure|network_failure)$|lb_healthy_panic"
)
"""What Envoy says of repeated tries and of health: prints that explain a failure."""


def run(rolls: int) -> list[Measure]:
    """Stop and start a replica so many times; count what callers noticed."""
    statuses = []
    with tempfile.TemporaryDirectory() as data, CuttingUpstream() as upstream:
        folder = Path(data)
        certificates = Certificates(folder / "tls")
        with (
            replicas(folder, upstream.url, environment=_DRAIN) as facades,
            Gateway(folder, certificates, [f.url for f in facades], quick_health) as gateway,
            gateway.channel("catalogue", NO_RETRIES) as channel,
        ):
            gateway.wait_for_healthy(2)
            with (
                Unary(channel, _UNARY_PER_S, _DEADLINE_S) as unary,
                Bulk(channel, _ITEMS_PER_S) as bulk,
            ):
                for number in range(rolls):
                    failed = len(unary.failures)
                    facade = facades[number % len(facades)]
                    statuses.append(facade.stop())
                    facade.start()
                    gateway.wait_for_healthy(2)
                    told = Counter(text for _, text in unary.failures[failed:])
                    if told or statuses[-1]:
                        print(f"roll {number}: exit code {statuses[-1]}; {dict(told)}", flush=True)
            stats = gateway.stats()
        lost = bulk.lost(upstream.stored)
    for text in bulk.failures:
        print(f"bulk: {text}")
    print(
        f"{unary.ended.total()} calls, {unary.refused} times one was asked to wait for a place; "
        f"{bulk.items} items in {bulk.streams} streams, "
        f"{bulk.drained} of them resent after SERVER_DRAINING"
    )
    print({name: value for name, value in stats.items() if value and _TELLING.match(name)})
    return [
        Measure(name="rolls", value=len(statuses), relation="==", bar=rolls),
        Measure(
            name="exit codes other than 0", value=sum(map(bool, statuses)), relation="==", bar=0
        ),
        Measure(name="unary calls failed", value=unary.failed, relation="==", bar=0),
        Measure(name="bulk streams failed", value=len(bulk.failures), relation="==", bar=0),
        Measure(name="bulk items lost", value=lost, relation="==", bar=0),
        Measure(name="bulk items", value=bulk.items, relation=">=", bar=rolls),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rolls", type=int, default=FULL)
    sys.exit(report(run(parser.parse_args().rolls)))
