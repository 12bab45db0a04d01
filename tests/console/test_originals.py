"""The size of the file that was added: seen on the page of its image, and never lost."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from PIL import Image
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.database import migrate
from productsearch_engine.store.libraries import Libraries
from tests.console.conftest import Shop
from tests.console.person import change_of
from tests.engine.databases import connected, one_postgresql
from tests.engine.image_files import draw, encoded, jpeg

_ORIGINAL = re.compile(r"<dt>Original</dt><dd>([^<]*)</dd>")


def original(shop: Shop, sign: str) -> str:
    """Return what the page of an image tells of its file."""
    found = _ORIGINAL.search(shop.editor.get(f"/console/images/{sign}").text)
    assert found
    return found[1]


def seen(width: int, height: int) -> str:
    """Return sides as the page tells them."""
    return f"{width} \N{MULTIPLICATION SIGN} {height} px"


@pytest.mark.parametrize(("orientation", "sides"), [(1, (520, 310)), (6, (310, 520))])
def test_sides_are_those_of_the_upright_image(
    shop: Shop, orientation: int, sides: tuple[int, int]
) -> None:
    """A phone stores what it saw and how it was held; people see it upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(draw(1, (520, 310)), exif=exif)
    assert f"{seen(*sides)}, {len(file) / 1024:.3g} KiB" == original(shop, shop.add(file))
    shop.looker.get("/console/language/zh")
    sign = shop.caller.call("search", image=file)["result"][0]["cont_sign"]
    assert f"<dt>原图</dt><dd>{seen(*sides)}" in shop.looker.get(f"/console/images/{sign}").text


def test_an_undo_brings_it_back(shop: Shop) -> None:
    """Of a delete, of an edit, and of emptying the library."""
    sign = shop.add(jpeg(3))
    told = original(shop, sign)
    assert seen(400, 320) in told
    for address, fields in (
        ("/console/delete", {"sign": sign}),
        ("/console/edit/apply", {"sign": sign, "brief_do": "set", "brief": "x"}),
        ("/console/library/empty", {"name": shop.name}),
    ):
        done = shop.editor.send(address, fields)
        shop.editor.send("/console/undo", {"change": change_of(done)})
        assert told == original(shop, sign)


@one_postgresql
def test_what_an_engine_of_before_added_is_unknown(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """It writes beside this one, with the columns that it knows."""
    library = Libraries(pool).named(shop.name)
    shop.add(jpeg(4), "new")
    with pool.connection() as connection:
        connection.execute(
            f"insert into images_{library.id} (library_id, sign, digest, brief, embedding)"
            f" select library_id, sign # 1, '\\x01', 'old', embedding from images_{library.id}"
        )
    page = shop.editor.get("/console/", params={"text": "old"}).text
    found = re.search(r"/console/images/([0-9]+,[0-9]+)", page)
    assert found
    assert "unknown" == original(shop, found[1])
    done = shop.editor.send("/console/delete", {"sign": found[1]})
    shop.editor.send("/console/undo", {"change": change_of(done)})
    assert "unknown" == original(shop, found[1])


@one_postgresql
def test_a_migration_stops_no_calls(engine: Engine) -> None:
    """While it waits for a long statement of the version before, short ones go on."""
    with connected(engine) as connection:
        connection.execute("create database before_originals")
        dsn = f"host={connection.info.host} user=postgres dbname=before_originals"
    undo = (
        "alter table images drop column width, drop column height, drop column byte_count;"
        "alter table changed_images drop column width, drop column height, drop column byte_count;"
        "delete from schema_migrations where version = 54;"
        "create table reembedding_7 (like images including all);"
        "insert into apps (api_key, secret_digest) values ('x', '');"
        "insert into libraries (id, app_id, name, capacity, embedding, dimensions)"
        " overriding system value select 7, id, 'x', 9, 'x', 16 from apps;"
        "insert into reembeddings (library_id, embedding, dimensions) values (7, 'y', 16)"
    )
    with psycopg.connect(dsn, autocommit=True) as calls, psycopg.connect(dsn) as export:
        migrate.apply(calls)
        calls.execute(undo.encode())
        export.execute("select count(*) from images")
        with (
            ThreadPoolExecutor(1) as threads,
            psycopg.connect(dsn, autocommit=True) as migrating,
        ):
            migrated = threads.submit(migrate.apply, migrating)
            began_s, calls_done = time.monotonic(), 0
            calls.execute("set statement_timeout = '20s'")
            try:
                while time.monotonic() - began_s < 4:
                    calls.execute("select count(*) from images")
                    calls_done += 1
                assert not migrated.done()
            finally:
                export.rollback()
            assert calls_done > 1
            assert "originals" in migrated.result(60)
        calls.execute("select width, height, byte_count from reembedding_7")
