"""Two facades behind the gateway share the calls; one that is killed or frozen is left out.

The gateway's own view is printed beside what callers saw: when it stopped sending calls to
the dead replica, by health check or ejection, and how many calls failed until then.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fakes.cutting import CuttingUpstream
from tests.mesh.gateway import Certificates, Gateway
from tests.mesh.load import NO_RETRIES, Unary
from tests.mesh.replicas import replicas
from tests.soak.measures import Measure, report

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from demo.facade import Facade

FULL: Final = 10_000
SMALL: Final = 2_500
"""Chance alone spreads 500 calls over two facades 10 % off the mean in one run of forty; these, in
one of a million."""

_PER_S: Final = 100.0
_WARM: Final = 200
_CALM_S: Final = 1.0
_LOOK_S: Final = 0.01


def run(calls: int) -> list[Measure]:
    """Spread that many calls, then kill a replica, then freeze the other one."""
    with tempfile.TemporaryDirectory() as data, CuttingUpstream() as upstream:
        folder = Path(data)
        certificates = Certificates(folder / "tls")
        with (
            replicas(folder, upstream.url) as facades,
            Gateway(folder, certificates, [f.url for f in facades]) as gateway,
            gateway.channel("catalogue", NO_RETRIES) as channel,
        ):
            gateway.wait_for_healthy(2)
            measures = _spread(gateway, channel, calls)
            first, second = facades
            measures += _outage("killed", gateway, channel, first.kill, first)
            first.start()
            gateway.wait_for_healthy(2)
            measures += _outage(
                "frozen", gateway, channel, lambda: os.kill(second.pid, signal.SIGSTOP), second
            )
            os.kill(second.pid, signal.SIGCONT)
            gateway.wait_for_healthy(2)
    return measures


def _spread(gateway: Gateway, channel: grpc.Channel, calls: int) -> list[Measure]:
    """Make that many calls and count what each facade was sent, once both are warm.

    Whoever takes its first calls is slow for a moment, and the other one is sent the next ones.
    """
    with Unary(channel, _PER_S) as unary:
        while unary.begun < _WARM:
            time.sleep(_LOOK_S)
        before = _sent(gateway)
        while unary.begun < _WARM + calls:
            time.sleep(_LOOK_S)
    counts = [after - before[address] for address, after in _sent(gateway).items()]
    mean = sum(counts) / len(counts)
    worst = max(abs(count - mean) / mean for count in counts)
    print(f"calls by facade: {counts}")
    return [
        Measure(name="calls spread", value=unary.ended["OK"] - _WARM, relation=">=", bar=calls),
        Measure(
            name="spread: % off the mean",
            value=100 * worst,
            relation="<=",
            bar=10,
        ),
    ]


def _sent(gateway: Gateway) -> dict[str, int]:
    return {address: host["rq_total"] for address, host in gateway.hosts().items()}


def _outage(
    what: str, gateway: Gateway, channel: grpc.Channel, begin: Callable[[], None], victim: Facade
) -> list[Measure]:
    """Let ``victim`` fail under load; tell what callers saw until it was left out, and after."""
    with Unary(channel, _PER_S) as unary:
        time.sleep(_CALM_S)
        begun_s = time.monotonic()
        begin()
        is_left_out = gateway.wait_for(lambda: _is_left_out(gateway, victim.url))
        left_out_s = time.monotonic()
        sent = _sent(gateway)[victim.url]
        time.sleep(_CALM_S)
        sent_after = _sent(gateway)[victim.url] - sent
    host = gateway.hosts()[victim.url]
    print(
        f"{what}: left out after {left_out_s - begun_s:.2f} s ({_flags(host)}); "
        f"calls: {dict(unary.ended)}; "
        f"tries repeated by Envoy so far: {gateway.stats()['upstream_rq_retry']}"
    )
    for text, count in Counter(text for _, text in unary.failures).items():
        print(f"  {count} times {text}")
    late = sum(began_s > left_out_s for began_s, _ in unary.failures)
    caught = 100 * (unary.failed - late) / unary.begun
    return [
        Measure(name=f"{what}: left out", value=is_left_out, relation="==", bar=1),
        Measure(name=f"{what}: % of calls caught in it", value=caught, relation="<=", bar=15),
        Measure(name=f"{what}: calls failed once left out", value=late, relation="==", bar=0),
        Measure(name=f"{what}: calls sent to it then", value=sent_after, relation="==", bar=0),
    ]


def _is_left_out(gateway: Gateway, address: str) -> bool:
    host = gateway.hosts()[address]
    return bool(host["unhealthy"] or host["ejected"])


def _flags(host: Mapping[str, object]) -> str:
    return ", ".join(flag for flag in ("unhealthy", "ejected") if host[flag])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=FULL)
    sys.exit(report(run(parser.parse_args().calls)))
