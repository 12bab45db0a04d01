"""A whole search call of the engine beside the parts that no engine of its kind can leave out.

100,000 vectors are stored: embeddings of drawn images, each shifted a little at random. Making
and indexing them takes minutes, once: they are kept in build/bench/.
"""

from __future__ import annotations

import io
import json
import statistics
import time
import urllib.parse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import urllib3
from pgvector import HalfVector
from PIL import Image, ImageFilter
from psycopg import sql
from psycopg_pool import ConnectionPool

from benchmarks import clocks
from benchmarks.findings import Findings, at_most, milliseconds
from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.load import load
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.store import tables
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.images import Images
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.statements import ClassFilter
from productsearch_service.images import form_encoding

_DATA: Final = Path("build/bench/engine")
_STORED: Final = 100_000
_DRAWN: Final = 500
_IMAGE_BYTES: Final = 300_000
_RESULTS: Final = 10
_CALLS_A_TURN: Final = 15
_SEARCH: Final = "/rest/2.0/image-classify/v1/realtime_search/product/search"


def run(rounds: int) -> Findings:
    """Search with an image of 300 KB, 10 results, one caller."""
    with Engine(_DATA.resolve()) as engine:
        key_pair = _library(engine)
        with open_pool(settings.load({}, {"data": str(engine.data)}), 2) as pool:
            library = _filled(pool)
            image = _photograph()
            values, means_s = _measure(engine, key_pair, pool, library, image, rounds)
    ratio = statistics.median(clocks.ratios(values["call"], values["parts"]))
    medians_s = [statistics.median(of_name) for of_name in values.values()]
    return Findings(
        title=f"Engine, search among {_STORED:,} with {len(image) // 1000} KB",
        rows=[
            ("", "whole call", "parts", "decode", "embed", "SQL", "call / parts"),
            ("1 caller", *map(milliseconds, (*medians_s, *means_s.values())), f"{ratio:.2f}"),
        ],
        measures=[at_most("engine: search call / (decode + embed + SQL)", ratio, 1.25)],
        numbers={"seconds": values, "means_s": means_s, "image_bytes": len(image)},
    )


def _measure(
    engine: Engine,
    key_pair: tuple[str, str],
    pool: ConnectionPool[Any],
    library: Library,
    image: bytes,
    rounds: int,
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of calls and of their parts in a row, and each part's mean."""
    embedding, stored = load(library.embedding), Images(pool)
    everything = ClassFilter(class_id1=None, class_id2=None, any_class=False)
    http = urllib3.PoolManager()
    token = http.request(
        "POST",
        f"{engine.url}/oauth/2.0/token",
        fields={
            "grant_type": "client_credentials",
            "client_id": key_pair[0],
            "client_secret": key_pair[1],
        },
        encode_multipart=False,
    ).json()["access_token"]
    target = f"{engine.url}{_SEARCH}?{urllib.parse.urlencode({'access_token': token})}"
    body = b"image=%b&pn=0&rn=%d" % (form_encoding.encode(image), _RESULTS)
    heads = {"Content-Type": "application/x-www-form-urlencoded"}

    def call() -> None:
        answer = json.loads(http.request("POST", target, body=body, headers=heads).data)
        if answer.get("result_num") != _RESULTS:
            raise AssertionError(f"the engine answered {answer}")

    spent_s = dict.fromkeys(("decode", "embed", "sql"), 0.0)

    def parts() -> None:
        began_s = time.perf_counter()
        pixels = ImageFile.checked(image).pixels()
        decoded_s = time.perf_counter()
        vector = embedding.embed([pixels])[0]
        embedded_s = time.perf_counter()
        stored.search(library, vector, everything, 0, _RESULTS)
        spent_s["decode"] += decoded_s - began_s
        spent_s["embed"] += embedded_s - decoded_s
        spent_s["sql"] += time.perf_counter() - embedded_s

    values = clocks.in_turns(
        {
            "call": partial(clocks.wall_s, call, _CALLS_A_TURN),
            "parts": partial(clocks.wall_s, parts, _CALLS_A_TURN),
        },
        rounds,
    )
    calls = (rounds + 1) * _CALLS_A_TURN
    return values, {name: seconds / calls for name, seconds in spent_s.items()}


def _library(engine: Engine) -> tuple[str, str]:
    """Return the key pair of the library, made at the first run."""
    kept = engine.data / "bench-key.json"
    if not kept.exists():
        kept.write_text(json.dumps(engine.create_library("bench")))
        kept.chmod(0o600)
    api_key, secret_key = json.loads(kept.read_text())
    return api_key, secret_key


def _filled(pool: ConnectionPool[Any]) -> Library:
    """Return the library with all its vectors, put there at the first run."""
    library = next(found for found in Libraries(pool).list() if found.name == "bench")
    table = tables.images(library.id)
    with pool.connection() as connection:
        if library.image_count >= _STORED:
            return library
        connection.execute("set statement_timeout = 0")
        BulkIndex(pool).drop(library)
        connection.execute(sql.SQL("delete from {}").format(table))
        copied = sql.SQL(
            "copy {} (library_id, sign, digest, brief, embedding) from stdin (format binary)"
        ).format(table)
        with connection.cursor() as cursor, cursor.copy(copied) as copy:
            copy.set_types(["int8", "int8", "bytea", "bytea", "halfvec"])
            for sign, vector in enumerate(_vectors(library.embedding)):
                row = (library.id, sign, sign.to_bytes(32), b"brief %d" % sign, HalfVector(vector))
                copy.write_row(row)
        BulkIndex(pool).build(library, helpers=1)
        connection.execute(
            "update libraries set image_count = %s where id = %s", [_STORED, library.id]
        )
        BulkIndex(pool).analyze(library)
    return library


def _vectors(name: str) -> Iterator[Any]:
    """Yield unit vectors: embeddings of drawn images, shifted at random."""
    random = np.random.default_rng(1)
    embedding = load(name)
    drawn = embedding.embed([np.asarray(_drawn(n, 256)) for n in range(_DRAWN)])
    for number in range(_STORED):
        shifted = drawn[number % _DRAWN] + random.normal(0, 0.02, drawn.shape[1])
        yield (shifted / np.linalg.norm(shifted)).astype(np.float16)


def _drawn(seed: int, side: int) -> Image.Image:
    patches = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)


def _photograph() -> bytes:
    """Return a JPEG of about 300 KB with as many pixels as photographs of that size have."""
    noise = np.random.default_rng(7).normal(0, 12, (1200, 1600, 3))
    soft = _drawn(3, 1600).crop((0, 0, 1600, 1200)).filter(ImageFilter.GaussianBlur(2))
    grained = Image.fromarray(np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8))
    for quality in range(95, 30, -3):
        file = io.BytesIO()
        grained.save(file, "JPEG", quality=quality)
        if len(file.getvalue()) <= _IMAGE_BYTES:
            return file.getvalue()
    raise AssertionError("no quality is low enough")
