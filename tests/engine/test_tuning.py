"""PostgreSQL's settings follow the machine, or the container's part of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as some

from productsearch_engine.database import tuning
from productsearch_engine.database.pool import open_pool
from productsearch_engine.settings import load
from tests.engine.copies import Template

MIB, GIB = 1 << 20, 1 << 30
SIZES = some.integers(128 * MIB, 4096 * GIB)
CORES = some.integers(1, 512)


def mib(configuration: dict[str, str], name: str) -> int:
    """Return a setting in MiB."""
    return int(configuration[name].removesuffix("MB"))


@given(SIZES, CORES)
def test_every_machine_is_spared(memory: int, cores: int) -> None:
    """PostgreSQL takes a quarter of the memory at most, and no more helpers than half the cores."""
    chosen = tuning.configuration(memory, cores)
    assert 0 < mib(chosen, "shared_buffers") * MIB <= min(memory // 4, 8 * GIB)
    assert mib(chosen, "effective_cache_size") * MIB <= memory // 2
    assert 4 <= mib(chosen, "work_mem") <= 64
    assert 64 <= mib(chosen, "maintenance_work_mem") <= 2048
    assert 1024 <= mib(chosen, "max_wal_size") <= 8192
    assert int(chosen["max_parallel_workers_per_gather"]) <= cores // 2
    assert int(chosen["max_parallel_workers"]) == cores
    assert int(chosen["max_worker_processes"]) >= cores


@given(SIZES, SIZES, CORES)
def test_more_memory_is_never_less(one: int, other: int, cores: int) -> None:
    """A machine with more memory is given no less of anything."""
    small, large = (tuning.configuration(size, cores) for size in sorted((one, other)))
    for name, value in small.items():
        assert int(re.sub(r"\D", "", value)) <= int(re.sub(r"\D", "", large[name]))


@pytest.mark.parametrize(
    ("memory", "shared", "cache"),
    [(512 * MIB, 128, 256), (2 * GIB, 256, 1024), (24 * GIB, 3072, 12288), (96 * GIB, 8192, 49152)],
)
def test_known_machines(memory: int, shared: int, cache: int) -> None:
    """The sizes that the documentation names."""
    chosen = tuning.configuration(memory, 2)
    assert (shared, cache) == (mib(chosen, "shared_buffers"), mib(chosen, "effective_cache_size"))


@given(SIZES, some.integers(0, 1 << 45))
def test_the_log_leaves_room(memory: int, disk: int) -> None:
    """PostgreSQL's log is bounded by the disk too, where that is small beside the memory."""
    wal = mib(tuning.configuration(memory, 2, disk), "max_wal_size")
    assert wal == min(
        mib(tuning.configuration(memory, 2), "max_wal_size"), max(disk // 8 // MIB, 128)
    )


GROUPS = {
    "second version": (
        "0::/part/of\n",
        {
            "part/memory.max": "1073741824\n",
            "part/of/memory.max": "max\n",
            "cpu.max": "150000 100000",
        },
    ),
    "first version": (
        "4:memory:/part\n1:cpu,cpuacct:/part\n",
        {
            "memory/part/memory.limit_in_bytes": "1073741824",
            "cpu,cpuacct/part/cpu.cfs_quota_us": "150000",
            "cpu,cpuacct/part/cpu.cfs_period_us": "100000",
        },
    ),
    "a container's view": (
        "0::/../of/the/host\n",
        {"memory.max": "1073741824", "cpu.max": "150000 100000"},
    ),
}


@pytest.mark.parametrize("group", GROUPS)
def test_limits_of_a_container(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least limit of a control group and of those above it counts; shares are rounded up."""
    own, files = GROUPS[group]
    for name, text in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(tuning, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(tuning, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert (GIB, 2) == (tuning.memory_bytes(), tuning.cores())


@pytest.mark.parametrize("text", ["", "max\n", "-1", "a b c", "0", "max 100000", "100000 0"])
def test_limits_that_say_nothing(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a limit that can be read, the machine counts."""
    for name in ("memory.max", "cpu.max"):
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text("0::/\n")
    monkeypatch.setattr(tuning, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(tuning, "_CGROUPS", tmp_path / "nowhere")
    machine = (tuning.memory_bytes(), tuning.cores())
    monkeypatch.setattr(tuning, "_CGROUPS", tmp_path)
    assert machine == (tuning.memory_bytes(), tuning.cores())


@pytest.fixture
def data(template: Template) -> Iterator[Path]:
    """A data directory with a stopped server that PostgreSQL's account can enter."""
    with tempfile.TemporaryDirectory(prefix="productsearch-") as folder:
        made = Path(folder)
        made.chmod(0o755)
        subprocess.run(["cp", "-a", template.data / "postgres", made], check=True)
        yield made


def test_server_has_them(data: Path) -> None:
    """A server made before takes them, and what its owner wrote below wins, start after start."""
    file = data / "postgres" / "postgresql.conf"
    note = "# Written by productsearch-engine; yours to change."
    before = file.read_text().partition(note)[0]
    file.write_text(f"{before}{note}\nshared_buffers = 256MB\nwork_mem = 3MB\n")
    disk = shutil.disk_usage(data).total
    wanted = tuning.configuration(tuning.memory_bytes(), tuning.cores(), disk)
    for _ in range(2):
        with open_pool(load({}, {"data": str(data)}), 1) as pool, pool.connection() as connection:
            dsn = connection.info.dsn
            with psycopg.connect(dsn) as fresh:
                has = dict(
                    fresh.execute("select name, setting from pg_file_settings where applied")
                )
        assert {**wanted, "work_mem": "3MB"} == {name: has[name] for name in wanted}
        assert 1 == file.read_text().count("include_if_exists = 'machine.conf'")


def test_owner_who_wants_none(data: Path) -> None:
    """Without the engine's note in it, a configuration is left alone."""
    file = data / "postgres" / "postgresql.conf"
    text = file.read_text().partition("# Written by")[0] + "shared_buffers = 64MB\n"
    file.write_text(text)
    with open_pool(load({}, {"data": str(data)}), 1) as pool, pool.connection() as connection:
        assert connection.execute("show shared_buffers").fetchone() == ("64MB",)
    assert text == file.read_text()
