"""Damaged and lying images for every reader of images.

They are read in a process of their own: a decoder that crashes takes its process along, and its
memory is seen alone.
"""

from __future__ import annotations

import asyncio
import functools
import math
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from productsearch_engine.images.errors import ImageError
from productsearch_engine.images.image_file import ImageFile
from productsearch_service import limits
from productsearch_service.images.fit import fit
from productsearch_service.images.form_encoding import FormEncoder, check
from productsearch_service.images.inspect import SizeInvalid, Unreadable
from tests.pictures import encode
from tests.soak.fuzz_files import claiming, damage, files_of_all_kinds
from tests.soak.fuzz_told import tell
from tests.soak.measures import Measure, at_least, equal

_RSS_MB_MAX: Final = 600
_SIDE_PX: Final = 30_000


def _look(file: bytes) -> Iterator[tuple[str, str]]:
    """Show a file to every reader of images; yield (reader, what came of it)."""
    for reader, read, own in _READERS:
        try:
            wrong = read(file)
        except own as refused:
            yield reader, type(refused).__name__
        except Exception as error:  # noqa: BLE001 - as above
            yield reader, f"WRONG: {type(error).__name__}: {error}"[:120]
        else:
            yield reader, f"WRONG: {wrong}" if wrong else "read"


def _fit(file: bytes) -> str:
    fitted = _fitted(file)
    try:
        _form_value(fitted)
    except (Unreadable, SizeInvalid) as wrong:
        return f"fit made what the check refuses: {wrong}"
    return ""


def _fitted(file: bytes) -> bytes:
    made = fit(file, limits.FIT_LARGE_MEMORY_BYTES)
    return file if made is None else made


def _check(file: bytes) -> str:
    _form_value(file)
    return ""


def _form_value(file: bytes) -> bytes:
    check(file)
    runner, encoder = _encoder()
    return b"".join(runner.run(encoder.form_value(file, fits=False)))


@functools.cache
def _encoder() -> tuple[asyncio.Runner, FormEncoder]:
    """Return this process's encoder and the event loop on which it is called."""
    return asyncio.Runner(), FormEncoder()


def _pixels(file: bytes) -> str:
    pixels = ImageFile.checked(file).pixels()
    sound = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    return "" if sound else f"pixels of {pixels.dtype} {pixels.shape}"


_READERS: Final[tuple[tuple[str, Callable[[bytes], Any], Any], ...]] = (
    ("check", _check, (Unreadable, SizeInvalid)),
    ("fit", _fit, (Unreadable, SizeInvalid)),
    ("engine", _pixels, ImageError),
)


def look_at_images(size: int, seed: int) -> dict[str, Any]:
    """Show damaged images to all readers and return what came of it; for a process alone."""
    outcomes: Counter[str] = Counter()
    files = files_of_all_kinds()
    giants: list[str] = []
    for kind, file in files.items():
        outcomes.update(f"{reader}: {outcome}" for reader, outcome in _look(file))
        for reader, outcome in _look(claiming(kind, file, _SIDE_PX, _SIDE_PX)):
            if outcome == "read" or outcome.startswith("WRONG"):
                giants.append(f"{kind}, {reader}: {outcome}")
    giants_mb = _rss_max_mb()
    wrong: list[str] = []
    chance = random.Random(seed)
    for _ in range(size):
        kind = chance.choice([*files])
        file = damage(kind, files[kind], chance)
        for reader, outcome in _look(file):
            outcomes[f"{reader}: {outcome}"] += 1
            if outcome.startswith("WRONG"):
                wrong.append(f"{kind}, {reader}: {outcome}: {file[:64].hex()}")
    return {
        "outcomes": dict(outcomes),
        "giants": giants,
        "giants_mb": giants_mb,
        "wrong": wrong,
        "rss_mb": _rss_max_mb(),
    }


def look_at_large_images(kinds: int) -> float:
    """Let ``fit`` read images of the most pixels that it takes; return the most RSS in MB."""
    side_px = math.isqrt(limits.FIT_PIXELS_MAX)
    palette = Image.new("P", (side_px, side_px))
    files = [encode(palette, "PNG", transparency=0, compress_level=1)]
    if kinds > 1:
        exif = Image.Exif()
        exif[0x0112] = 6
        files += [
            encode(palette, "GIF", transparency=0),
            encode(palette.convert("RGBA"), "PNG", compress_level=1),
            encode(palette.convert("RGB"), "JPEG", exif=exif),
            encode(palette.convert("CMYK"), "TIFF", compression="tiff_deflate"),
            encode(palette.convert("F"), "TIFF", compression="tiff_deflate"),
        ]
    del palette
    # What drawing them took is over: the kernel starts to count anew.
    Path("/proc/self/clear_refs").write_text("5")
    for file in files[:kinds]:
        _form_value(_fitted(file))
    return _rss_max_mb()


def _rss_max_mb() -> float:
    """Return the most memory of this process; getrusage would count its parent's in."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def feed_images(size: int, seed: int) -> Iterator[Measure]:
    """Show damaged, lying and large images to the readers, in processes of their own."""
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            seen = pool.submit(look_at_images, size, seed).result()
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            large_mb = pool.submit(look_at_large_images, 6 if size > 1000 else 1).result()
    except BrokenProcessPool:
        yield equal(f"images: crashes of {size}", 1, 0)
        return
    for line in (*seen["giants"], *seen["wrong"]):
        tell("images", line)
    print(f"images {seen['outcomes']}")
    yield equal(f"images: crashes of {size}", 0, 0)
    yield equal("images: uncaught or wrong", len(seen["wrong"]), 0)
    yield equal(f"images: {_SIDE_PX} x {_SIDE_PX} not refused", len(seen["giants"]), 0)
    for name, value in (
        (f"RSS after {_SIDE_PX} x {_SIDE_PX}", seen["giants_mb"]),
        ("RSS after damaged ones", seen["rss_mb"]),
        (f"RSS after {limits.FIT_PIXELS_MAX:.3g} pixels", large_mb),
    ):
        yield Measure(name=f"images: {name}, MB", value=value, relation="<=", bar=_RSS_MB_MAX)
    for reader, _, _ in _READERS:
        read = seen["outcomes"].get(f"{reader}: read", 0)
        yield at_least(f"images: read by {reader}", read, 5)
