"""The process in which ``fit`` decodes: ``python -m productsearch_service.images.worker FD``.

It is given one image after the other over the socket FD, and ends when that is closed. For each
image it limits its own address space and CPU time. An image that breaks a decoder ends the process,
and nothing else. It has no settings and no secrets, and writes no files.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from io import BufferedRWPair
from pathlib import Path
from typing import Final

from productsearch_service import limits
from productsearch_service.images import fit, frames
from productsearch_service.images.inspect import SizeInvalid, Unreadable

_PAGE_BYTES: Final = resource.getpagesize()
_LARGE_MB: Final = limits.FIT_LARGE_MEMORY_BYTES // 1_000_000


def main() -> None:
    """Answer requests until the other side is gone."""
    with socket.socket(fileno=int(sys.argv[1])) as connection, connection.makefile("rwb") as stream:
        _make_harmless()
        gc.collect()
        gc.freeze()  # the decoders stay: to look through them after each image takes 4 ms
        _send(stream, frames.READY)
        while head := stream.read(frames.HEAD.size):
            kind, length = frames.HEAD.unpack(head)
            answer = _answer(stream.read(length), large=kind == frames.ORDER_LARGE)
            _send(stream, *answer)
            gc.collect()


def _make_harmless() -> None:
    """Leave no files, and be the first to go where the machine's memory ends."""
    sys.dont_write_bytecode = True  # of decoders that are loaded from now on
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # Python ignores both, and the default is the end of the process.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _send(stream: BufferedRWPair, kind: int, content: bytes = b"") -> None:
    stream.write(frames.HEAD.pack(kind, len(content)))
    stream.write(content)
    stream.flush()


def _answer(content: bytes, *, large: bool) -> tuple[int, bytes]:
    """Return kind and content of the answer to one image."""
    memory_bytes = limits.FIT_LARGE_MEMORY_BYTES if large else limits.FIT_MEMORY_BYTES
    try:
        fit.load_decoder(content)
        with _bounded(memory_bytes - len(content)):
            fitted = fit.fit(content, memory_bytes)
    except Unreadable as wrong:
        return frames.UNREADABLE, str(wrong).encode()
    except SizeInvalid as wrong:
        return frames.SIZE_INVALID, str(wrong).encode()
    except MemoryError:
        if not large:
            return frames.MORE_MEMORY, b""
        return frames.SIZE_INVALID, (
            f"decoding the image takes more than {_LARGE_MB} MB of memory; "
            "send one with fewer pixels, a JPEG as baseline and not progressive"
        ).encode()
    except Exception:  # noqa: BLE001 - the process's boundary: the other side logs it
        return frames.FAILED, traceback.format_exc().encode()[-frames.TEXT_BYTES_MAX :]
    return (frames.UNCHANGED, b"") if fitted is None else (frames.FITTED, fitted)


@contextlib.contextmanager
def _bounded(memory_bytes: int) -> Iterator[None]:
    """Bound what the process may take beside what it has, and its CPU seconds from now on."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    signal.setitimer(signal.ITIMER_PROF, limits.FIT_CPU_S_MAX)  # its signal ends the process
    taken = _address_space_bytes()
    if taken:
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        signal.setitimer(signal.ITIMER_PROF, 0)


def _address_space_bytes() -> int:
    """Return the size of this process's address space; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * _PAGE_BYTES
    except OSError:
        return 0


if __name__ == "__main__":
    main()
