"""Tries to make the facade tell its secrets: an upstream that fails and echoes, ears everywhere.

Each case is one call that fails in one way (fault) at one place (token endpoint or call), with
every logger at DEBUG and tracing switched on. What is listened to: status messages, details and
trailers; the text of each exception that surfaces, of its causes and contexts, and all local
variables of their frames, those of cancelled calls too; log records before their redaction, and
what the event loop is told of tasks that nobody waited for; reprs of what holds a secret; spans of
aiohttp, requests and urllib3, and the service's own; the audit stream; metrics; stdout and stderr
of the process, which has the product's log handlers; and a facade started as in production, with
its command line. Heard must be: no 12 characters in a row of any token, API key or secret key, in
any spelling.
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
from tests.soak.ears import Ears, hear_file, hear_scraped, logger_of, print_leaks
from tests.soak.failing_calls import call_and_hear
from tests.soak.hostile_faults import CASES
from tests.soak.hostile_upstream import HostileUpstream
from tests.soak.measures import Measure, at_least, equal, report
from tests.soak.secret_pieces import Pieces, Secrets
from tests.soak.traces import SINK
from tests.soak.written import AUDIT, SPANS, Written, everything_written

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
        # -W: warnings about what was left open are logged, with reprs.
        command = [sys.executable, "-W", "default", "-m", "tests.soak.secrets"]
        command += [
            "--worker",
            upstream.url,
            "--seed",
            str(seed),
            "--size",
            str(size),
            "--results",
            str(folder / "results"),
        ]
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            attack = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err)
            try:
                with everything_written() as written:
                    in_production = _facade_process(folder, upstream, secrets, ears, written)
                    written.hear(pieces, ears)
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
        served = sum(upstream.served.values())
        failed = result["failures"].get("failed", 0) + in_production
        return [
            at_least("calls that failed", failed, size * 0.95),
            at_least("calls that were cancelled", result["failures"]["cancelled"], size * 0.01),
            equal("unforeseen exceptions", sum(unforeseen.values()), 0),
            at_least("faults served", served, size * 0.5),
            at_least("kinds of fault and place", len(upstream.served), len(CASES)),
            at_least("texts listened to", sum(ears.texts.values()), size * 5),
            at_least("spans listened to", ears.texts[SINK], 2),
            at_least("spans of calls listened to", ears.texts[SPANS], size * 0.1),
            at_least("audit lines listened to", ears.texts[AUDIT], size * 0.05),
            equal("answers about metrics", ears.texts["metrics"], 8),
            equal("redirects followed", upstream.trapped, 0),
            *_per_sink(ears),
        ]


def _per_sink(ears: Ears) -> Iterator[Measure]:
    sinks = (
        *("status", "trailers", "exception text", "exception attribute", "local variable"),
        *("event loop", "log record", "repr", "stdout", "stderr", "log", "cmdline", "metrics"),
        *(SINK, SPANS, AUDIT),
    )
    for sink in sinks:
        count = sum(n for (heard_in, _), n in ears.heard.items() if heard_in == sink)
        yield equal(f"secrets in: {sink}", count, 0)


def _facade_process(
    folder: Path, upstream: HostileUpstream, secrets: Secrets, ears: Ears, written: Written
) -> int:
    """Let calls fail in a facade started as in production; return how many did."""
    pair = (secrets.api_key, secrets.secret_key)
    facade = Facade(
        folder / "facade",
        f"{upstream.url}/any/any",
        {f"library{number}": pair for number in range(16)} | {"default": pair},
        environment={
            "PRODUCTSEARCH_LOG_LEVEL": "DEBUG",
            "PRODUCTSEARCH_DRAIN_DELAY_S": "0",
            **written.environment(),
        },
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
        hear_scraped(facade.metrics, ears)
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
