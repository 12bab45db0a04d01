"""Checks of the database: what its facts mean for the engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
from psycopg.errors import ConnectionTimeout

from productsearch_engine.database import inspection
from productsearch_engine.database.bounded import NoAnswerError
from productsearch_engine.database.cause import cause_of, place_of
from productsearch_engine.database.inspection import Facts
from productsearch_engine.embedding.load import UnknownEmbeddingError, check
from productsearch_engine.server.doctor import indexes
from productsearch_engine.server.doctor.finding import SIGN_S, Finding, judged, not_ended
from productsearch_engine.settings import Settings

_MIB = 1 << 20
_VERSION_MIN = 140000
_EXTENSION_MIN = (0, 8)
_SHARED_MIN_BYTES = 128 * _MIB
_CONNECTIONS_SHARE = 0.8
_DEAD_SHARE = 0.3
_AGE_SHARE = 0.8
_ROOM_SHARE = 0.9
_SKEW_S = 60.0
_RECOUNT = "UPDATE libraries SET image_count = image_count + ({}) WHERE id = {}"
"""Adds what is missing, so it is right whatever is written meanwhile."""
ANSWERS = "database.answers"

Judge = Callable[[Facts, Settings], Finding]


def checks(chosen: Settings, ends_s: float) -> list[Finding]:
    """Return the findings of the database, after one visit to it.

    The visit ends at ``ends_s`` of the monotonic clock, or a little later while it connects.
    """
    dsn = chosen.database or inspection.embedded_dsn(chosen.data)
    if not dsn:
        told = "the embedded PostgreSQL does not run: it runs while an engine does"
        return [Finding(ANSWERS, "skipped", told), *_skipped("start the engine to see")]
    began_s = time.monotonic()
    try:
        facts = inspection.inspect(dsn, ends_s)
    except psycopg.Error as error:
        waited_s = time.monotonic() - began_s
        if isinstance(error, NoAnswerError | ConnectionTimeout) and waited_s < SIGN_S:
            return unanswered(chosen, waited_s)
        told = cause_of(error, dsn)
        remedy = "mend the cause; the engine goes on by itself once the database answers"
        unseen = _skipped(f"cannot be seen while {ANSWERS} is broken")
        return [judged(ANSWERS, told, broken=remedy), *unseen]
    return [judged(ANSWERS, place_of(dsn)), *(each(facts, chosen) for each in JUDGES.values())]


def unanswered(chosen: Settings, limit_s: float) -> list[Finding]:
    """Return the findings of a database that answers nothing until the time is over."""
    dsn = chosen.database or inspection.embedded_dsn(chosen.data) or ""
    late = not_ended(ANSWERS, limit_s, "the database's processes and disk, and the way to them")
    told = f"{place_of(dsn)}: it {late.evidence}" if dsn else late.evidence
    return [replace(late, evidence=told), *_skipped(f"cannot be seen while {ANSWERS} is not well")]


def _skipped(why: str) -> list[Finding]:
    return [Finding(code, "skipped", why) for code in JUDGES]


def _writable(facts: Facts, _: Settings) -> Finding:
    return judged(
        "database.writable",
        "it takes no changes" if facts.read_only else "it takes changes",
        broken="lead DATABASE to the primary, or end its read-only mode" if facts.read_only else "",
    )


def _version(facts: Facts, _: Settings) -> Finding:
    old = facts.version < _VERSION_MIN
    return judged(
        "database.version",
        f"PostgreSQL {facts.version // 10000}.{facts.version % 10000}",
        broken="upgrade it to 14 or later" if old else "",
    )


def _extension(facts: Facts, _: Settings) -> Finding:
    code, parts = "database.extension", facts.extension.split(".")
    if not facts.extension:
        return judged(
            code,
            "pgvector is not in this database",
            broken="as a superuser: CREATE EXTENSION vector",
        )
    old = tuple(int(part) for part in parts[:2] if part.isdecimal()) < _EXTENSION_MIN
    return judged(
        code,
        f"pgvector {facts.extension}",
        broken="upgrade pgvector to 0.8, then ALTER EXTENSION vector UPDATE" if old else "",
    )


def _schema(facts: Facts, _: Settings) -> Finding:
    code = "database.schema"
    if facts.unknown:
        told = f"a newer engine has migrated it ({max(facts.unknown)})"
        return judged(code, told, broken="upgrade this engine")
    if facts.pending:
        return judged(code, f"{len(facts.pending)} migrations run at the engine's next start")
    return judged(code, f"migrated to {max(facts.migrations)}")


def _durable(facts: Facts, _: Settings) -> Finding:
    # synchronous_commit is set by each session of the engine.
    off = [name for name in ("fsync", "full_page_writes") if not facts.settings[name]]
    return judged(
        "database.durable",
        f"{', '.join(off)} is off" if off else "acknowledged adds are on its disk",
        broken="turn it on: a crash of the machine can lose all that is stored" if off else "",
    )


def _shared_buffers(facts: Facts, _: Settings) -> Finding:
    size = facts.settings["shared_buffers"]
    return judged(
        "database.shared_buffers",
        f"{size // _MIB} MiB",
        warning="raise it to an eighth of the memory" if size < _SHARED_MIN_BYTES else "",
    )


def _connections(facts: Facts, chosen: Settings) -> Finding:
    most = facts.settings["max_connections"]
    many = facts.connections + chosen.workers > most * _CONNECTIONS_SHARE
    return judged(
        "database.connections",
        f"{facts.connections} of {most} are in use; an engine uses up to {chosen.workers}",
        warning="raise max_connections, or lower WORKERS" if many else "",
    )


def _vacuum(facts: Facts, _: Settings) -> Finding:
    on = bool(facts.settings["autovacuum"])
    told, remedy = f"autovacuum is {'on' if on else 'off'}", "turn autovacuum on"
    if on and facts.unvacuumed:
        told += f", but not for {', '.join(facts.unvacuumed)}"
        remedy = "ALTER TABLE ... RESET (autovacuum_enabled)"
    well = on and not facts.unvacuumed
    return judged(
        "database.vacuum",
        told,
        warning="" if well else f"{remedy}: tables and indexes grow without end",
    )


def _wraparound(facts: Facts, _: Settings) -> Finding:
    most = facts.settings["autovacuum_freeze_max_age"] * 5
    old = facts.transaction_age > most * _AGE_SHARE
    return judged(
        "database.wraparound",
        f"the oldest transaction is {facts.transaction_age} transactions old",
        warning="run VACUUM FREEZE, and end long transactions and stale slots" if old else "",
    )


def _bloat(facts: Facts, _: Settings) -> Finding:
    bad = [
        f"{name}: {dead} dead rows beside {live}"
        for name, (live, dead) in facts.dead.items()
        if dead > _DEAD_SHARE * (live + dead)
    ]
    return judged(
        "database.bloat",
        "; ".join(bad) or "no table has many dead rows",
        warning="VACUUM these tables, and see what keeps autovacuum from it" if bad else "",
    )


def _room(facts: Facts, _: Settings) -> Finding:
    full = [each.name for each in facts.libraries if each.image_count >= each.capacity]
    near = [each.name for each in facts.libraries if each.image_count > _ROOM_SHARE * each.capacity]
    return judged(
        "library.room",
        f"little room: {', '.join(near)}"
        if near
        else f"{len(facts.libraries)} libraries have room",
        broken="productsearch-engine library grow NAME" if full else "",
        warning="productsearch-engine library grow NAME" if near else "",
    )


def _count(facts: Facts, _: Settings) -> Finding:
    wrong = [each for each in facts.counts if each.told != each.stored]
    told = "; ".join(f"{each.name}: {each.told} told, {each.stored} stored" for each in wrong)
    remedy = "; ".join(_RECOUNT.format(each.stored - each.told, each.id) for each in wrong)
    return judged(
        "library.count",
        told or f"{len(facts.counts)} of {len(facts.libraries)} libraries counted, and right",
        warning=f"while it serves: {remedy}" if wrong else "",
    )


def _embedding(facts: Facts, _: Settings) -> Finding:
    missing = []
    for each in facts.libraries:
        try:
            check(each.embedding)
        except UnknownEmbeddingError:
            missing.append(f"{each.name} ({each.embedding})")
    return judged(
        "library.embedding",
        f"not on this machine: {', '.join(missing)}" if missing else "each library's is there",
        broken="put the model where it was, or reembed the library" if missing else "",
    )


def _reembedding(facts: Facts, _: Settings) -> Finding:
    names = ", ".join(facts.reembedding)
    return judged(
        "library.reembedding",
        f"another embedding is computed for {names}" if names else "no change is under way",
        warning="let the command go on, or start it again: productsearch-engine reembed"
        if names
        else "",
    )


def _clock(facts: Facts, _: Settings) -> Finding:
    skew_s = abs((datetime.now(UTC) - facts.now).total_seconds())
    return judged(
        "database.clock",
        f"it differs from this machine's by {skew_s:.0f} s",
        warning="have both clocks set (NTP)" if skew_s > _SKEW_S else "",
    )


JUDGES: dict[str, Judge] = {
    "database.writable": _writable,
    "database.version": _version,
    "database.extension": _extension,
    "database.schema": _schema,
    "database.durable": _durable,
    "database.shared_buffers": _shared_buffers,
    "database.connections": _connections,
    "database.vacuum": _vacuum,
    "database.wraparound": _wraparound,
    "database.bloat": _bloat,
    "database.clock": _clock,
    **indexes.JUDGES,
    "library.room": _room,
    "library.count": _count,
    "library.embedding": _embedding,
    "library.reembedding": _reembedding,
}
"""What is made of the facts, by code."""
