"""Vectors are imported, with kills at random points, exported, restored elsewhere, and compared."""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.bulk.heads import head_line
from productsearch_engine.bulk.lines import line
from productsearch_engine.database.pool import open_pool
from productsearch_engine.store.libraries import Libraries
from tests.engine.bulk_library import head, rows
from tests.engine.databases import connected, postmaster
from tests.soak.bulk_restored import restored
from tests.soak.measures import Measure, at_least, equal, report

_RATE: Final = 1500


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many vectors of which length, and how often the import is killed."""

    vectors: int
    kills: int
    dimensions: int = 512
    embedding: str = "compact-3"
    """Its vectors have axes: the index is over their prefixes, as it is in use."""

    plain: bool = True
    """Whether they are also imported without a kill, which tells the rate."""


FULL: Final = Size(vectors=1_000_000, kills=10)
SMALL: Final = Size(vectors=6000, kills=3, dimensions=32, embedding="classic-1")


def run(size: Size, seed: int) -> list[Measure]:
    """Import without a kill and with kills, export and restore, and compare with the file."""
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="productsearch-import-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's account passes through it
        file = Path(folder) / "made.ndjson"
        _write(file, size, seed)
        made = _rows_of(file)
        measures = _imported(file, size, made) if size.plain else []
        with Engine() as engine:
            kills = _killed(engine, file, "killed", size, chance)
            told = engine.command("import", str(file), "--library", "killed")
            found = _rows_of(_exported(engine, "killed", folder))
            facts = _facts(engine, "killed")
            measures += [
                equal("kills", kills, size.kills),
                equal("rows lost by the kills", len(made - found), 0),
                equal("rows that are there and not in the file", len(found - made), 0),
                equal("images counted, killed", facts["count"], size.vectors),
                equal("images stored, killed", facts["rows"], size.vectors),
                equal("valid indexes of vectors, killed", facts["indexes"], 1),
                equal("rows added by an import of what is there", _added(told), 0),
            ]
            report(measures)
            measures += restored(engine, Path(folder), "killed")
    return measures


def _imported(file: Path, size: Size, made: set[int]) -> list[Measure]:
    """Import without a kill into an engine of its own, and export it again."""
    with Engine() as engine:
        took_s = _timed(engine, file, "plain")
        found = _rows_of(_exported(engine, "plain", str(file.parent)))
        count = _facts(engine, "plain")["count"]
    return [
        at_least("vectors a second to a searchable library", size.vectors / took_s, _RATE),
        equal("rows of the file that are not there after a plain import", len(made - found), 0),
        equal("rows that are there and not in the file, plain", len(found - made), 0),
        equal("images counted, plain", count, size.vectors),
    ]


def _write(file: Path, size: Size, seed: int) -> None:
    first = head(
        images=size.vectors,
        embedding=size.embedding,
        dimensions=size.dimensions,
        keep_images=False,
    )
    with file.open("w", encoding="utf-8") as stream:
        stream.write(head_line(first))
        for row in rows(size.vectors, seed, size.dimensions, plain=True):
            stream.write(line(row))


def _command(engine: Engine, file: Path, name: str) -> list[str]:
    arguments = ["import", str(file), "--library", name, "--create", "--data", str(engine.data)]
    return [sys.executable, "-m", "productsearch_engine", *arguments]


def _timed(engine: Engine, file: Path, name: str) -> float:
    """Import; return the seconds, and print the processor time of all that took part."""
    server = psutil.Process(postmaster(engine))
    before, began_s = _processor_s(server), time.monotonic()
    subprocess.run(_command(engine, file, name), check=True, stdout=subprocess.DEVNULL)
    took_s, after = time.monotonic() - began_s, _processor_s(server)
    print(f"import: {took_s:.0f} s, of processors {after - before:.0f} s", flush=True)
    return took_s


def _processor_s(server: psutil.Process) -> float:
    """Return the processor time of ended children: imports, and connections of the server."""
    ended = server.cpu_times()
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.children_user + ended.children_system + own.ru_utime + own.ru_stime


def _killed(engine: Engine, file: Path, name: str, size: Size, chance: random.Random) -> int:
    """Kill imports at random points of the work, its index included; return how often."""
    kills, last_s = 0, 0.0
    while True:
        process = subprocess.Popen(_command(engine, file, name), stdout=subprocess.DEVNULL)
        if kills < size.kills:
            _wait_for_some(engine, process, size, (kills + chance.random()) / size.kills)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
            if kills == size.kills // 2:
                _kill_postgres(engine)
            continue
        began_s = time.monotonic()
        if process.wait():
            raise SystemExit(f"the last import failed: status {process.returncode}")
        last_s = time.monotonic() - began_s
        print(f"the last import took {last_s:.0f} s", flush=True)
        return kills


def _wait_for_some(
    engine: Engine, process: subprocess.Popen[bytes], size: Size, share: float
) -> None:
    """Wait until about so large a share of the rows is loaded; past the end it is the index."""
    wanted = share * size.vectors * 1.1
    while process.poll() is None:
        if _loaded(engine) >= min(wanted, size.vectors):
            # Somewhere in the next batch, or of the index's first seconds.
            time.sleep(share * 2 if wanted > size.vectors else share / 3)
            return
        time.sleep(0.05)


def _loaded(engine: Engine) -> int:
    try:
        with connected(engine) as connection:
            row = connection.execute("select coalesce(sum(rows_read), 0) from imports").fetchone()
    except Exception:  # noqa: BLE001 - the server is not up yet, or was killed
        return 0
    return int(row[0]) if row else 0


def _kill_postgres(engine: Engine) -> None:
    try:
        os.kill(postmaster(engine), signal.SIGKILL)
    except OSError:
        return


def _exported(engine: Engine, name: str, folder: str) -> Path:
    to = Path(folder) / f"{name}.ndjson"
    engine.command("export", name, "--to", str(to))
    return to


def _facts(engine: Engine, name: str) -> dict[str, Any]:
    own = settings.load({}, {"data": str(engine.data)})
    with open_pool(own, 1) as pool:
        library = Libraries(pool).named(name)
        with pool.connection() as connection:
            row = connection.execute(
                "select (select count(*) from images where library_id = %(id)s),"
                " (select count(*) from pg_index i join pg_class c on c.oid = i.indexrelid"
                " join pg_am a on a.oid = c.relam where a.amname = 'hnsw' and i.indisvalid"
                " and i.indrelid::regclass::text = any(%(tables)s))",
                {"id": library.id, "tables": [f"images_{library.id}", f"nearest_{library.id}"]},
            ).fetchone()
    assert row
    return {"count": library.image_count, "rows": row[0], "indexes": row[1]}


def _rows_of(file: Path) -> set[int]:
    """Return the rows of a file, each as the number of its text: a million fit into memory."""
    with file.open("rb") as stream:
        next(stream)
        found = [hash(each) for each in stream]
    if len(found) != len(set(found)):
        raise SystemExit(f"{file} has a row twice")
    return set(found)


def _added(told: str) -> int:
    return int(told.split(" rows, ")[1].split(" added")[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=int, nargs="?", default=FULL.vectors)
    parser.add_argument("--killed-only", action="store_true", help="no import without a kill")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    chosen = replace(FULL, vectors=asked.vectors, plain=not asked.killed_only)
    sys.exit(report(run(chosen, asked.seed)))
