"""Images made to cost, sent to a real engine 32 at once, beside an ordinary searcher.

``python -m tests.abuse.engine_images`` prints a line for each measure. The senders and the
searcher are processes of their own. ``--before FOLDER`` also compares how many ordinary images
a second are added with the engine whose source is in that folder, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from demo.processes import Engine
from tests.engine.calling import Caller, code_of, image_field
from tests.engine.image_bombs import WORST
from tests.soak.measures import Measure, at_least, at_most, equal, report

_AT_ONCE = 32
_DOCUMENTED = (0, 2, 4, 216200, 216201, 216202, 216203)
_HEADS = {"Content-Type": "application/x-www-form-urlencoded"}
_TURNS = 3


def ordinary() -> bytes:
    """Return a JPEG of about 300 KB, as a shop has them."""
    random = np.random.default_rng(1)
    patches = random.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize((1200, 1000), Image.Resampling.BICUBIC)
    noise = random.normal(0, 9, (1000, 1200, 3))
    file = io.BytesIO()
    grain = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(grain).save(file, "JPEG", quality=88)
    return file.getvalue()


def attack(caller: Caller) -> None:
    """Send the worst images, 32 at once, until stdin ends; say what was answered."""
    bodies = [urllib.parse.urlencode({"image": image_field(made())}) for made in WORST.values()]
    ended = threading.Event()
    codes: Counter[int] = Counter()

    def send(first: int) -> None:
        number = first
        while not ended.is_set():
            body = bodies[number % len(bodies)]
            codes[code_of(caller.answer("search", data=body, headers=_HEADS))] += 1
            number += 1

    print("ready", flush=True)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        sending = [threads.submit(send, number) for number in range(_AT_ONCE)]
        sys.stdin.read()
        ended.set()
    for one in sending:
        one.result()
    print(json.dumps(codes))


def search(caller: Caller) -> None:
    """Search an ordinary image as often as each line on stdin says; say how long each took."""
    body = urllib.parse.urlencode({"image": image_field(ordinary()), "rn": 10})
    print("ready", flush=True)
    for line in sys.stdin:
        took_s = []
        codes: Counter[int] = Counter()
        for _ in range(int(line)):
            began_s = time.perf_counter()
            codes[code_of(caller.answer("search", data=body, headers=_HEADS))] += 1
            took_s.append(time.perf_counter() - began_s)
            time.sleep(0.005)
        print(json.dumps({"took_s": sorted(took_s), "codes": codes}), flush=True)


def family(pid: int) -> list[psutil.Process]:
    """Return the engine's process and its workers; PostgreSQL is nobody's child here."""
    engine = psutil.Process(pid)
    workers = [one for one in engine.children() if "workers.process" in " ".join(one.cmdline())]
    return [engine, *workers]


class Memory:
    """Watches the memory of an engine with its workers."""

    def __init__(self, pid: int) -> None:
        self.most_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,))

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self, pid: int) -> None:
        while not self._ended.wait(0.05):
            with contextlib.suppress(psutil.Error):
                now = sum(one.memory_info().rss for one in family(pid))
                self.most_bytes = max(self.most_bytes, now)


@contextlib.contextmanager
def helper(role: str, engine: Engine, keys: tuple[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Yield a process of this module that is ready for its part."""
    command = [sys.executable, "-m", "tests.abuse.engine_images", "--role", role, engine.url]
    with subprocess.Popen(
        [*command, *keys], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert "ready\n" == process.stdout.readline()
        yield process


def searched(process: subprocess.Popen[str], count: int) -> dict[str, Any]:
    """Let the searcher search so often, and return what it says."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{count}\n")
    process.stdin.flush()
    told: dict[str, Any] = json.loads(process.stdout.readline())
    return told


def p99(seconds: list[float]) -> float:
    """Return the 99th percentile of sorted values."""
    return seconds[int(0.99 * (len(seconds) - 1))]


def beside_the_worst(searches: int) -> list[Measure]:
    """Measure a searcher alone and beside the senders, and what the engine takes."""
    with Engine() as engine:
        shop, poison = engine.create_library("shop"), engine.create_library("poison")
        with helper("search", engine, shop) as searcher:
            searched(searcher, 20)
            alone = searched(searcher, searches)
            before = {one.pid for one in family(engine.pid)}
            with Memory(engine.pid) as memory, helper("attack", engine, poison) as sender:
                time.sleep(2)
                beside = searched(searcher, searches)
                answered, _ = sender.communicate()
            killed = before - {one.pid for one in family(engine.pid)}
            assert searcher.stdin
            searcher.stdin.close()
        codes = {int(code): count for code, count in json.loads(answered).items()}
        print(f"answers to the senders: {codes}", flush=True)
        print(f"p50 {alone['took_s'][searches // 2]:.3f} s alone,", end=" ")
        print(f"{beside['took_s'][searches // 2]:.3f} s beside", flush=True)
        traces = engine.log().count("Traceback")
    return [
        at_most("engine and workers, RSS in MB", memory.most_bytes / 1e6, 900),
        at_most("search p99, beside 32 of the worst / alone",
                p99(beside["took_s"]) / p99(alone["took_s"]), 3),
        equal("searches that failed", searches - beside["codes"].get("0", 0), 0),
        at_least("answers to the senders", sum(codes.values()), _AT_ONCE),
        at_least("worker processes that were seen", len(before) - 1, 1),
        equal("answers that are not documented",
              sum(n for code, n in codes.items() if code not in _DOCUMENTED), 0),
        equal("processes that died", len(killed), 0),
        equal("tracebacks in the log", traces, 0),
    ]  # fmt: skip


def adds(source: Path | None, count: int, turn: int) -> tuple[float, float]:
    """Add ordinary images by eight callers; return images a second, and CPU seconds for one."""
    environment = {"PYTHONPATH": str(source)} if source else {}
    with Engine(environment=environment) as engine:
        callers = [Caller(engine.url, *engine.create_library(f"shop{n}")) for n in range(8)]
        image = ordinary()

        def add(number: int) -> int:
            # Bytes behind the end make it another image that costs as much.
            file = image + number.to_bytes(8, "big")
            return code_of(callers[number % 8].call("add", image=file, brief=str(number)))

        with ThreadPoolExecutor(8) as threads:
            assert not any(threads.map(add, range(16)))
            spent_s, began_s = _cpu_s(engine.pid), time.perf_counter()
            codes = list(threads.map(add, range(1000, 1000 + count)))
            took_s, cpu_s = time.perf_counter() - began_s, _cpu_s(engine.pid) - spent_s
        assert not any(codes), Counter(codes)
    print(f"turn {turn}, {source or 'now'}: {count / took_s:.1f} adds/s,", end=" ")
    print(f"{1000 * cpu_s / count:.1f} ms CPU for one, {cpu_s / took_s:.2f} cores", flush=True)
    return count / took_s, cpu_s / count


def _cpu_s(pid: int) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in family(pid))


def adds_beside(before: Path, count: int) -> list[Measure]:
    """Compare with another engine, in turns."""
    now, then = [], []
    for turn in range(_TURNS):
        then.append(adds(before, count, turn)[0])
        now.append(adds(None, count, turn)[0])
    return [at_least("adds/s of 300 KB images, now / before", max(now) / max(then), 1.6)]


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=("attack", "search"), help=argparse.SUPPRESS)
    parser.add_argument("--before", type=Path, help="source folder of the engine to compare with")
    parser.add_argument("--searches", type=int, default=400)
    parser.add_argument("--adds", type=int, default=400)
    parser.add_argument("caller", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role:
        {"attack": attack, "search": search}[asked.role](Caller(*asked.caller))
        return 0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    measures = beside_the_worst(asked.searches)
    if asked.before:
        measures += adds_beside(asked.before.resolve(), asked.adds)
    else:
        print("adds/s of 300 KB images, now / before: not measured, no --before", flush=True)
    return report(measures)


if __name__ == "__main__":
    sys.exit(main())
