"""What small searches wait for beside the largest messages, at the facade and at its floor.

The floor (``null_receiver``) reads the same messages and throws them away. Both get the callers of
``tests.abuse.silence``, in turns; a ratio is of a server's own idle p99 in the same turn.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import stage
from benchmarks.beside import Beside, at, sender
from benchmarks.findings import Findings, at_most, milliseconds
from demo.facade import Facade
from demo.processes import Server
from productsearch_service import limits

_SERVICE: Final = "/productsearch.v1.ProductSearch/"
_IDLE_S: Final = 3.0
_CASES: Final = {
    "88 messages of 21 MiB": (
        _SERVICE + "SearchImages",
        "--count=88",
        f"--send={limits.RECEIVE_BYTES_MAX - 1}",
    ),
    "16 bulk streams of 5.8 MB items": (
        _SERVICE + "BulkAddImages",
        "--bulk",
        "--count=16",
        "--send=5800000",
        "--items=12",
    ),
}


def run(rounds: int) -> Findings:
    """Measure both cases at both servers, each in turns."""
    rows = [("others' searches beside", "idle p99", "p99", "p99 / idle", "searches", "seconds")]
    measures, numbers = [], {}
    with ExitStack() as stack:
        servers = {"facade": stack.enter_context(_facade()), "floor": stack.enter_context(_floor())}
        callers = {name: stack.enter_context(Beside(each, "two")) for name, each in servers.items()}
        for case, arguments in _CASES.items():
            found: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
            for _ in range(max(1, rounds // 3)):
                for name, server in servers.items():
                    found[name].append(_measured(callers[name], server, arguments))
            numbers[case] = found
            middle = {name: _median(each) for name, each in found.items()}
            for name, told in middle.items():
                rows.append(
                    (
                        f"{case}: {name}",
                        milliseconds(told["idle_s"]),
                        milliseconds(told["beside_s"]),
                        f"{told['ratio']:.1f}",
                        f"{told['searches']:.0f}",
                        f"{told['seconds']:.1f}",
                    )
                )
            times = middle["facade"]["ratio"] / middle["floor"]["ratio"]
            measures.append(at_most(f"{case}: others' p99 / idle, facade / floor", times, 1))
    return Findings(
        title="Small searches beside the largest messages",
        rows=rows,
        measures=measures,
        numbers=numbers,
    )


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def _measured(beside: Beside, server: Server, arguments: tuple[str, ...]) -> dict[str, float]:
    beside.told()
    time.sleep(_IDLE_S)
    idle_s = _p99_s(beside.told())
    with sender(server, *arguments, "--token=one") as sending:
        beside.told()
        began_s = time.monotonic()
        sending.begin()
        sending.end()
        seconds = time.monotonic() - began_s
    told = beside.told()
    beside_s = _p99_s(told)
    return {
        "idle_s": idle_s,
        "beside_s": beside_s,
        "ratio": beside_s / idle_s,
        "searches": len(told["search_s"]),
        "seconds": seconds,
    }


def _p99_s(told: Mapping[str, Any]) -> float:
    if set(told["outcomes"]) != {"OK"}:
        raise AssertionError(f"searches failed: {told['outcomes']}")
    times = told["search_s"]
    return at(times, 0.99)


@contextmanager
def _facade() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="productsearch-bench-") as name:
        policy = Path(name) / "policy.toml"
        lines = ['[[rules]]\ncallers = ["one", "two"]']
        for caller in ("one", "two"):
            digest = hashlib.sha256(caller.encode()).hexdigest()
            lines.append(f'[callers.{caller}]\ntoken_sha256 = ["{digest}"]')
        policy.write_text("\n".join(lines) + "\n")
        environment = {"PRODUCTSEARCH_POLICY_FILE": str(policy)}
        with (
            stage.upstream() as (url, _),
            Facade(Path(name), url, {"default": ("k", "s")}, environment=environment) as facade,
        ):
            yield facade


@contextmanager
def _floor() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="productsearch-bench-") as name:
        command = [sys.executable, "-m", "benchmarks.null_receiver"]
        with Server(command, Path(name) / "log", {}) as floor:
            yield floor
