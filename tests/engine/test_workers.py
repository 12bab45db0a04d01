"""Worker processes: bounded, killed at their limits, replaced, and fair to every caller."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from productsearch_engine.embedding.load import UnknownEmbeddingError, load
from productsearch_engine.images.errors import ImageSizeError, ImageUnreadableError
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.workers import frames, pool, worker
from productsearch_engine.workers.describe import Described, Wanted, describe
from productsearch_engine.workers.lane import Job, Lane
from productsearch_engine.workers.pool import Workers, WorkersUnavailableError, started
from productsearch_engine.workers.turns import Turns
from productsearch_engine.workers.worker import Worker
from tests.engine.calling import CALLS, Caller, code_of, image_field
from tests.engine.copies import Template, copied
from tests.engine.image_files import draw, encoded, jpeg


@dataclass
class Running:
    """Workers and the event loop on which they are used."""

    workers: Workers
    runner: asyncio.Runner

    def describe(self, *files: bytes, caller: int = 1) -> list[Described | BaseException]:
        """Have images described, all at once."""

        async def ask(file: bytes) -> Described:
            image = ImageFile.checked(file)
            return await self.workers.describe(
                CLASSIC, image.needed, caller=caller, large=image.structure.large
            )

        return self.run(lambda: asyncio.gather(*map(ask, files), return_exceptions=True))

    def run(self, make: Callable[[], Any]) -> Any:
        """Run what ``make`` returns on the loop."""

        async def call() -> Any:
            return await make()

        return self.runner.run(call())


@pytest.fixture(scope="module", autouse=True)
def _patience() -> Iterator[None]:
    """Give processes time to start and to work on a machine that is busy with other things."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "JOB_S", 120)
        patch.setattr(pool, "JOB_WAIT_S", 200)
        patch.setattr(pool, "WORKER_START_S", 200)
        yield


@contextmanager
def running(processes: int) -> Iterator[Running]:
    """Yield workers with ``processes`` for ordinary images."""
    with started("classic", processes) as workers, asyncio.Runner() as runner:
        yield Running(workers, runner)


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """Workers that tests share."""
    with running(1) as made:
        yield made


def processes(*, of: int | None = None) -> list[psutil.Process]:
    """Return the worker processes of a process, of this one by default."""
    return [
        child
        for child in psutil.Process(of).children()
        if child.status() != psutil.STATUS_ZOMBIE
        and "productsearch_engine.workers.process" in child.cmdline()
    ]


def run_length_bomb(side: int = 4096) -> bytes:
    """Return a BMP of runs of one pixel: Pillow decodes them in Python, for seconds."""
    runs = b"\x01\x07" * (side * side // 8)
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 0, 0)
    start = 14 + len(head) + 1024
    return struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start) + head + bytes(1024) + runs


CLASSIC = Wanted(embedding="classic-1")
LARGE_PNG = encoded(draw(1, (2400, 2400)), "PNG", compress_level=1)


def test_the_same_as_in_this_process(shared: Running) -> None:
    """A worker describes an image as the function that it runs does."""
    embedding = load("classic")
    files = [jpeg(1), encoded(draw(2), "PNG"), encoded(draw(3), "BMP"), LARGE_PNG]
    assert [describe(file, embedding) for file in files] == shared.describe(*files)
    assert ("classic-1", embedding.dimensions) == (
        shared.workers.embedding.embedding,
        shared.workers.embedding.dimensions,
    )


def test_refusals_are_told(shared: Running) -> None:
    """What is wrong with an image is the same error as in this process."""
    truncated, sound = jpeg(1)[:-400], jpeg(2)
    first, second = shared.describe(truncated, sound)
    assert isinstance(first, ImageUnreadableError)
    assert isinstance(second, Described)


def test_no_more_processes_than_set(shared: Running) -> None:
    """However many images wait, there are the set number of processes and the large one."""
    shared.describe(*[jpeg(seed) for seed in range(20)], LARGE_PNG, LARGE_PNG)
    assert 2 == len(processes())


def test_processes_are_kept(shared: Running) -> None:
    """The next image finds the processes of the one before."""
    shared.describe(*[jpeg(seed) for seed in range(20)])
    before = {process.pid for process in processes()}
    shared.describe(*[jpeg(seed) for seed in range(20)])
    assert before == {process.pid for process in processes()}


def test_no_secrets_are_passed_on(shared: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker process has none of the engine's settings, and none of its descriptors."""
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_DATABASE", "the-secret")
    kill_all()
    shared.describe(jpeg(1))
    for process in processes():
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"the-secret" not in environment
        assert b"PRODUCTSEARCH" not in environment
        open_files = {
            int(link.name): str(link.readlink())
            for link in Path(f"/proc/{process.pid}/fd").iterdir()
        }
        assert [os.devnull, os.devnull] == [open_files[0], open_files[1]]
        assert 1 == sum(name.startswith("socket:") for name in open_files.values())


def test_a_worker_computes_as_the_engine_does(
    shared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels of OpenBLAS that are chosen for the engine are its workers', too."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    kill_all()
    shared.describe(jpeg(1))
    for process in processes():
        assert "Prescott" == process.environ()["OPENBLAS_CORETYPE"]
    monkeypatch.undo()
    kill_all()  # whoever comes next gets processes like this one


def kill_all() -> None:
    """Kill every worker process."""
    for process in processes():
        process.kill()


def test_killed_while_idle(shared: Running) -> None:
    """Processes that were killed between two images are replaced, and nobody notices."""
    before = {process.pid for process in processes()}
    kill_all()
    found = shared.describe(*[jpeg(seed) for seed in range(6)], LARGE_PNG)
    assert all(isinstance(one, Described) for one in found), found
    assert not before & {process.pid for process in processes()}


def test_killed_at_any_point(shared: Running) -> None:
    """Images whose process is killed under them are described by the next one."""
    expected = shared.describe(*[jpeg(seed) for seed in range(12)])

    async def all_of_them(kill_after: int) -> list[Described]:
        tasks = [
            asyncio.create_task(shared.workers.describe(CLASSIC, jpeg(seed), caller=1, large=False))
            for seed in range(12)
        ]
        while sum(task.done() for task in tasks) < kill_after:
            await asyncio.sleep(0.001)
        kill_all()
        return await asyncio.gather(*tasks)

    for kill_after in (0, 1, 5):
        assert expected == shared.run(lambda after=kill_after: all_of_them(after))


def test_killed_where_there_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed is replaced without a new thread: there may be none to spare."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with running(1) as fresh:
        monkeypatch.setattr(threading.Thread, "start", start)
        kill_all()
        (found,) = fresh.describe(jpeg(1))
    assert isinstance(found, Described)


def test_a_stopped_process_is_killed(shared: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not answer within the time is killed; the image is not blamed."""
    shared.describe(*[jpeg(seed) for seed in range(4)])
    monkeypatch.setattr(pool, "JOB_S", 0.3)
    stopped = processes()
    for process in stopped:
        process.suspend()
    (found,) = shared.describe(jpeg(1))
    assert isinstance(found, WorkersUnavailableError)
    monkeypatch.undo()
    assert isinstance(shared.describe(jpeg(1))[0], Described)


def test_large_images_do_not_hold_ordinary_ones(shared: Running) -> None:
    """While the process for large images stands still, ordinary ones are described."""
    shared.describe(LARGE_PNG)
    (large,) = [process for process in processes() if process.nice() > psutil.Process().nice()]
    large.suspend()

    async def both() -> None:
        image = ImageFile.checked(LARGE_PNG)
        waiting = [
            asyncio.create_task(
                shared.workers.describe(CLASSIC, image.needed, caller=2, large=True)
            )
            for _ in range(32)
        ]
        await asyncio.gather(
            *(
                shared.workers.describe(CLASSIC, jpeg(seed), caller=1, large=False)
                for seed in range(10)
            )
        )
        assert not any(task.done() for task in waiting)
        large.resume()
        for task in waiting[1:]:
            task.cancel()
        await waiting[0]

    shared.run(both)


def test_callers_take_turns(shared: Running) -> None:
    """The only image of one caller does not wait behind all those of another."""

    async def both() -> int:
        many = [
            asyncio.create_task(shared.workers.describe(CLASSIC, jpeg(1), caller=1, large=False))
            for _ in range(40)
        ]
        await asyncio.sleep(0)
        await shared.workers.describe(CLASSIC, jpeg(2), caller=2, large=False)
        before = sum(task.done() for task in many)
        await asyncio.gather(*many)
        return before

    assert shared.run(both) <= 8


def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that takes too much processor time is refused, after a try in the other lane."""
    monkeypatch.setattr(pool, "JOB_CPU_S", 0.3)
    monkeypatch.setattr(pool, "LARGE_JOB_CPU_S", 0.3)
    with running(1) as own:
        bomb = run_length_bomb()

        async def ask() -> Described:
            return await own.workers.describe(CLASSIC, bomb, caller=1, large=False)

        with pytest.raises(ImageSizeError):
            own.run(ask)
        assert isinstance(own.describe(jpeg(1))[0], Described)


def test_time_is_counted_anew_for_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is not killed for what all its images took together, however long it lives."""
    monkeypatch.setattr(pool, "JOB_CPU_S", 0.5)
    others = {process.pid for process in processes()}
    with running(1) as own:
        own.describe(jpeg(1))
        (only,) = [process for process in processes() if process.pid not in others]
        while sum(only.cpu_times()[:2]) < 2.5:
            found = own.describe(*[jpeg(seed) for seed in range(20)])
            assert all(isinstance(one, Described) for one in found)
        assert only.is_running()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that takes too much memory is refused; its process goes on."""
    monkeypatch.setattr(worker, "JOB_BYTES_MAX", 8 << 20)
    with running(1) as own:
        assert isinstance(own.describe(LARGE_PNG)[0], ImageSizeError)
        before = {process.pid for process in processes()}
        assert isinstance(own.describe(LARGE_PNG)[0], ImageSizeError)
        assert isinstance(own.describe(jpeg(1))[0], Described)
        assert before == {process.pid for process in processes()}


def test_the_working_directory_is_no_place_of_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file there that is named like a module is not run by a process that decodes images."""
    (tmp_path / "json.py").write_text("open('taken', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    worker = Worker("classic", cpu_s=5, nice=0)
    try:
        assert "classic-1" == worker.wait_until_ready(60).embedding
    finally:
        worker.kill()
    assert not (tmp_path / "taken").exists()


def test_unknown_embedding() -> None:
    """A name that no embedding has is told as such."""
    with pytest.raises(UnknownEmbeddingError), started("none", 1):
        pass


def test_no_process_outlives_the_engine(template: Template) -> None:
    """A kill -9 of the engine ends its worker processes, also one in the middle of an image."""
    with copied(template) as engine:
        caller = Caller(engine.url, *template.keys)
        caller.call("search", image=jpeg(1))
        left = processes(of=engine.pid)
        assert left
        engine.kill()
        assert [] == psutil.wait_procs(left, timeout=60)[1]
        caller.close()


def test_an_add_that_nobody_waits_for(template: Template) -> None:
    """An add whose caller left while it waited for a process is not stored after that.

    The caller may have repeated it meanwhile, and deleted the image.
    """
    with copied(template, environment={"PRODUCTSEARCH_ENGINE_DECODERS": "1"}) as engine:
        caller = Caller(engine.url, *template.keys)
        caller.call("search", image=jpeg(1))
        stopped = processes(of=engine.pid)
        for process in stopped:
            process.suspend()
        body = urlencode({"image": image_field(jpeg(2)), "brief": "x"}).encode()
        head = (
            f"POST {CALLS}add?access_token={caller.token} HTTP/1.1\r\nHost: x\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        port = int(engine.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(head.encode() + body)
            time.sleep(0.5)
        time.sleep(0.2)
        for process in stopped:
            process.resume()
        for seed in (3, 4):  # they wait behind it
            assert 0 == code_of(caller.call("search", image=jpeg(seed)))
        assert 0 == code_of(caller.call("add", image=jpeg(2), brief="x"))
        caller.close()


@pytest.mark.slow
def test_adds_while_workers_are_killed(template: Template) -> None:
    """Every add is answered and stored once, whichever process is killed under it."""
    with copied(template) as engine:
        added: list[dict[str, Any]] = []

        def add(first: int) -> None:
            caller = Caller(engine.url, *template.keys)
            for number in range(first, first + 40):
                added.append(caller.call("add", image=jpeg(number), brief=str(number)))
            caller.close()

        adders = [threading.Thread(target=add, args=(first,)) for first in (0, 40)]
        for adder in adders:
            adder.start()
        for done in range(0, 80, 8):
            while len(added) < done:
                time.sleep(0.001)
            for process in processes(of=engine.pid):
                process.kill()
        for adder in adders:
            adder.join()
        assert {0} == set(map(code_of, added))
        caller = Caller(engine.url, *template.keys)
        found = caller.call("search", image=jpeg(0), rn="1000")["result"]
        assert sorted(one["cont_sign"] for one in added) == sorted(
            hit["cont_sign"] for hit in found
        )
        caller.close()


@given(st.lists(st.integers(0, 4), max_size=60))
def test_turns(callers: list[int]) -> None:
    """Everybody is served once, in order, and nobody twice while another one waits."""
    turns: Turns[tuple[int, int]] = Turns()
    for number, caller in enumerate(callers):
        turns.put(caller, (caller, number))
    taken = []
    while (one := turns.take()) is not None:
        taken.append(one)
    assert sorted(taken) == sorted((caller, number) for number, caller in enumerate(callers))
    for place, (caller, number) in enumerate(taken):
        waiting = {other for other, _ in taken[place:]}
        assert waiting >= {other for other, _ in taken[place : place + len(waiting)]}
        assert len(waiting) == len({other for other, _ in taken[place : place + len(waiting)]})
        assert all(later > number for other, later in taken[place + 1 :] if other == caller)
    assert not turns


def test_who_has_left_is_not_served() -> None:
    """An image that nobody waits for any more is not looked at."""

    async def take() -> tuple[Job | None, Job]:
        lane = Lane(cpu_s=1, nice=0)
        jobs = [
            Job(
                wanted=CLASSIC,
                content=b"",
                caller=1,
                outcome=asyncio.get_running_loop().create_future(),
            )
            for _ in range(3)
        ]
        for job in jobs:
            lane.put(job)
        jobs[0].outcome.cancel()
        jobs[1].outcome.cancel()
        return lane.take(), jobs[2]

    taken, last = asyncio.run(take())
    assert last is taken


@pytest.mark.parametrize("message", [struct.pack("<I", 9), struct.pack("<3I", 2, 600, 500)])
def test_a_message_is_bounded(message: bytes) -> None:
    """A process that says too much is not listened to."""

    async def read() -> list[bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(message)
        return await frames.read(reader, 1000)

    with pytest.raises(frames.FrameError):
        asyncio.run(read())
