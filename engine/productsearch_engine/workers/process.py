"""The main program of a worker process: describes one image after another until told to end.

It is started by ``worker`` with the socket's descriptor, the name of the embedding and its
limits. It loads the embedding once and describes a first image of its own; then it says that
it is ready. The end of the socket is its end, so none outlives its engine.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import signal
import socket
import sys
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path

from PIL import Image

from productsearch_engine.embedding.interface import Embedding
from productsearch_engine.embedding.load import UnknownEmbeddingError, load
from productsearch_engine.images.errors import ImageError, ImageSizeError, ImageUnreadableError
from productsearch_engine.limits import SIDE_PX_MIN
from productsearch_engine.workers import frames
from productsearch_engine.workers.describe import (
    Described,
    Task,
    Wanted,
    describe,
    describe_copy,
    fit,
    mark,
    shrink,
)
from productsearch_engine.workers.second_look import agreeing

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main(descriptor: str, name: str, bytes_max: str, cpu_s: str, nice: str) -> None:
    """Serve the engine at the other end of the socket."""
    # Signals to the whole group of the engine are its own: it ends this process itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _first_to_go()
    channel = socket.socket(fileno=int(descriptor))
    with channel, suppress(OSError, EOFError):  # the engine has ended
        try:
            embedding = load(name)
        except UnknownEmbeddingError as error:
            frames.send(channel, [b"unknown", str(error).encode()])
            return
        # The first image takes what later ones share: it belongs to the limit's base.
        _warm_up(embedding, copy=True)
        _give_back()
        _bound_memory(int(bytes_max))
        os.nice(int(nice))
        ready = {"embedding": embedding.name, "dimensions": embedding.dimensions}
        frames.send(channel, [b"ready", json.dumps(ready).encode()])
        while (parts := frames.receive(channel)) is not None:
            answer = _answer(parts, int(bytes_max), float(cpu_s))
            signal.setitimer(signal.ITIMER_PROF, 0)
            frames.send(channel, answer)


def _answer(parts: list[bytes], bytes_max: int, cpu_s: float) -> list[bytes]:
    """Return what is known of an image, or why it is refused, or what went wrong."""
    question, content, *copies = parts
    try:
        wanted = Wanted.of_part(question)
        embeds = wanted.task in (Task.DESCRIBE, Task.DESCRIBE_COPY)
        embedding = _embedding(wanted.embedding, bytes_max) if embeds else None
        _bound_time(cpu_s)
        if wanted.task is Task.COMPARE:
            return [b"compared", agreeing(content, copies)]
        return [b"described", *_described(wanted, content, embedding).parts()]
    except UnknownEmbeddingError as error:
        return [b"unknown", str(error).encode()]
    except ImageError as error:
        sides = getattr(error, "sides", None) or ()
        return [b"refused", type(error).__name__.encode(), json.dumps(sides).encode()]
    except MemoryError:
        return [b"refused", ImageSizeError.__name__.encode()]
    except Exception:  # noqa: BLE001 - the engine logs it as a fault of its own
        return [b"failed", traceback.format_exc()[-4000:].encode()]


def _described(wanted: Wanted, content: bytes, embedding: Embedding | None) -> Described:
    if wanted.task is Task.SHRINK:
        return shrink(content)
    if wanted.task is Task.FIT:
        return fit(content)
    if wanted.task is Task.MARK:
        return mark(content)
    if embedding is None:
        raise ValueError(f"{wanted.task} needs an embedding")
    if wanted.task is Task.DESCRIBE_COPY:
        return describe_copy(content, embedding, wanted.region)
    return describe(
        content, embedding, copy=wanted.copy, glance=wanted.glance, region=wanted.region
    )


@cache
def _embedding(name: str, bytes_max: int) -> Embedding:
    """Load an embedding for good; what it needs is not counted as an image's memory and time."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        embedding = load(name)
        _warm_up(embedding)
        _give_back()
    finally:
        _bound_memory(bytes_max)
    return embedding


def _give_back() -> None:
    """Give the system what loading took and left: 36 MB of 160 for the embedding of new libraries.

    glibc keeps it in holes of its heap. Other C libraries have no such function.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _warm_up(embedding: Embedding, *, copy: bool = False) -> None:
    with suppress(ImageUnreadableError):  # a model may see nothing in white
        describe(_blank(), embedding, copy=copy)


def _blank() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (SIDE_PX_MIN, SIDE_PX_MIN), "white").save(file, "JPEG")
    return file.getvalue()


def _bound_memory(bytes_max: int) -> None:
    """Let the process take so much more address space than it has now."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE_BYTES
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (taken + bytes_max, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _bound_time(cpu_s: float) -> None:
    """Let the kernel kill the process (SIGPROF) if one image takes more processor time.

    Unlike a limit on the clock it is the same on a busy machine. RLIMIT_CPU would not do: it is a
    sum since the process began, which the kernel counts in ticks, and which may differ by a quarter
    from what the process can ask for.
    """
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def _first_to_go() -> None:
    """Tell the kernel to kill this process rather than others when memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("600")


if __name__ == "__main__":
    main(*sys.argv[1:])
