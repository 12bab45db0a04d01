"""Tries to make the facade tell its secrets: an upstream that fails and echoes, ears everywhere.

Each case is one call that fails in one way (fault) at one place (token endpoint or call), with
every logger at DEBUG and tracing switched on. What is listened to: status messages, details and
trailers; the text of each exception that surfaces, of its causes and contexts, and all local
variables of their frames; reprs of what holds a secret; spans; stdout and stderr of the process,
which has the product's log handlers; and a facade started as in production, with its command
line. Heard must be: no 12 characters in a row of any token, API key or secret key, in any
spelling.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from demo.facade import Facade
from productsearch import v1
from tests.soak.attack import worker
from tests.soak.ears import Ears, hear_file, logger_of, print_leaks
from tests.soak.failing_calls import call_and_hear
from tests.soak.hostile_faults import CASES
from tests.soak.hostile_upstream import HostileUpstream
from tests.soak.measures import Measure, report
from tests.soak.secret_pieces import Pieces, Secrets
from tests.soak.traces import SINK

FULL: Final = 100_000
SEED: Final = 20261123
ROOT: Final = Path(__file__).parents[2]
_PROCESS_CASES: Final = 200


def run(size: int, *, seed: int = SEED) -> list[Measure]:
    """Run ``size`` failing cases and return what was heard."""
    print(f"seed {seed}")
    secrets = Secrets.of(seed)
    pieces = Pieces(secrets)
    ears = Ears(pieces)
    with tempfile.TemporaryDirectory() as kept, HostileUpstream(secrets, seed) as upstream:
        folder = Path(kept)
        command = [sys.executable, "-m", "tests.soak.secrets", "--worker", upstream.url]
        command += ["--seed", str(seed), "--size", str(size), "--results", str(folder / "results")]
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            attack = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err)
            try:
                in_production = _facade_process(folder, upstream, secrets, ears)
                assert attack.wait(3600) == 0, (folder / "stderr").read_text("utf-8")[-3000:]
            finally:
                attack.kill()
        for name in ("stdout", "stderr"):
            hear_file(folder / name, name, pieces, ears)
        result = json.loads((folder / "results").read_text())
        ears.flush()
        ears.texts.update(result["texts"])
        for sink, where, count in result["heard"]:
            ears.heard[sink, where] += count
        unforeseen = {name: n for name, n in result["failures"].items() if "unforeseen" in name}
        print(f"outcomes {result['failures']}; faults served {sum(upstream.served.values())}")
        print_leaks(ears)
        return [
            Measure(
                name="calls that failed",
                value=result["failures"].get("failed", 0) + in_production,
                relation=">=",
                bar=size * 0.95,
            ),
            Measure(name="unforeseen exceptions", value=sum(unforeseen.values()), relation="==",
                    bar=0),
            Measure(name="faults served", value=sum(upstream.served.values()), relation=">=",
                    bar=size * 0.5),
            Measure(name="kinds of fault and place", value=len(upstream.served), relation=">=",
                    bar=len(CASES)),
            Measure(name="texts listened to", value=sum(ears.texts.values()), relation=">=",
                    bar=size * 5),
            Measure(name="spans listened to", value=ears.texts[SINK], relation=">=", bar=2),
            Measure(name="redirects followed", value=upstream.trapped, relation="==", bar=0),
            *_per_sink(ears),
        ]  # fmt: skip


def _per_sink(ears: Ears) -> Iterator[Measure]:
    sinks = (
        *("status", "trailers", "exception text", "exception attribute", "local variable"),
        *("repr", "stdout", "stderr", "log", "cmdline", SINK),
    )
    for sink in sinks:
        count = sum(n for (heard_in, _), n in ears.heard.items() if heard_in == sink)
        yield Measure(name=f"secrets in: {sink}", value=count, relation="==", bar=0)


def _facade_process(folder: Path, upstream: HostileUpstream, secrets: Secrets, ears: Ears) -> int:
    """Let calls fail in a facade started as in production; return how many did."""
    pair = (secrets.api_key, secrets.secret_key)
    facade = Facade(
        folder / "facade",
        f"{upstream.url}/any/any",
        {f"library{number}": pair for number in range(16)} | {"default": pair},
        environment={"PRODUCTSEARCH_LOG_LEVEL": "DEBUG", "PRODUCTSEARCH_DRAIN_DELAY_S": "0"},
    )
    with facade:
        ears.hear("cmdline", "facade", Path(f"/proc/{facade.pid}/cmdline").read_text())
        with v1.connect(facade.url) as channel, ThreadPoolExecutor(32) as pool:
            stub = v1.ProductSearchStub(channel)
            outcomes = Counter(
                pool.map(
                    lambda number: call_and_hear(stub, number, f"library{number % 16}", ears),
                    range(_PROCESS_CASES),
                )
            )
    for line in facade.log().splitlines():
        ears.hear("log", f"facade process, {logger_of(line)}", line)
    return outcomes["failed"]


def main() -> int:
    """Run as a command; ``--worker`` is this module's own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.seed, arguments.size, arguments.results)
    return report(run(arguments.size, seed=arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
