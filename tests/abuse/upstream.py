"""Callers whose inputs the upstream trips over, beside others; and upstreams that are really down.

The facade, and each caller, is a process of its own. ``python -m tests.abuse.upstream`` prints a
line for each measure.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.facade import Facade
from tests.fakes.upstream import FakeUpstream, Fault, Received, error, search_answer
from tests.soak.measures import Measure, at_least, at_most, equal, report

OTHERS = ("shop", "jobs")
POISONERS = tuple(f"poisoner-{number}" for number in range(10))
CODES = (282000, 216630)
OUTAGES: dict[str, Any] = {
    "HTTP 503": Fault(status=503),
    "HTTP 500": Fault(status=500),
    "resets": Fault("reset"),
    "code 2": error(2),
    "code 282000": error(282000),
    "code 216630": error(216630),
    "no JSON": b"<html>fine</html>",
}


@dataclass(frozen=True)
class Size:
    """Calls a second in all, and the seconds of each case."""

    per_s: float
    seconds: float
    outages: Sequence[str]


FULL = Size(per_s=60, seconds=15, outages=tuple(OUTAGES))


def measures(size: Size) -> list[Measure]:
    """Run everything."""
    found: list[Measure] = []
    for poisoners in (1, 10):
        for share in (0.01, 0.9):
            for code in CODES:
                found += _poison(size, poisoners, share, code)
    for name in size.outages:
        found += _outage(name)
    return found


def _poison(size: Size, poisoners: int, share: float, code: int) -> list[Measure]:
    """Let some callers send nothing but poison, as that share of all calls."""

    def answer(request: Received) -> Any:
        return error(code) if b"url=" in request.body else search_answer()

    case = f"{code} for {poisoners} of {poisoners + len(OTHERS)} callers, {share:.0%} of the calls"
    with _stage(answer) as (facade, upstream), _watched(facade) as unready:
        good = [
            _caller(facade, name, size.per_s * (1 - share) / len(OTHERS), size.seconds)
            for name in OTHERS
        ]
        _wait_for_calls(upstream)
        bad = [
            _caller(facade, name, size.per_s * share / poisoners, size.seconds, poison=True)
            for name in POISONERS[:poisoners]
        ]
        others = _outcomes(good)
        poison = _outcomes(bad)
        reached = sum(b"url=" in call.body for call in upstream.calls)
    print(
        f"{case}: others {dict(others)}, poisoners {dict(poison)}, {reached} reached the upstream"
    )
    return [
        at_least(f"{case}: others served", others["OK"] / others.total(), 0.99),
        equal(f"{case}: looks at which it was not ready", unready["not ready"], 0),
        at_least(f"{case}: looks at readiness", unready.total(), size.seconds),
        equal(f"{case}: poison answered OK", poison["OK"], 0),
        at_least(f"{case}: poison that reached the upstream", reached, 1),
    ]


def _outage(name: str) -> list[Measure]:
    """Let the upstream fail for everyone; see when the breaker opens, and closes afterwards."""
    with _stage(lambda _: search_answer()) as (facade, upstream):
        callers = [_caller(facade, caller, 5, 20) for caller in OTHERS]
        _wait_for_calls(upstream)
        time.sleep(1)
        upstream.always("search", OUTAGES[name])
        opened_s = _seconds_until(facade, 1.0)
        time.sleep(1)
        upstream.always("search", search_answer())
        closed_s = _seconds_until(facade, 0.0)
        outcomes = _outcomes(callers)
    print(f"{name}: {dict(outcomes)}")
    return [
        at_least(f"{name}: searches answered before and after", outcomes["OK"], len(OTHERS)),
        at_least(f"{name}: searches that met it", outcomes.total() - outcomes["OK"], 1),
        at_most(f"{name}: seconds until the breaker opens", opened_s, 5),
        at_most(f"{name}: seconds until it closes again", closed_s, 10),
    ]


@contextlib.contextmanager
def _stage(answer: Any) -> Iterator[tuple[Facade, FakeUpstream]]:
    """Return a facade that knows all callers by bearer tokens, and its upstream."""
    with tempfile.TemporaryDirectory() as folder, FakeUpstream() as upstream:
        upstream.always("search", answer)
        policy = Path(folder) / "policy.toml"
        callers = "".join(map(_caller_entry, (*OTHERS, *POISONERS)))
        policy.write_text(callers + '[[rules]]\ncallers = ["*"]\n')
        environment = {
            "PRODUCTSEARCH_POLICY_FILE": str(policy),
            "PRODUCTSEARCH_DRAIN_DELAY_S": "0",
        }
        keys = {"default": ("the-api-key", "the-secret-key")}
        facade = Facade(Path(folder) / "facade", upstream.url, keys, environment=environment)
        with facade:
            end_s = time.monotonic() + 20
            while _readyz(facade) != 200:
                if time.monotonic() > end_s:
                    raise AssertionError("the facade does not become ready")
                time.sleep(0.05)
            yield facade, upstream


def _wait_for_calls(upstream: FakeUpstream) -> None:
    end_s = time.monotonic() + 30
    while len(upstream.calls) < 2 * len(OTHERS):
        if time.monotonic() > end_s:
            raise AssertionError("nobody calls")
        time.sleep(0.05)


def _caller_entry(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f'[callers.{name}]\ntoken_sha256 = ["{digest}"]\n'


def _caller(
    facade: Facade, name: str, per_s: float, seconds: float, *, poison: bool = False
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.abuse.calling", facade.url, name]
    command += [f"--per-s={per_s}", f"--seconds={seconds}", *(["--poison"] if poison else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _outcomes(callers: list[subprocess.Popen[str]]) -> Counter[str]:
    """Return what all calls of these callers came to, at their end."""
    outcomes: Counter[str] = Counter()
    for caller in callers:
        out, _ = caller.communicate(timeout=180)
        if caller.returncode:
            raise AssertionError("a caller failed")
        outcomes.update(json.loads(out))
    return outcomes


@contextlib.contextmanager
def _watched(facade: Facade) -> Iterator[Counter[str]]:
    """Look at readiness all along; return how often it was there, and was not."""
    found: Counter[str] = Counter()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            status, said = _asked(facade)
            found["ready" if status == 200 else "not ready"] += 1
            if status != 200:
                print(f"not ready: {said.strip()}")

    looking = threading.Thread(target=look)
    looking.start()
    yield found
    over.set()
    looking.join()


def _readyz(facade: Facade) -> int:
    return _asked(facade)[0]


def _asked(facade: Facade) -> tuple[int, str]:
    """Return the status of /readyz and what it says; 0 if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{facade.metrics}/readyz", timeout=10) as answer:
            return int(answer.status), ""
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except OSError as error:
        return 0, type(error).__name__


def _seconds_until(facade: Facade, value: float) -> float:
    """Return the seconds until ``productsearch_breaker_open`` has a value; at most 30."""
    began_s = time.monotonic()
    wanted = f'productsearch_breaker_open{{library="default"}} {value}'
    while time.monotonic() - began_s < 30:
        with urllib.request.urlopen(f"http://{facade.metrics}/metrics", timeout=10) as answer:
            if wanted in answer.read().decode():
                break
        time.sleep(0.05)
    return time.monotonic() - began_s


def main() -> int:
    """Run it at full size, or as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=FULL.seconds)
    parser.add_argument("--per-s", type=float, default=FULL.per_s)
    asked = parser.parse_args()
    return report(measures(Size(asked.per_s, asked.seconds, FULL.outages)))


if __name__ == "__main__":
    sys.exit(main())
