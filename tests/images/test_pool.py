"""``fit`` has processes of its own: one that is slow, breaks or is killed costs nobody else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from productsearch_service import limits
from productsearch_service.errors import ServerFault, ServerOverloaded
from productsearch_service.images import fit, form_encoding, frames, pool, worker_process
from productsearch_service.images.form_encoding import FormEncoder
from productsearch_service.images.inspect import SizeInvalid, Unreadable
from tests.images.workers import gone, stop_workers, worker_processes
from tests.pictures import draw, encode, jpeg

_PATIENCE_S = 60
SMALL = jpeg(1)
TO_SCALE = encode(draw(1, 200, 200), "PNG")


@pytest_asyncio.fixture
async def encoder() -> AsyncIterator[FormEncoder]:
    """Return an encoder; at its end there is no process left."""
    made = FormEncoder()
    yield made
    made.close()
    assert [] == worker_processes()


async def _value(encoder: FormEncoder, content: bytes, caller: str = "one") -> bytes:
    async with asyncio.timeout(_PATIENCE_S):
        return b"".join(await encoder.form_value(content, fits=True, caller=caller))


def _of_all(encoder: FormEncoder) -> list[asyncio.Task[bytes]]:
    """Begin an image of each of as many callers as there are processes."""
    callers = map(str, range(limits.FIT_AT_ONCE))
    return [asyncio.create_task(_value(encoder, TO_SCALE, caller)) for caller in callers]


async def _start_all(encoder: FormEncoder) -> set[int]:
    """Have as many processes as there may be; return their ids."""
    while len(worker_processes()) < limits.FIT_AT_ONCE:
        await asyncio.gather(*_of_all(encoder))
    return {process.pid for process in worker_processes()}


async def _until_at_work(encoder: FormEncoder, count: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while encoder.pool.at_work < count:
            await asyncio.sleep(0)  # a small image takes milliseconds


@pytest.mark.asyncio
async def test_a_process_is_started_when_it_is_needed_and_kept(encoder: FormEncoder) -> None:
    """None for images without fit; one for one image after the other; never more than may be."""
    await encoder.form_value(SMALL, fits=False)
    assert [] == worker_processes()
    for _ in range(3):
        await _value(encoder, TO_SCALE)
    assert 1 == len({process.pid for process in worker_processes()})
    await asyncio.gather(*(_value(encoder, TO_SCALE) for _ in range(10)))
    assert len(worker_processes()) <= limits.FIT_AT_ONCE


@pytest.mark.asyncio
async def test_what_comes_back_is_what_fit_makes(encoder: FormEncoder) -> None:
    """The same bytes as in this process; an image within the limits is the very same object."""
    made = fit.fit(TO_SCALE, limits.FIT_LARGE_MEMORY_BYTES)
    assert made is not None
    assert form_encoding.encode(made) == await _value(encoder, TO_SCALE)
    assert SMALL is await encoder.pool.fit(SMALL)


@pytest.mark.asyncio
async def test_a_worker_knows_no_secret_and_no_grpc(encoder: FormEncoder) -> None:
    """It is no fork: its environment is empty but for paths, and gRPC is not in its memory."""
    os.environ["PRODUCTSEARCH_A_SECRET"] = "the-secret"
    try:
        await _value(encoder, TO_SCALE)
    finally:
        del os.environ["PRODUCTSEARCH_A_SECRET"]
    (worker,) = worker_processes()
    assert {*worker.environ()} <= {
        *worker_process._INHERITED,
        *worker_process._ALLOCATOR,
        "LC_CTYPE",
    }
    libraries = {mapped.path for mapped in worker.memory_maps()}
    assert any("_imaging" in path for path in libraries)
    assert not any("grpc" in path or "uvloop" in path for path in libraries)


@pytest.mark.asyncio
async def test_an_image_whose_caller_leaves_is_not_worked_on_any_more(encoder: FormEncoder) -> None:
    """Its process is killed, in the middle of whatever it does, and the next image is served."""
    first = await _start_all(encoder)
    assert first == stop_workers()
    tasks = _of_all(encoder)
    await _until_at_work(encoder, limits.FIT_AT_ONCE)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert await asyncio.to_thread(gone, first)
    assert await _value(encoder, TO_SCALE)
    assert not first & {process.pid for process in worker_processes()}
    assert len(worker_processes()) <= limits.FIT_AT_ONCE


@pytest.mark.asyncio
async def test_one_that_waits_for_its_turn_is_not_begun(encoder: FormEncoder) -> None:
    """Cancelled before its turn, an image takes no place, and costs no process its life."""
    before = await _start_all(encoder)
    stop_workers()
    tasks = _of_all(encoder) + [asyncio.create_task(_value(encoder, TO_SCALE)) for _ in range(9)]
    await _until_at_work(encoder, limits.FIT_AT_ONCE)
    for task in tasks[limits.FIT_AT_ONCE :]:
        task.cancel()
    await asyncio.wait(tasks[limits.FIT_AT_ONCE :])
    for pid in before:
        os.kill(pid, signal.SIGCONT)
    assert all(await asyncio.gather(*tasks[: limits.FIT_AT_ONCE]))
    assert before == {process.pid for process in worker_processes()}


@pytest.mark.asyncio
async def test_others_are_served_while_workers_stand_still(encoder: FormEncoder) -> None:
    """An image without fit needs none of them."""
    await _start_all(encoder)
    stop_workers()
    stuck = asyncio.create_task(_value(encoder, TO_SCALE))
    await _until_at_work(encoder, 1)
    assert await encoder.form_value(SMALL, fits=False)
    stuck.cancel()


@pytest.mark.asyncio
@pytest.mark.parametrize("at_work", [False, True], ids=["idle", "at work"])
async def test_a_process_that_somebody_kills_is_replaced(
    at_work: bool, encoder: FormEncoder
) -> None:
    """The image is given to another one: nobody is told that it is at fault."""
    (pid,) = {process.pid for process in [(await _one(encoder))]}
    if at_work:
        stop_workers()
    task = asyncio.create_task(_value(encoder, TO_SCALE)) if at_work else None
    if task:
        await _until_at_work(encoder, 1)
    os.kill(pid, signal.SIGKILL)
    assert await (task or _value(encoder, TO_SCALE))
    assert pid not in {process.pid for process in worker_processes()}


async def _one(encoder: FormEncoder):  # type: ignore[no-untyped-def]
    await _value(encoder, TO_SCALE)
    (worker,) = worker_processes()
    return worker


@pytest.mark.asyncio
async def test_whoever_waits_at_the_end_is_told(encoder: FormEncoder) -> None:
    """Closed while an image is worked on: its caller does not wait for ever."""
    await _start_all(encoder)
    stop_workers()
    stuck = asyncio.create_task(_value(encoder, TO_SCALE))
    await _until_at_work(encoder, 1)
    encoder.close()
    with pytest.raises(ServerFault):
        await stuck


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("end", "error", "told"),
    [
        (signal.SIGSEGV, Unreadable, "breaks its decoder"),
        (signal.SIGKILL, ServerOverloaded, "repeat the call"),
        (signal.SIGTERM, ServerOverloaded, "repeat the call"),
        (signal.SIGPROF, SizeInvalid, "takes longer than"),
    ],
)
async def test_whose_fault_it_is_that_every_process_ends(
    end: signal.Signals,
    error: type[Exception],
    told: str,
    encoder: FormEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A decoder that breaks is the image's; its CPU time is, too, and tells at once. What somebody
    ends, or the system for its memory, is not. Two are given the image, not more.
    """
    begun = 0
    work = worker_process.Worker.work

    async def dies(self: worker_process.Worker, *order: object) -> tuple[int, bytes]:
        nonlocal begun
        begun += 1
        os.kill(self.pid, signal.SIGSTOP)
        os.kill(self.pid, end)
        os.kill(self.pid, signal.SIGCONT)
        return await work(self, *order)  # type: ignore[arg-type]

    monkeypatch.setattr(worker_process.Worker, "work", dies)
    with pytest.raises(error, match=told):
        await _value(encoder, TO_SCALE)
    assert (1 if end == signal.SIGPROF else 2) == begun


@pytest.mark.asyncio
async def test_a_process_that_stands_still_is_replaced(
    encoder: FormEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody stopped it: another one gets the image, long before the image's time is over."""
    monkeypatch.setattr(limits, "FIT_LOOK_S", 0.05)
    stopped = {(await _one(encoder)).pid}
    assert stopped == stop_workers()
    assert await _value(encoder, TO_SCALE)
    assert await asyncio.to_thread(gone, stopped)


@pytest.mark.asyncio
async def test_processes_that_all_stand_still_are_no_fault_of_the_image(
    encoder: FormEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller is told to come again, and is served once nobody stops them any more."""
    work = worker_process.Worker.work

    async def stands(self: worker_process.Worker, *order: object) -> tuple[int, bytes]:
        os.kill(self.pid, signal.SIGSTOP)
        return await work(self, *order)  # type: ignore[arg-type]

    monkeypatch.setattr(limits, "FIT_LOOK_S", 0.05)
    with monkeypatch.context() as stopping:
        stopping.setattr(worker_process.Worker, "work", stands)
        with pytest.raises(ServerOverloaded) as told:
            await _value(encoder, TO_SCALE)
    assert limits.OVERLOAD_RETRY_S == told.value.retry_after_s
    assert await _value(encoder, TO_SCALE)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("end", "start_s", "told"),
    [
        (signal.SIGSTOP, limits.FIT_START_S_MAX, "ended or stopped"),
        (signal.SIGSTOP, 0.1, "too little of a processor"),
        (signal.SIGKILL, limits.FIT_START_S_MAX, "ended or stopped"),
    ],
    ids=["stopped", "late", "killed"],
)
async def test_a_process_that_is_stopped_while_it_starts_is_no_fault_of_the_service(
    end: signal.Signals,
    start_s: float,
    told: str,
    encoder: FormEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor one that is killed then: its caller is told to come again, and is served."""
    ready = worker_process.Worker.ready

    async def stands(self: worker_process.Worker) -> None:
        os.kill(self.pid, end)
        await ready(self)

    monkeypatch.setattr(limits, "FIT_LOOK_S", 0.1)
    with monkeypatch.context() as stopping:
        stopping.setattr(limits, "FIT_START_S_MAX", start_s)
        stopping.setattr(worker_process.Worker, "ready", stands)
        with pytest.raises(ServerOverloaded, match=told) as refused:
            await _value(encoder, TO_SCALE)
    assert limits.OVERLOAD_RETRY_S == refused.value.retry_after_s
    assert await _value(encoder, TO_SCALE)


@pytest.mark.asyncio
async def test_an_image_without_a_deadline_has_an_end(
    encoder: FormEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that gets no processor is killed after its time; that is not the image's fault."""
    pids = await _start_all(encoder)
    stop_workers()
    monkeypatch.setattr(limits, "FIT_S_MAX", 0.2)
    with pytest.raises(ServerOverloaded, match="too little of a processor"):
        await _value(encoder, TO_SCALE)
    async with asyncio.timeout(_PATIENCE_S):
        while pids == {process.pid for process in worker_processes()}:
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("program", "error"), [("/bin/false", ServerFault), ("/no/such/file", ServerOverloaded)]
)
async def test_a_process_that_cannot_be_started_is_no_fault_of_the_image(
    program: str,
    error: type[Exception],
    encoder: FormEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller is told of this side's trouble, and served once that is over."""
    with monkeypatch.context() as broken:
        broken.setattr(worker_process.sys, "executable", program)
        with pytest.raises(error):
            await _value(encoder, TO_SCALE)
    assert await _value(encoder, TO_SCALE)


@pytest.mark.asyncio
@pytest.mark.parametrize("made", [b"no image", jpeg(1, 299, 400)], ids=["unreadable", "small"])
async def test_what_fit_makes_is_checked(
    made: bytes, encoder: FormEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that ``fit`` left outside the limits goes nowhere."""

    async def makes(*_: object) -> bytes:
        return made

    monkeypatch.setattr(encoder.pool, "fit", makes)
    with pytest.raises((Unreadable, SizeInvalid)):
        await _value(encoder, SMALL)


@pytest.mark.asyncio
async def test_a_sandbox_that_forbids_priorities_forbids_no_images(
    encoder: FormEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that cannot be made nicer works all the same."""

    def forbidden(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    assert await _value(encoder, TO_SCALE)


@pytest.mark.asyncio
async def test_one_callers_images_leave_others_a_process(encoder: FormEncoder) -> None:
    """However many one caller sends, and however long they take: another one is served at once."""
    before = await _start_all(encoder)
    stopped = stop_workers()
    stuck = [asyncio.create_task(_value(encoder, TO_SCALE, "greedy")) for _ in range(20)]
    await _until_at_work(encoder, 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert 1 == encoder.pool.at_work
    polite = asyncio.create_task(_value(encoder, TO_SCALE, "polite"))
    await _until_at_work(encoder, 2)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert await polite
    assert all(await asyncio.gather(*stuck))
    assert before == {process.pid for process in worker_processes()}


async def _leaves(encoder: FormEncoder) -> None:
    """Cancel an image that is at work; it may be done first, and then it is tried anew."""
    while True:
        left = asyncio.create_task(_value(encoder, TO_SCALE, "leaves"))
        await _until_at_work(encoder, 1)
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait([left])
        if left.cancelled():
            return
        assert left.result()


@pytest.mark.asyncio
async def test_cancelled_images_cost_others_no_process(encoder: FormEncoder) -> None:
    """A caller that leaves again and again has its own process started anew; others keep theirs."""
    await _start_all(encoder)
    for _ in range(3):
        await _leaves(encoder)
        (kept,) = {slot.pid for slot in encoder.pool._idle}
        assert kept is not None
        assert await _value(encoder, TO_SCALE, "stays")
        assert kept in {process.pid for process in worker_processes()}
        async with asyncio.timeout(_PATIENCE_S):
            while encoder.pool.at_work:
                await asyncio.sleep(0)
        assert all(slot._ready is not None and slot._ready.done() for slot in encoder.pool._idle)


@pytest.mark.asyncio
async def test_a_large_image_is_alone_and_not_overtaken(
    encoder: FormEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs all memory waits until nothing is at work; what comes later waits for it."""
    begun: list[bytes] = []
    go_on = asyncio.Semaphore(0)

    async def work(_: object, kind: int, content: bytes) -> tuple[int, bytes]:
        if kind == frames.ORDER and content == b"large":
            return frames.MORE_MEMORY, b""
        begun.append(content)
        await go_on.acquire()
        return frames.FITTED, content

    monkeypatch.setattr(pool.Slot, "work", work)
    fit = encoder.pool.fit
    first = asyncio.create_task(fit(b"first", "one"))
    large = asyncio.create_task(fit(b"large", "two"))
    await asyncio.sleep(0.01)
    later = asyncio.create_task(fit(b"later", "three"))
    await asyncio.sleep(0.01)
    assert [b"first"] == begun
    for image in (first, large, later):
        go_on.release()
        await asyncio.wait_for(image, _PATIENCE_S)
    assert [b"first", b"large", b"later"] == begun
