"""Pairs of one image and of one product, to keep one of."""

from __future__ import annotations

import io
import re
from typing import Any

from PIL import Image, ImageOps
from psycopg_pool import ConnectionPool

from demo import drawing
from productsearch_engine.limits import DOUBLES_LOOKED_AT
from productsearch_engine.store.dismissals import Dismissals
from productsearch_engine.store.libraries import Libraries
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import Person, change_of, link, signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg


def files_of(content: bytes) -> list[bytes]:
    """Return other files of an image: smaller, worse, of another kind."""
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGB")
    made = []
    for side, kind, options in (
        (320, "JPEG", {"quality": 50}),
        (1000, "PNG", {}),
        (400, "BMP", {}),
    ):
        file = io.BytesIO()
        ImageOps.contain(image, (side * 2, side)).save(file, kind, **options)
        made.append(file.getvalue())
    return made


def mirrored(content: bytes) -> bytes:
    """Return another image of what is on an image."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        ImageOps.mirror(image).save(file, "JPEG")
    return file.getvalue()


def test_files_of_one_image_are_a_pair(shop: Shop) -> None:
    """However scaled and compressed; other images are none, and each pair stands once."""
    first = jpeg(1, (800, 640))
    stored = [shop.add(first, "first")]
    stored += [shop.add(each, f"file {n}") for n, each in enumerate(files_of(first))]
    for n in range(4):
        shop.add(jpeg(10 + n), f"other {n}")
    page = shop.looker.get("/console/doubles").text
    assert 6 == page.count('<li class="panel">')
    assert "other" not in page
    assert "Keep this one" not in page
    # classic-1 is not calibrated: no line above which a product is the same.
    assert "not calibrated" in page
    assert "Same product" not in page


def test_merging_keeps_what_only_one_has(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """The kept image takes brief and class ids over that it has not; an undo brings the other."""
    image = jpeg(1, (800, 640))
    kept = shop.add(image, " ", class_id1="3")
    dropped = shop.add(files_of(image)[0], "the brief", class_id1="4", class_id2="5")
    pair = {"keep": kept, "drop": dropped, "back": "/console/doubles"}
    assert 403 == shop.looker.send("/console/doubles", pair).status_code
    merged = shop.editor.send("/console/doubles", pair)
    assert merged.headers["location"].startswith("/console/doubles?done=")
    assert [kept] == signs_of(shop.editor.get("/console/"))
    (hit,) = shop.caller.call("search", image=image)["result"]
    assert "the brief" == hit["brief"]
    assert {kept} == {*signs_of(shop.editor.get("/console/?class_id1=3&class_id2=5"))}
    assert 404 == shop.editor.send("/console/doubles", pair).status_code
    assert 404 == shop.editor.send("/console/doubles", pair | {"drop": kept}).status_code
    whole = shop.looker.get(f"/console/changes/{change_of(merged)}").text
    assert "Two images were merged into one." in whole
    assert "undone" not in whole
    shop.editor.send("/console/undo", {"change": change_of(merged)})
    assert {kept, dropped} == {*signs_of(shop.editor.get("/console/"))}
    assert kept not in signs_of(shop.editor.get("/console/?class_id2=5")), "all of it is undone"
    page = shop.editor.get("/console/changes").text
    assert 1 == page.count("Two images were merged into one.")
    assert "image changed" not in page


def test_a_merge_minds_others(shop: Shop) -> None:
    """Nothing is merged if somebody has changed one of the pair since it was shown."""
    image = jpeg(1, (800, 640))
    kept, dropped = shop.add(image, ""), shop.add(files_of(image)[0], "brief")
    page = shop.editor.get("/console/doubles").text
    pair = dict(re.findall(r'name="((?:keep|drop)(?:_version)?)" value="([^"]*)"', page))
    assert {"keep", "drop", "keep_version", "drop_version"} == {*pair}
    pair["back"] = "/console/doubles"
    for sign in (kept, dropped):
        shop.caller.call("update", cont_sign=sign, brief=f"theirs {sign}")
        told = shop.editor.get(shop.editor.send("/console/doubles", pair).headers["location"])
        assert "Nothing was merged" in told.text
        assert {kept, dropped} == {*signs_of(shop.editor.get("/console/"))}
        page = told.text
        pair |= dict(re.findall(r'name="((?:keep|drop)(?:_version)?)" value="([^"]*)"', page))
    merged = shop.editor.send("/console/doubles", pair)
    assert 1 == len(signs_of(shop.editor.get("/console/")))
    shop.editor.send("/console/undo", {"change": change_of(merged)})
    assert {kept, dropped} == {*signs_of(shop.editor.get("/console/"))}


@one_postgresql
def test_the_list_goes_through_the_library(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A page looks at so many images, and says where to go on."""
    shop.add(jpeg(1))
    with pool.connection() as connection:
        connection.execute(
            "insert into images (library_id, sign, digest, brief, embedding, created_at)"
            " select library_id, sign + n, digest || n::text::bytea, brief,"
            " i.embedding, i.created_at + n * interval '1 second'"
            " from images i join libraries l on l.id = library_id, generate_series(1, %s) n"
            " where l.name = %s",
            [DOUBLES_LOOKED_AT, shop.name],
        )
    page = shop.looker.get("/console/doubles")
    following = link(page, "next")
    assert following is not None
    last = shop.looker.get(following)
    assert "1 image was compared" in last.text
    assert link(last, "next") is None


def test_images_of_one_product(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """With a calibrated embedding images above the line are pairs, and files of one image not."""
    Libraries(pool).delete(shop.name)
    Libraries(pool).create(
        shop.name,
        capacity=100,
        embedding="compact-1",
        dimensions=_dimensions("compact-1"),
        api_key=shop.keys[0],
    )
    owner = Person(shop.caller.url)
    assert 303 == owner.sign_in(*shop.keys).status_code
    white = drawing.draw("mug", "red", "white")
    sign = shop.add(white, "white")
    shop.add(mirrored(white), "mirrored")
    shop.add(drawing.draw("lamp", "green", "white"), "lamp")
    # Of one colour in the middle of white: near to each other, and not the same image.
    for shape in ("jar", "can", "bag"):
        shop.add(drawing.draw(shape, "red", "white"), f"red {shape}")
    shop.add(files_of(white)[1], "file")
    products = owner.get("/console/doubles?kind=product").text
    images = owner.get("/console/doubles").text
    assert 1 == images.count('<li class="panel">')
    assert sign in images
    assert "mirrored" not in images
    assert "red " not in images
    assert "mirrored" in products
    assert "lamp" not in products
    owner.close()


def _dimensions(name: str) -> int:
    from productsearch_engine.embedding.load import load

    return load(name).dimensions


def test_a_pair_is_dismissed(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """It is shown no more, to nobody, until somebody takes that back; a purge forgets it."""
    image = jpeg(1, (800, 640))
    one, other = shop.add(image, "one"), shop.add(files_of(image)[0], "other")
    page = shop.editor.get("/console/doubles").text
    pair = re.findall(r'name="pair" value="([^"]*)"', page)[0]
    assert {one, other} == {*pair.split("~")}
    assert "Keep both" in page
    fields = {"pair": pair, "back": "/console/doubles"}
    assert 403 == shop.looker.send("/console/doubles/dismiss", fields).status_code
    for _ in range(2):
        told = shop.editor.send("/console/doubles/dismiss", fields).headers["location"]
    page = shop.editor.get(told).text
    assert "The pair is not shown any more." in page
    assert 'action="/console/doubles/take-back"' in page
    assert "take-back" not in shop.looker.get(told).text
    assert '<li class="panel">' not in shop.looker.get("/console/doubles").text
    listed = shop.looker.get("/console/doubles/dismissed").text
    assert 1 == listed.count('<li class="panel">')
    assert "Show again" not in listed
    # One that is deleted is not shown; it may come back.
    deleted = shop.editor.send("/console/delete", {"sign": one})
    assert "No pair here" not in shop.editor.get("/console/doubles/dismissed").text
    assert '<li class="panel">' not in shop.editor.get("/console/doubles/dismissed").text
    shop.editor.send("/console/undo", {"change": change_of(deleted)})
    back = {"pair": "~".join(reversed(pair.split("~")))}
    assert 303 == shop.editor.send("/console/doubles/take-back", back).status_code
    assert 409 == shop.editor.send("/console/doubles/take-back", back).status_code
    assert 1 == shop.looker.get("/console/doubles").text.count('<li class="panel">')
    for wrong in ("", "x", one, f"{one}~{one}", f"{one}~1,1", f"{one}~{other}~{one}"):
        refused = shop.editor.send("/console/doubles/dismiss", {"pair": wrong})
        assert 404 == refused.status_code, wrong
    for query in ("before=x", "before=" + "9" * 18, "before=-1", "told=dismissed&pair=x"):
        assert 200 == shop.editor.get(f"/console/doubles/dismissed?{query}").status_code, query


def test_dismissed_pairs_are_pages(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Each of them is listed once, the newest first."""
    dismissals, library = Dismissals(pool), Libraries(pool).named(shop.name)
    for number in range(1, 6):
        dismissals.dismiss(library, (0, number), "me")
    found = [(each.sign, each.other) for each in dismissals.last(library, 9)]
    assert [(0, number) for number in range(5, 0, -1)] == found
    first = dismissals.last(library, 3)
    second = dismissals.last(library, 9, first[-1].dismissed_at)
    assert found == [(each.sign, each.other) for each in (*first[:-1], *second)]
    assert {(0, 2)} == dismissals.among(library, [(2, 0), (7, 0), (2, 1)])


@one_postgresql
def test_each_of_many_equal_images_is_in_a_pair(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Also if more than are compared with it were added later: all can be found and merged."""
    many_images = 12
    shop.add(jpeg(1))
    with pool.connection() as connection:
        many.multiply(connection, shop.name, many_images - 1)
    address: str | None = "/console/doubles"
    found: set[str] = set()
    while address:
        page = shop.editor.get(address)
        found |= {*re.findall(r'name="keep" value="([0-9,]+)"', page.text)}
        address = link(page, "next")
    assert {*signs_of(shop.editor.get("/console/"))} == found
    assert many_images == len(found)
