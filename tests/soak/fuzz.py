"""Feeds every reader of foreign bytes with bad ones: answers, requests, forms and pictures.

A reader keeps its promise when whatever comes in gives a value or one of its own errors: no
other exception, no endless work, no unbounded memory. Pictures are read in a process of their
own, because a decoder that crashes takes its process along, and to see its memory alone.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import math
import multiprocessing
import random
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import grpc
import numpy as np
import pillow_heif
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from PIL import Image

from productsearch import v1
from productsearch_engine import forms
from productsearch_engine.codes import ApiError
from productsearch_engine.images import Picture
from productsearch_engine.limits import FIELDS_MAX
from productsearch_service import images, limits
from productsearch_service.errors import UpstreamProtocol
from productsearch_service.server import Server
from productsearch_service.settings import Settings
from productsearch_service.status import CODES
from productsearch_service.upstream import answers, codes, form
from tests.fakes.upstream import FakeUpstream, search_answer
from tests.pictures import draw, encode, jpeg
from tests.soak.measures import Measure, report
from tests.wire.test_answers import _mutated

FULL: Final = 1_000_000
SEED: Final = 20261124

_SLOW_CPU_S: Final = 1.0
"""No body of a few hundred bytes may keep a thread computing for so long."""
_PATIENCE_S: Final = 20.0
_RSS_MB_MAX: Final = 600
_SIDE_PX: Final = 30_000
_EXAMPLES_MAX: Final = 5


def run(size: int, *, seed: int = SEED) -> list[Measure]:
    """Feed ``size`` answers, a tenth as many requests, a third as many forms, some pictures."""
    print(f"seed {seed}")
    return [
        *_bodies(size, seed),
        *_requests(size // 10, seed),
        *_encoder(size, seed),
        *_forms(size // 3, seed),
        *_pictures(size // 50, seed),
    ]


_told: Final[Counter[str]] = Counter()


def _tell(reader: str, line: str) -> None:
    """Print what a reader did wrong, the first times."""
    _told[reader] += 1
    if _told[reader] <= _EXAMPLES_MAX:
        print(f"{reader}: {line}"[:600])


def _none(name: str, value: float) -> Measure:
    return Measure(name=name, value=value, relation="==", bar=0)


def _at_least(name: str, value: float, bar: float) -> Measure:
    return Measure(name=name, value=value, relation=">=", bar=bar)


# ---------------------------------------------------------------- the upstream's answers

_ODD: Final = (
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":' * 50_000,
    b'{"log_id":' + b"9" * 100_000 + b"}", b'{"error_code":' + b"9" * 5000 + b"}",
    b'{"error_code": 1e400, "log_id": NaN}', b'{"result": [{"score": -Infinity}]}',
    b'{"error_code": 18, "error_msg": "' + b"\\ud800" * 20_000 + b'"}',
    b'{"result": [{"cont_sign": "1,2", "score": "0.5", "brief": "\\udcff"}], "has_more": []}',
)  # fmt: skip


def _answer_seeds() -> list[bytes]:
    hits = [("1,2", 0.5, "b"), ("3,4", 0.25, "苹果")]
    return [
        json.dumps(search_answer(*hits)).encode(),
        json.dumps(
            search_answer(*hits, has_more="false", log_id="12"), ensure_ascii=False
        ).encode(),
        json.dumps({"log_id": "123", "cont_sign": "1,2"}).encode(),
        json.dumps({"error_code": 216681, "error_msg": "x", "cont_sign": "1,2"}).encode(),
        json.dumps({"error_code": "18", "error_msg": "Open api qps request limit"}).encode(),
    ]


def _bodies(size: int, seed: int) -> Iterator[Measure]:
    chance = random.Random(seed)
    seeds = _answer_seeds()
    outcomes: Counter[str] = Counter()
    slowest_s = 0.0
    for number in range(size):
        body = _ODD[number] if number < len(_ODD) else _mutated(chance, seeds)
        began_s = time.thread_time()
        outcomes[_read(body)] += 1
        slowest_s = max(slowest_s, time.thread_time() - began_s)
    print(f"answers {dict(outcomes)}")
    uncaught = size - outcomes["read"] - outcomes["refused"]
    yield _none(f"answers: uncaught of {size}", uncaught)
    yield Measure(name="answers: slowest, CPU s", value=slowest_s, relation="<=", bar=_SLOW_CPU_S)
    yield _at_least("answers: read", outcomes["read"], size / 100)
    yield _at_least("answers: refused", outcomes["refused"], size / 100)


def _read(body: bytes) -> str:
    try:
        answer = answers.read(body)
        if answer.failed:
            error = codes.error_of(answer.words, "image", answer.cont_sign)
            error.message.encode()
        else:
            for hit in answers.page(answer).hits:
                (hit.cont_sign + hit.brief).encode()
    except UpstreamProtocol:
        return "refused"
    except Exception as error:  # noqa: BLE001 - none of these may come: counted and told
        _tell("answers", f"{error!r:.200} for {body[:300]!r}")
        return type(error).__name__
    return "read"


# ---------------------------------------------------------------- requests over gRPC

_METHODS: Final[tuple[tuple[str, type[Message]], ...]] = (
    ("AddImage", v1.AddImageRequest),
    ("SearchImages", v1.SearchImagesRequest),
    ("UpdateImage", v1.UpdateImageRequest),
    ("DeleteImage", v1.DeleteImageRequest),
    ("BatchDeleteImages", v1.BatchDeleteImagesRequest),
    ("BulkAddImages", v1.BulkAddImagesRequest),
)
_DOCUMENTED: Final = frozenset(CODES.values())
_UNREADABLE: Final = "Exception deserializing request!"
"""grpc's own answer, with INTERNAL and without details, to bytes that are no message."""
_TEXTS: Final = (
    "", "default", "x", "1,2", "4294967295,0", "4294967296,1", "1,2;3,4", "http://a.example/x.jpg",
    "http://[::1", "http://a:99999/", "\0", "\ud7ff\U0010ffff", "é" * 200, "x" * 5000, "AAAA" * 9,
)  # fmt: skip
_NUMBERS: Final = (0, 1, -1, 2, 300, 1000, 1001, 65535, 65536, 2**31 - 1, -(2**31))
_FLOATS: Final = (0.0, 0.5, 1.0, -0.0, 1e-320, 1.5, float("nan"), float("inf"), -float("inf"))


def _bytes(chance: random.Random) -> bytes:
    picture = jpeg(chance.randrange(3), 300, 300)
    damaged = bytearray(picture)
    damaged[chance.randrange(len(damaged))] ^= 0xFF
    return chance.choice(
        [b"", chance.randbytes(40), picture, picture, bytes(damaged), picture[:99], _small_gif()]
    )


def _small_gif() -> bytes:
    return encode(draw(2, 200, 200), "GIF")


_IMAGE: Final = v1.ImageSource(content=jpeg(1, 300, 300))
_NEW: Final = v1.NewImage(image=_IMAGE, brief="b", class_id1=3)
_GOOD: Final[dict[type[Message], Message]] = {
    v1.AddImageRequest: v1.AddImageRequest(new_image=_NEW),
    v1.SearchImagesRequest: v1.SearchImagesRequest(image=_IMAGE, page_size=5),
    v1.UpdateImageRequest: v1.UpdateImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"), brief="b"),
    v1.DeleteImageRequest: v1.DeleteImageRequest(image_ref=v1.ImageRef(image=_IMAGE)),
    v1.BatchDeleteImagesRequest: v1.BatchDeleteImagesRequest(cont_signs=["1,2", "3,4"]),
    v1.BulkAddImagesRequest: v1.BulkAddImagesRequest(
        item=v1.BulkAddImagesRequest.Item(key="k", new_image=_NEW)
    ),
}


def random_message(kind: type[Message], chance: random.Random) -> Message:
    """Return a request with some fields, or most, set to random and to telling values."""
    message = kind()
    if chance.random() < 0.5:
        message.CopyFrom(_GOOD[kind])
        return _randomized(message, chance, share=chance.choice((0.0, 0.1, 0.3)))
    return _randomized(message, chance, share=0.8)


def _randomized(message: Message, chance: random.Random, share: float) -> Message:
    for descriptor in message.DESCRIPTOR.fields:
        inner = descriptor.type == FieldDescriptor.TYPE_MESSAGE
        if inner and not descriptor.is_repeated and message.HasField(descriptor.name):
            _randomized(getattr(message, descriptor.name), chance, share)
        elif chance.random() >= share:
            continue
        elif inner:
            getattr(message, descriptor.name).SetInParent()
            _randomized(getattr(message, descriptor.name), chance, share)
        elif descriptor.is_repeated:
            values = [_value(descriptor, chance) for _ in range(chance.choice((0, 1, 3, 120)))]
            getattr(message, descriptor.name).extend(values)
        else:
            setattr(message, descriptor.name, _value(descriptor, chance))
    return message


def _value(descriptor: FieldDescriptor, chance: random.Random) -> object:
    if descriptor.name == "library":
        return chance.choice(("", "", "default", "default", *_TEXTS))
    if descriptor.name == "cont_sign" or descriptor.name == "cont_signs":
        return chance.choice(("1,2", "1,2", *_TEXTS))
    match descriptor.type:
        case FieldDescriptor.TYPE_STRING:
            return chance.choice(_TEXTS)
        case FieldDescriptor.TYPE_BYTES:
            return _bytes(chance)
        case FieldDescriptor.TYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.TYPE_ENUM:
            return chance.choice((0, 1, 2, 3, 4, -1, 2**31 - 1))
        case FieldDescriptor.TYPE_DOUBLE:
            return chance.choice(_FLOATS)
    return chance.choice(_NUMBERS)


def _wire(kind: type[Message], chance: random.Random) -> tuple[bytes, bool]:
    """Return the bytes of a request, and whether they are a message for certain."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randint(0, 200)), False
    wire = random_message(kind, chance).SerializeToString()
    if chance.random() < 0.3:
        return _mutated(chance, [wire]), False
    return wire, True


def _requests(size: int, seed: int) -> Iterator[Measure]:
    outcomes: Counter[str] = Counter()
    with FakeUpstream() as upstream:
        library = {"base_url": upstream.url, "api_key": "k", "secret_key": "s", "quota_qps": 0}
        server = Server(
            Settings(
                listen="127.0.0.1:0",
                libraries={"default": library},  # type: ignore[dict-item] # as from TOML
                drain_delay_s=0,
                drain_grace_s=1,
            )
        )
        server.start()
        with v1.connect(f"127.0.0.1:{server.port}") as channel, ThreadPoolExecutor(6) as pool:
            for outcome in pool.map(
                lambda number: _ask(channel, random.Random(seed * 1_000_003 + number)), range(size)
            ):
                outcomes[outcome] += 1
            picture = v1.ImageSource(content=jpeg(1, 300, 300))
            after = v1.ProductSearchStub(channel).SearchImages(
                v1.SearchImagesRequest(image=picture), timeout=_PATIENCE_S
            )
        server.stop(threading.Event())
    print(f"requests {dict(outcomes.most_common())}; calls upstream {len(upstream.calls)}")
    wrong = sum(count for outcome, count in outcomes.items() if outcome.startswith("WRONG"))
    yield _none(f"requests: undocumented outcomes of {size}", wrong)
    yield _at_least("requests: kinds of outcome", len(outcomes), 7)
    yield _at_least("requests: that got to the upstream", len(upstream.calls), size / 20)
    yield _at_least("requests: answered after all that", len(after.results), 1)


def _ask(channel: grpc.Channel, chance: random.Random) -> str:
    """Send one request; return OK, its reason, ``unreadable``, or WRONG and what was wrong."""
    method, kind = chance.choice(_METHODS)
    path = f"/productsearch.v1.ProductSearch/{method}"
    sent = [_wire(kind, chance) for _ in range(chance.randint(0, 4))] or [(b"", True)]
    try:
        if method == "BulkAddImages":
            stream = channel.stream_stream(path)
            for _ in stream(iter([wire for wire, _ in sent]), timeout=_PATIENCE_S):
                pass
        else:
            sent = sent[:1]
            channel.unary_unary(path)(sent[0][0], timeout=_PATIENCE_S)
    except grpc.RpcError as error:
        outcome = _outcome(error, surely_messages=all(sure for _, sure in sent))
        if outcome.startswith("WRONG"):
            _tell("requests", f"{method} {outcome}: {[wire[:200] for wire, _ in sent]}")
        return outcome
    return "OK"


def _outcome(error: Any, *, surely_messages: bool) -> str:
    code, details = error.code(), error.details()
    if code == grpc.StatusCode.INTERNAL and details == _UNREADABLE:
        return "WRONG: a message was not read" if surely_messages else "unreadable"
    if "metadata size exceeds" in details:
        return "WRONG: the status is too long for the client"
    status = v1.status_of(error)
    if status is None:
        return f"WRONG: no status {code.name} {details}"
    reason = v1.reason_of(error)
    if reason is None:
        return f"WRONG: no reason {code.name} {details}"
    if code.value[0] not in _DOCUMENTED or CODES[v1.ErrorReason.Name(reason)] != code.value[0]:
        return f"WRONG: code {code.name} {details}"
    name = v1.ErrorReason.Name(reason)
    return f"WRONG: {name} {details}" if name == "SERVER_FAULT" else name


# ---------------------------------------------------------------- forms, both ways


def _encoder(size: int, seed: int) -> Iterator[Measure]:
    chance = random.Random(seed)
    content = chance.randbytes(4096)
    sizes = [*range(4097)] if size >= FULL else [*range(0, 4097, 16), 4095, 4096]
    large = [chance.randrange(4096, 3_200_000) for _ in range(max(2, size // 10_000))]
    differing = 0
    for count in [*sizes, *large]:
        picture = content[:count] if count <= 4096 else chance.randbytes(count)
        expected = urlencode({"image": base64.b64encode(picture)}).encode()
        differing += expected != form.encode({"image": picture})
    yield _none(f"encoder: differing of {len(sizes)} small, {len(large)} large", differing)


_TELLING: Final = (b"%", b"&", b"=", b"+", b"2", b"B", b"f", b"%2", b"%2B", b"%zz", b"\0", b";",
                   b"--x", b"\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="a"',
                   b"--x--\r\n", b"image")  # fmt: skip
_KINDS: Final = ("", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                 "multipart/form-data", "multipart/form-data; boundary=" + "y" * 300, ";=", "\xff",
                 'multipart/form-data; boundary="x', "text/plain")  # fmt: skip


def _forms(size: int, seed: int) -> Iterator[Measure]:
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # one line for each bad body
    chance = random.Random(seed)
    uncaught = differing = read = 0
    for _ in range(size):
        kind = chance.choice(_KINDS)
        parts = [
            chance.choice(_TELLING) if chance.random() < 0.8 else chance.randbytes(3)
            for _ in range(chance.randrange(60))
        ]
        body = b"".join(parts)
        try:
            fields = forms.parse(kind, body)
        except ApiError:
            continue
        except Exception as error:  # noqa: BLE001 - as above
            _tell("forms", f"{error!r:.200} for {kind!r} {body!r}")
            uncaught += 1
            continue
        read += 1
        if "multipart" not in kind and body.count(b"&") < FIELDS_MAX:
            differing += _parsed(body) != fields
    yield _none(f"forms: uncaught of {size}", uncaught)
    yield _none("forms: other than parse_qsl", differing)
    yield _at_least("forms: read", read, size / 4)


def _parsed(body: bytes) -> dict[bytes, bytes]:
    """Return what the standard library reads, as Latin-1, where every byte is one letter."""
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return {name.encode("latin-1"): value.encode("latin-1") for name, value in pairs}


# ---------------------------------------------------------------- pictures


def _picture_files() -> dict[str, bytes]:
    """Return a file of each format, in the ways that decoders have code of their own for."""
    pillow_heif.register_heif_opener()
    drawn, small = draw(1, 300, 300), draw(2, 200, 200)
    frames = [draw(seed, 200, 200).convert("P") for seed in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(np.arange(90_000, dtype=np.uint16).reshape(300, 300))
    several: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    return {
        "JPEG": encode(drawn, "JPEG", exif=exif),
        "JPEG progressive": encode(drawn, "JPEG", progressive=True),
        "JPEG CMYK": encode(drawn.convert("CMYK"), "JPEG"),
        "PNG": encode(drawn, "PNG"),
        "PNG palette": encode(drawn.convert("P"), "PNG", transparency=3),
        "PNG 16 bits": encode(grey16, "PNG"),
        "PNG alpha": encode(small.convert("RGBA"), "PNG"),
        "PNG animated": encode(frames[0], "PNG", **several),
        "BMP": encode(drawn, "BMP"),
        "BMP palette": encode(drawn.convert("P"), "BMP"),
        "WEBP": encode(small, "WEBP"),
        "WEBP lossless": encode(small.convert("RGBA"), "WEBP", lossless=True),
        "WEBP animated": encode(small, "WEBP", save_all=True, append_images=[draw(3, 200, 200)]),
        "GIF animated": encode(frames[0], "GIF", **several),
        "TIFF": encode(small, "TIFF"),
        "TIFF LZW": encode(small, "TIFF", compression="tiff_lzw"),
        "TIFF JPEG": encode(small, "TIFF", compression="jpeg"),
        "TIFF 16 bits": encode(grey16, "TIFF", compression="tiff_deflate"),
        "HEIC": encode(drawn, "HEIF", quality=60),
    }


def claiming(kind: str, file: bytes, width: int, height: int) -> bytes:
    """Return the file with a header that states these sides; the pixels stay what they are."""
    lying = bytearray(file)
    if kind.startswith("JPEG"):
        at = next(at for mark in (b"\xff\xc0", b"\xff\xc2") if (at := file.find(mark)) >= 0)
        lying[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif kind.startswith("PNG"):
        lying[16:24] = struct.pack(">II", width, height)
        lying[29:33] = struct.pack(">I", zlib.crc32(lying[12:29]))
    elif kind.startswith("BMP"):
        lying[18:26] = struct.pack("<ii", width, height)
    elif kind.startswith("GIF"):
        at = file.index(b",", 13 + 3 * 2 ** ((file[10] & 7) + 1))
        lying[6:10] = lying[at + 5 : at + 9] = struct.pack("<HH", width, height)
    elif kind.startswith("TIFF"):
        _set_tiff_sides(lying, width, height)
    elif kind.startswith("HEIC"):
        at = file.index(b"ispe")
        lying[at + 8 : at + 16] = struct.pack(">II", width, height)
    elif file[12:16] == b"VP8X":
        lying[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif file[12:16] == b"VP8L":
        sides = (min(width, 1 << 14) - 1) | (min(height, 1 << 14) - 1) << 14
        lying[21:25] = (sides | 1 << 28).to_bytes(4, "little")
    else:
        sides_px = min(width, (1 << 14) - 1), min(height, (1 << 14) - 1)
        lying[26:30] = struct.pack("<HH", *sides_px)
    return bytes(lying)


def _set_tiff_sides(file: bytearray, width: int, height: int) -> None:
    (at,) = struct.unpack_from("<I", file, 4)
    (count,) = struct.unpack_from("<H", file, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", file, entry)
        if tag in (256, 257):
            struct.pack_into("<HII", file, entry + 2, 4, 1, width if tag == 256 else height)


def _damaged(kind: str, file: bytes, chance: random.Random) -> bytes:
    way = chance.randrange(10)
    if way == 0:
        return file[: chance.randrange(len(file))]
    if way == 1:
        sides = [chance.choice((0, 1, 299, 300, 2000, 4096, 16383, 65535)) for _ in range(2)]
        return claiming(kind, file, max(sides[0], 1), max(sides[1], 1))
    damaged = bytearray(file)
    reach = len(file) if way == 2 else min(len(file), 1200)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(reach)
        match chance.randrange(4):
            case 0:
                damaged[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 1:
                damaged[at] = chance.randrange(256)
            case 2:
                damaged[at : at + 4] = chance.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1")
                )
            case 3:
                del damaged[at : at + chance.randint(1, 30)]
        reach = min(reach, len(damaged)) or 1
    return bytes(damaged)


def _look(file: bytes) -> Iterator[tuple[str, str]]:
    """Show a file to every reader of pictures; yield (reader, what came of it)."""
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
    fitted = images.fit(file)
    try:
        images.check(fitted)
    except (images.Unreadable, images.SizeInvalid) as wrong:
        return f"fit made what check refuses: {wrong}"
    return ""


def _pixels(file: bytes) -> str:
    pixels = Picture.of(file).pixels()
    sound = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    return "" if sound else f"pixels of {pixels.dtype} {pixels.shape}"


_READERS: Final[tuple[tuple[str, Callable[[bytes], Any], Any], ...]] = (
    ("check", images.check, (images.Unreadable, images.SizeInvalid)),
    ("fit", _fit, (images.Unreadable, images.SizeInvalid)),
    ("engine", _pixels, ApiError),
)


def look_at_pictures(size: int, seed: int) -> dict[str, Any]:
    """Show damaged pictures to all readers and return what came of it; for a process alone."""
    outcomes: Counter[str] = Counter()
    files = _picture_files()
    giants: list[str] = []
    for kind, file in files.items():
        outcomes.update(f"{reader}: {outcome}" for reader, outcome in _look(file))
        for reader, outcome in _look(claiming(kind, file, _SIDE_PX, _SIDE_PX)):
            if outcome not in ("Unreadable", "SizeInvalid", "ApiError"):
                giants.append(f"{kind}, {reader}: {outcome}")
    giants_mb = _rss_max_mb()
    wrong: list[str] = []
    chance = random.Random(seed)
    for _ in range(size):
        kind = chance.choice([*files])
        file = _damaged(kind, files[kind], chance)
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


def look_at_large_pictures(kinds: int) -> float:
    """Let ``fit`` read pictures of the most pixels that it takes; return the most RSS in MB."""
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
        images.check(images.fit(file))
    return _rss_max_mb()


def _rss_max_mb() -> float:
    """Return the most memory of this process; getrusage would count its parent's in."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _pictures(size: int, seed: int) -> Iterator[Measure]:
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            seen = pool.submit(look_at_pictures, size, seed).result()
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            large_mb = pool.submit(look_at_large_pictures, 6 if size > 1000 else 1).result()
    except BrokenProcessPool:
        yield _none(f"pictures: crashes of {size}", 1)
        return
    for line in (*seen["giants"], *seen["wrong"]):
        _tell("pictures", line)
    print(f"pictures {seen['outcomes']}")
    yield _none(f"pictures: crashes of {size}", 0)
    yield _none("pictures: uncaught or wrong", len(seen["wrong"]))
    yield _none(f"pictures: {_SIDE_PX} x {_SIDE_PX} not refused", len(seen["giants"]))
    for name, value in (
        (f"RSS after {_SIDE_PX} x {_SIDE_PX}", seen["giants_mb"]),
        ("RSS after damaged ones", seen["rss_mb"]),
        (f"RSS after {limits.FIT_PIXELS_MAX:.3g} pixels", large_mb),
    ):
        yield Measure(name=f"pictures: {name}, MB", value=value, relation="<=", bar=_RSS_MB_MAX)
    for reader, _, _ in _READERS:
        read = seen["outcomes"].get(f"{reader}: read", 0)
        yield _at_least(f"pictures: read by {reader}", read, 5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    sys.exit(report(run(arguments.size, seed=arguments.seed)))
