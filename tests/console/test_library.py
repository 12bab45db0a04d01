"""The page of a library: room, growth, keys, export; and the files that are not ours."""

from __future__ import annotations

import gzip
import hashlib
import html
import io
import json
import re
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool, PoolTimeout

from demo.processes import Engine
from productsearch_engine.limits import LIBRARY_REMEMBERED_S, SEARCH_COUNTS_MAX
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.reembeddings import Reembeddings
from productsearch_engine.store.search_counts import SearchCounts
from tests.console.conftest import Shop, made_shop
from tests.console.person import Person
from tests.engine.calling import Caller
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

STATIC = Path(__file__).resolve().parents[2] / "engine/productsearch_engine/console/static"
VENDORED = json.loads((STATIC / "vendor/vendored.json").read_text("utf-8"))


@pytest.fixture(scope="module", autouse=True)
def searched(engine: Engine, pool: ConnectionPool[Any]) -> Iterator[Shop]:
    """A library in which calls have searched; the engine writes that down while other tests run."""
    made = made_shop(engine, pool)
    made.add(jpeg(1))
    for n in range(3):
        assert 1 == made.caller.call("search", image=jpeg(n))["result_num"]
    assert "error_code" in made.caller.call("search", image=b"no image")
    yield made
    made.close()


def test_the_library_grows(shop: Shop) -> None:
    """Room is added at once; a number that is none is refused with the rule."""
    assert "0 of 500,000" in shop.looker.get("/console/library").text
    assert 303 == shop.editor.send("/console/library/grow", {"by": "250"}).status_code
    assert "0 of 500,250" in shop.looker.get("/console/library").text
    assert 403 == shop.looker.send("/console/library/grow", {"by": "1"}).status_code
    for by in ("0", "-1", "x", "", "10000001", "٣", "9" * 30):
        refused = shop.editor.send("/console/library/grow", {"by": by})
        assert 400 == refused.status_code
        assert "from 1 to 10000000" in refused.text
    page = shop.looker.get("/console/changes?kind=grow").text
    assert 1 == page.count("Room for 250 further images.")
    assert f"edit-{shop.name.removeprefix('shop-')}</td>" in page
    assert "erased" not in page
    # In the notice and in the list.
    assert 2 == shop.editor.get("/console/changes").text.count('action="/console/undo"')


@one_postgresql
def test_a_delete_lag_is_shown(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Only where it is set. Callers go on to find what was deleted, and the console does not."""
    sign = shop.caller.call("add", image=jpeg(1), brief="lagging")["cont_sign"]
    assert "lagging" in shop.looker.get("/console/").text
    assert "callers find them" not in shop.looker.get("/console/library").text
    LibrarySettings(pool).lag_deletes(shop.name, 14_400)
    time.sleep(LIBRARY_REMEMBERED_S + 0.1)
    assert "callers find them for 14,400 s" in shop.looker.get("/console/library").text
    shop.caller.call("delete", cont_sign=sign)
    assert 1 == shop.caller.call("search", image=jpeg(1))["result_num"]
    assert "lagging" not in shop.looker.get("/console/").text
    time.sleep(LIBRARY_REMEMBERED_S + 0.1)
    assert "0 of 500,000" in shop.looker.get("/console/library").text


@one_postgresql
def test_what_is_there_is_shown(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Adds by day, the index, members by role, and the embedding that is being computed."""
    for n in range(3):
        shop.add(jpeg(n))
    with pool.connection() as connection:
        connection.execute(
            "update images set created_at = now() - interval '40 days' where sign = (select sign"
            " from images join libraries on id = library_id where name = %s limit 1)",
            [shop.name],
        )
    Reembeddings(pool).begin(Libraries(pool).named(shop.name), "compact-1", 384)
    page = shop.looker.get("/console/library").text
    days, counts = charts(page)[0]
    assert (90, 3) == (len(days), sum(counts))
    assert (2, 1) == (counts[-1], counts[-41])
    assert "0 of 3 images have a vector." in page
    assert "in use" in page
    for name, role in (("edit", "may edit"), ("look", "may look")):
        number = shop.name.removeprefix("shop-")
        assert re.search(rf"{name}-{number}</span> <span class=\"tag\">{role}", page)
    assert "/console/library/rotate" not in page


def charts(page: str) -> list[list[Any]]:
    """Return the days and the counts of adds, and of searches."""
    found = re.findall(r'data-chart="([^"]*)"', page)
    return [json.loads(html.unescape(each)) for each in found]


def test_counts_of_searches_wait_for_the_database() -> None:
    """Nothing is lost while it is away, and what waits is bounded."""

    class Away:
        def connection(self) -> Any:
            raise PoolTimeout

    counts = SearchCounts(Away())  # type: ignore[arg-type]
    for library in range(SEARCH_COUNTS_MAX + 10):
        counts.count(library)
    with pytest.raises(PoolTimeout):
        counts.write()
    counts.count(3)
    counts.count(SEARCH_COUNTS_MAX + 1)
    pending = counts._pending
    assert SEARCH_COUNTS_MAX == len(pending)
    assert SEARCH_COUNTS_MAX + 1 == sum(pending.values())


def test_export(shop: Shop) -> None:
    """Each image is a line, whatever its brief has in it."""
    briefs = ["=cmd", '{"a": "字"}', "two\nlines", "\u2028"]
    signs = [shop.add(jpeg(n), brief, class_id1="7") for n, brief in enumerate(briefs)]
    answer = shop.looker.get("/console/library/images.jsonl")
    assert "attachment" in answer.headers["content-disposition"]
    lines = [json.loads(line) for line in answer.content.decode().split("\n")[:-1]]
    assert signs == [line["cont_sign"] for line in lines]
    assert briefs == [line["brief"] for line in lines]
    assert {(7, None)} == {(line["class_id1"], line["class_id2"]) for line in lines}


def test_another_secret_key(engine: Engine, shop: Shop) -> None:
    """Who has the present one gets it, once; the old one is refused, also a session of it."""
    owner, other = Person(engine.url), Person(engine.url)
    for person in (owner, other):
        assert 303 == person.sign_in(*shop.keys).status_code
    assert 400 == owner.send("/console/library/rotate").status_code
    for person in (shop.editor, shop.looker):
        assert "/console/library/rotate" not in person.get("/console/library").text
        assert 403 == person.send("/console/library/rotate", {"sure": "1"}).status_code
    assert 200 == other.get("/console/").status_code
    page = owner.send("/console/library/rotate", {"sure": "1"})
    (secret,) = re.findall(r"<code>([A-Za-z0-9]{32})</code>", page.text)
    assert "no-store" == page.headers["cache-control"]
    for person in (owner, other):
        assert 303 == person.get("/console/").status_code
    assert 1 == shop.editor.get("/console/changes?kind=rotate").text.count("A new secret key was")
    assert 401 == Person(engine.url).sign_in(*shop.keys).status_code
    assert 303 == owner.sign_in(shop.keys[0], secret).status_code
    assert secret not in owner.get("/console/library").text
    caller = Caller(engine.url, shop.caller.api_key, secret)
    assert "result" in caller.call("search", image=jpeg(1))
    caller.close()
    # Who signed in with a password of their own goes on.
    assert 200 == shop.editor.get("/console/").status_code
    assert secret not in engine.log()


def test_vendored_files_are_as_listed() -> None:
    """Each has its version, licence and SHA-256; nothing else is there; no code is evaluated."""
    listed = set()
    for name, package in VENDORED.items():
        assert package["licence"] in ("MIT", "ISC", "0BSD", "BSD-3-Clause")
        for file, facts in package["files"].items():
            path = STATIC / "vendor" / name / file
            listed.add(path)
            assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert not re.search(r"\beval\(|new Function", path.read_text("utf-8"))
    found = {each for each in (STATIC / "vendor").rglob("*") if each.is_file()}
    assert found == listed | {STATIC / "vendor/vendored.json"}


def test_scripts_and_styles_are_small() -> None:
    """All scripts together at most 60 KB as gzip, all styles 20 KB."""
    for ending, most in (("*.js", 60_000), ("*.css", 20_000)):
        size = sum(len(gzip.compress(each.read_bytes())) for each in STATIC.rglob(ending))
        assert size <= most


@pytest.mark.slow
def test_vendored_files_are_the_registrys(tmp_path: Path) -> None:
    """What npm gives for the version has the same bytes."""
    for name, package in VENDORED.items():
        done = subprocess.run(
            ["npm", "pack", f"{name}@{package['version']}", "--silent"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        archive = (tmp_path / done.stdout.strip()).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            for file, facts in package["files"].items():
                content = opened.extractfile(facts["from"])
                assert content is not None
                assert (STATIC / "vendor" / name / file).read_bytes() == content.read()


def test_searches_are_counted(searched: Shop, shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Answered calls by day, of all engines together; refused ones and other libraries' are not."""
    counts = SearchCounts(pool)
    library, gone = Libraries(pool).named(searched.name), 10**9
    for each in (library.id, library.id, gone):
        counts.count(each)
    counts.write()
    counts.write()
    long_ago = "insert into searches values (%s, date_trunc('hour', now()) - interval %s, 7)"
    with pool.connection() as connection:
        for age in ("40 days", "200 days"):
            connection.execute(long_ago.replace("interval %s", "%s::interval"), [library.id, age])
    counts.write()
    with pool.connection() as connection:
        rows = "select count from searches where library_id in (%s, %s) order by hour"
        kept = connection.execute(rows, [library.id, gone]).fetchall()
    # The engine has not written its own yet, or some, or all.
    assert ((7,), True) == (kept[0], 2 <= kept[-1][0] <= 5)
    assert 2 == len(kept)
    until = time.monotonic() + 60
    while 12 != sum(charts(searched.looker.get("/console/library").text)[1][1]):
        assert time.monotonic() < until
        time.sleep(0.5)
    days, searches = charts(searched.looker.get("/console/library").text)[1]
    assert (90, 7, 5) == (len(days), searches[-41], searches[-1])
    assert 0 == sum(charts(shop.looker.get("/console/library").text)[1][1])
