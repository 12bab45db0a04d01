"""PostgreSQL's settings for the machine that it shares with the engine.

Knows how much memory and how many cores this process may use, and what PostgreSQL makes of them.
Does not know where the settings are written.
"""

from __future__ import annotations

import os
from pathlib import Path

from productsearch_engine.limits import INDEX_MEMORY_SHARE
from productsearch_engine.settings import Settings

_MIB = 1 << 20
_GIB = 1 << 30
_LEAST_LOG = 128 * _MIB
"""Less would have PostgreSQL flush all the time."""

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def configuration(memory_bytes: int, cores: int, disk_bytes: int | None = None) -> dict[str, str]:
    """Return settings for a machine, or for the part of it that a container has.

    The engine's processes take as much again as PostgreSQL's own memory; the rest is the kernel's
    cache, which PostgreSQL reads through. The limits keep small machines going and large ones from
    spending memory where it does not help. ``disk_bytes`` is the size of the whole disk, if it is
    known: PostgreSQL's log, which grows to about ``max_wal_size`` while much is loaded, has to
    leave room for the rows.
    """
    # An eighth, but on small machines up to a quarter: less than 256 MiB is felt at once.
    shared = max(memory_bytes // 8, min(memory_bytes // 4, 256 * _MIB))
    helpers = min(cores // 2, 4)
    log = _within(memory_bytes // 8, _GIB, 8 * _GIB)
    if disk_bytes is not None:
        log = min(log, max(disk_bytes // 8, _LEAST_LOG))
    return {
        "shared_buffers": _mib(min(shared, 8 * _GIB)),
        "effective_cache_size": _mib(memory_bytes // 2),
        "work_mem": _mib(_within(memory_bytes // 512, 4 * _MIB, 64 * _MIB)),
        "maintenance_work_mem": _mib(_within(memory_bytes // 16, 64 * _MIB, 2 * _GIB)),
        "max_wal_size": _mib(log),
        "max_worker_processes": str(max(cores, 8)),
        "max_parallel_workers": str(max(cores, 1)),
        # Half of the cores: the other searches need theirs.
        "max_parallel_workers_per_gather": str(helpers),
        "max_parallel_maintenance_workers": str(helpers),
    }


def memory_bytes() -> int:
    """Return the memory of the machine, or of the container if that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_number(file) for file in _of_cgroups("memory.max", "memory.limit_in_bytes"))
    return min([machine, *(limit for limit in limits if limit)])


def index_memory_bytes(settings: Settings) -> int:
    """Return what an index of vectors may take while it is built.

    0 for a database of one's own: its machine is not known.
    """
    return 0 if settings.database else memory_bytes() // INDEX_MEMORY_SHARE


def cores() -> int:
    """Return the cores that this process may use, a container's share rounded up."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    shares = (_share(file) for file in _of_cgroups("cpu.max", "cpu.cfs_quota_us"))
    return max(1, min([usable or 1, *(share for share in shares if share)]))


def _of_cgroups(name: str, old_name: str) -> list[Path]:
    """Return the files that can limit this process: its group's, and those of the groups above."""
    try:
        lines = _OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, wanted = _CGROUPS, name
        elif "memory" in controllers.split(",") or "cpu" in controllers.split(","):
            top, wanted = _CGROUPS / controllers, old_name
        else:
            continue
        group = top / path.lstrip("/")
        # A container often sees its own group as the top one, whatever its path says.
        files += [each / wanted for each in (group, *group.parents) if top in (each, *each.parents)]
    return files


def _number(file: Path) -> int | None:
    try:
        return max(0, int(file.read_text())) or None
    except (OSError, ValueError):  # not there, or "max"
        return None


def _share(file: Path) -> int | None:
    """Return the cores of a quota: ``cpu.max`` holds it and its period, version 1 two files."""
    try:
        quota, *period = file.read_text().split()
        per = period[0] if period else file.with_name("cpu.cfs_period_us").read_text()
        return -(-int(quota) // int(per)) if int(quota) > 0 else None
    except (OSError, ValueError, IndexError, ZeroDivisionError):
        return None


def _within(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def _mib(size: int) -> str:
    return f"{size // _MIB}MB"
