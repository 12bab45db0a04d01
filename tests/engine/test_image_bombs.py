"""Files made to cost: each is described or refused, in bounded memory, by processes that live."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_engine.api.error_mapping import CODES
from productsearch_engine.images.errors import ImageError, ImageUnreadableError
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.limits import BODY_BYTES_MAX, JOB_BYTES_MAX
from productsearch_engine.workers import pool
from productsearch_engine.workers.describe import Described, Wanted
from productsearch_engine.workers.pool import Workers, started
from tests.engine import image_bombs
from tests.engine.calling import Caller, code_of

CLASSIC = Wanted(embedding="classic-1")

_SIDES = st.integers(1, 5000) | st.sampled_from([300, 4096, 4097, 65535])
PNGS = st.builds(
    image_bombs.png,
    width=_SIDES,
    height=_SIDES,
    depth=st.sampled_from([1, 2, 4, 8, 16]),
    colour=st.sampled_from([0, 2, 3, 4, 6]),
    interlaced=st.booleans(),
    texts=st.sampled_from([0, 1, 40]),
    text_bytes=st.sampled_from([100, 1 << 20, (1 << 20) + 1, 64 << 20]),
    text_kind=st.sampled_from([b"zTXt", b"iTXt", b"iCCP", b"eXIf"]),
    empty_chunks=st.sampled_from([0, 0, 9000, 20_000]),
    frames=st.sampled_from([0, 0, 50]),
    surplus=st.sampled_from([-200, 0, 0, 100 << 20]),
)
JPEGS = st.builds(
    image_bombs.jpeg,
    width=st.integers(300, 4096),
    height=st.integers(300, 4096),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    progressive=st.booleans(),
    scans=st.sampled_from([0, 0, 50, 89, 2000]),
    segments=st.sampled_from([0, 1, 60, 20_000]),
    # Tables, frames and restart intervals of zeros, application data, comments.
    segment_marker=st.sampled_from([0xC0, 0xC4, 0xC8, 0xCC, 0xDB, 0xDC, 0xDD, 0xE1, 0xE2, 0xFE]),
    segment_bytes=st.sampled_from([2, 4, 67, 60_000]),
    images=st.integers(1, 3),
    ended=st.booleans(),
    claimed=st.none() | st.tuples(_SIDES, _SIDES),
)
BMPS = st.builds(
    image_bombs.bmp,
    width=_SIDES | st.integers(-(2**31), 2**31 - 1),
    height=_SIDES | st.integers(-(2**31), 2**31 - 1),
    bits=st.sampled_from([0, 1, 4, 8, 16, 24, 32, 64]),
    compression=st.integers(0, 6),
    colours=st.sampled_from([0, 1, 256, 2**31, 2**32 - 1]),
    masks=st.sampled_from([b"", bytes(12), bytes(16), b"\xff" * 16]),
    data=st.sampled_from(
        [b"", bytes(4000), bytes(400_000), image_bombs.runs(700), b"\0\2\xff\xff" * 500]
    ),
)


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[Workers, asyncio.Runner]]:
    """Return workers with one process for ordinary images, and their event loop."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JOB_S", "JOB_WAIT_S", "WORKER_START_S"):
            patch.setattr(pool, name, 200)
        with started("classic", 1) as made, asyncio.Runner() as runner:
            yield made, runner


@settings(max_examples=40)
@given(PNGS | JPEGS | BMPS)
def test_bombs(workers: tuple[Workers, asyncio.Runner], file: bytes) -> None:
    """A costly file is described or refused; no process dies of it, none grows past its bound."""
    known, runner = workers

    async def ask() -> Described:
        image = ImageFile.checked(file)
        return await known.describe(CLASSIC, image.needed, caller=1, large=image.structure.large)

    before = _pids()
    try:
        assert 300 <= min((found := runner.run(ask())).width, found.height)
    except ImageError as error:
        assert type(error) in CODES
    assert before <= _pids(), "a worker process ended"
    for pid in _pids():
        assert _most_bytes(pid) <= _BASE_BYTES_MAX + JOB_BYTES_MAX


_BASE_BYTES_MAX = 160 << 20
"""What a process takes without an image: more is a defect of its start."""


def _pids() -> set[int]:
    return {child.pid for child in psutil.Process().children() if _is_worker(child)}


def _is_worker(child: psutil.Process) -> bool:
    try:
        return "productsearch_engine.workers.process" in child.cmdline()
    except psutil.NoSuchProcess:  # it has ended, and nobody has waited for it
        return False


def _most_bytes(pid: int) -> int:
    """Return the most memory that a process has had (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("PNG, 30 texts of 64 MB", marks=pytest.mark.slow),
        pytest.param("JPEG, 5000 scans", marks=pytest.mark.slow),
        "PNG, 1 GB after its pixels",
    ],
)
def test_bombs_by_call(shared_caller: Caller, name: str) -> None:
    """The engine answers a bomb with a documented code."""
    file = image_bombs.WORST[name]()
    assert len(file) < BODY_BYTES_MAX
    assert code_of(shared_caller.call("search", image=file)) in (0, 216201, 216202)


@pytest.mark.parametrize(("components", "taken"), [(3, True), (4, True), (5, False), (255, False)])
@pytest.mark.parametrize("of", ["scan", "frame"])
def test_components_are_counted(*, components: int, taken: bool, of: str) -> None:
    """A JPEG without its end mark that names more components than any has is refused."""
    framed, scanned = (components, 3) if of == "frame" else (3, components)
    frame = struct.pack(">BHHB", 8, 400, 400, framed)
    frame += (b"\1\x11\0\2\x11\0\3\x11\0" + b"\3\x11\0" * framed)[: 3 * framed]
    names = (b"\1\0\2\0\3\0" + b"\3\0" * scanned)[: 2 * scanned]
    scan = bytes([scanned]) + names + b"\0\x3f\0"
    content = b"\xff\xd8"
    for marker, segment in ((0xC0, frame), (0xDA, scan)):
        content += struct.pack(">BBH", 0xFF, marker, len(segment) + 2) + segment
    try:
        found = ImageFile.checked(content).structure.ended
    except ImageUnreadableError:
        assert not taken
    else:
        assert taken
        assert not found
