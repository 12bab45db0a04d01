"""A library gets another embedding while it is used: nothing fails, nothing is lost, and back."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from demo.processes import Engine, ServerError
from tests.engine.calling import code_of, signs_of
from tests.engine.databases import connected
from tests.pictures import draw, encode, jpeg
from tests.reembed.using import (
    FROM,
    TO,
    Use,
    fill,
    kill_in_the_middle,
    library,
    listed,
    rows,
)

IMAGES = 200


@pytest.fixture(scope="module")
def own_engine() -> Iterator[Engine]:
    """An engine of this module's own, whose libraries get the older embedding."""
    with Engine(environment={"PRODUCTSEARCH_ENGINE_EMBEDDING": FROM}) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_change_goes_on_while_the_library_is_used(own_engine: Engine) -> None:
    """Killed in the middle, run again, and back: no call fails, images are found with their own
    briefs, none is lost, and deleted ones are gone from every table."""
    with library(own_engine, "used") as caller:
        signs = fill(caller, IMAGES)
        number = listed(own_engine, "used")["id"]
        with Use(own_engine, caller, 10_000) as use:
            killed_at = kill_in_the_middle(own_engine, "used", number)
            assert 0 < killed_at < IMAGES + len(use.added)
            assert FROM == listed(own_engine, "used")["embedding"]
            changed, deleted = signs[-1], signs[-2]
            assert 0 == code_of(caller.call("update", cont_sign=changed, brief="new"))
            assert 0 == code_of(caller.call("delete", cont_sign=deleted))
            said = own_engine.command("reembed", "used", "--embedding", TO)
            assert "min_score before -> after" in said
            use_seen = len(use.added)
            while len(use.added) < use_seen + 5:
                time.sleep(0.05)
            assert TO == listed(own_engine, "used")["embedding"]
            own_engine.command("reembed", "used", "--embedding", FROM)
            while len(use.added) < use_seen + 10:
                time.sleep(0.05)
        assert [] == use.failures
        assert use.calls > 50
        assert FROM == listed(own_engine, "used")["embedding"]
        for seed, sign in [*[*enumerate(signs[:-2])][::4], *use.added]:
            hit = caller.call("search", image=jpeg(seed), rn="1")["result"][0]
            assert (sign, str(seed), 1.0) == (hit["cont_sign"], hit["brief"], hit["score"])
        assert "new" == caller.call("search", image=jpeg(IMAGES - 1), rn="1")["result"][0]["brief"]
        digest = hashlib.sha256(jpeg(IMAGES - 2)).digest()
        left = [
            rows(own_engine, f"select count(*) from {table} where digest = %s", digest)[0][0]
            for table in (f"images_{number}_2", f"reembedding_{number}")
        ]
        assert [0, 0] == left
        stored = IMAGES - 1 + len(use.added)
        assert stored == listed(own_engine, "used")["image_count"]
        assert stored == rows(own_engine, f"select count(*) from kept_{number}")[0][0]


_ORIGINALS = (
    "select sign, width, height, byte_count from images"
    " where library_id = %s and byte_count is not null order by sign"
)


@pytest.mark.slow
def test_there_and_back(own_engine: Engine) -> None:
    """The switch changes embedding and scores at once, for a day there is a way back, and images
    added meanwhile are found on both sides."""
    with library(own_engine, "there") as caller:
        signs = fill(caller, 6)
        number = listed(own_engine, "there")["id"]
        originals = rows(own_engine, _ORIGINALS, number)
        assert 6 == len(originals)
        said = own_engine.command("reembed", "there", "--embedding", TO)
        assert originals == rows(own_engine, _ORIGINALS, number), "the size of the file stays known"
        assert f"served with {TO}" in said
        assert said.endswith(
            f"-m productsearch_engine reembed there --embedding {FROM} --data {own_engine.data}\n"
        )
        late = fill(caller, 2, first=6)
        for seed, sign in enumerate([*signs, *late]):
            assert [sign] == signs_of(caller.call("search", image=jpeg(seed), rn="1"))
        own_engine.command("reembed", "there", "--embedding", FROM)
        for seed, sign in enumerate([*signs, *late]):
            hit = caller.call("search", image=jpeg(seed), rn="1")["result"][0]
            assert (sign, 1.0) == (hit["cont_sign"], hit["score"])
        with pytest.raises(ServerError, match="has the embedding classic-1 already"):
            own_engine.command("reembed", "there", "--embedding", FROM)
        own_engine.command("reembed", "there", "--discard")
        assert rows(own_engine, "select to_regclass(%s) is null", f"reembedding_{number}")[0][0]
        own_engine.command("library", "delete", "there", "--yes")
        tables = "select count(*) from pg_class where relname ~ %s"
        assert (
            0 == rows(own_engine, tables, f"^(images|nearest|kept|reembedding)_{number}(_|$)")[0][0]
        )


@pytest.mark.slow
def test_from_one_version_to_the_next(own_engine: Engine) -> None:
    """Versions of ``compact`` have vectors of one length along the same axes, and each image
    is found by its own after the switch, there and back."""
    with library(own_engine, "versions") as caller:
        own_engine.command("reembed", "versions", "--embedding", "compact-2")
        own_engine.command("reembed", "versions", "--discard")
        signs = fill(caller, 6)
        for version in (TO, "compact-2"):
            own_engine.command("reembed", "versions", "--embedding", version)
            assert version == listed(own_engine, "versions")["embedding"]
            for seed, sign in enumerate(signs):
                assert [sign] == signs_of(caller.call("search", image=jpeg(seed), rn="1"))


@pytest.mark.slow
def test_a_day_later_the_old_vectors_are_dropped(own_engine: Engine) -> None:
    """The table from before stays a day, and not longer than the next start or reembed."""
    with library(own_engine, "old") as caller:
        fill(caller, 3)
        own_engine.command("reembed", "old", "--embedding", TO)
        number = listed(own_engine, "old")["id"]
        there = "select to_regclass(%s) is not null"
        for age, kept in (("23 hours", True), ("25 hours", False)):
            with connected(own_engine) as connection:
                connection.execute(
                    f"update reembeddings set served_until = now() - interval '{age}'"
                )
            with pytest.raises(ServerError):
                own_engine.command("reembed", "old", "--embedding", TO)
            assert kept == rows(own_engine, there, f"reembedding_{number}")[0][0]


@pytest.mark.slow
def test_without_copies_it_is_refused(own_engine: Engine) -> None:
    """A library without copies is refused with their number, until its images are added again;
    switching copies off drops them."""
    with library(own_engine, "bare") as caller:
        own_engine.command("library", "keep-images", "bare", "off")
        time.sleep(5.1)  # as long as the engine goes by what it knows of a library
        fill(caller, 4)
        with pytest.raises(ServerError, match="4 of 4 images"):
            own_engine.command("reembed", "bare", "--embedding", TO)
        own_engine.command("library", "keep-images", "bare", "on")
        time.sleep(5.1)
        for seed in range(3):
            assert 216681 == code_of(caller.call("add", image=jpeg(seed), brief="again"))
        with pytest.raises(ServerError, match="1 of 4 images"):
            own_engine.command("reembed", "bare", "--embedding", TO)
        assert 216681 == code_of(caller.call("add", image=jpeg(3), brief="again"))
        own_engine.command("reembed", "bare", "--embedding", TO)
        assert TO == listed(own_engine, "bare")["embedding"]
        number = listed(own_engine, "bare")["id"]
        own_engine.command("library", "keep-images", "bare", "off")
        assert rows(own_engine, "select to_regclass(%s) is null", f"kept_{number}")[0][0]
        assert signs_of(caller.call("search", image=jpeg(1), rn="1"))


def test_the_copy_goes_with_its_image(own_engine: Engine) -> None:
    """A copy is a WebP of at most 512 pixels, and is deleted with its image, also by a statement
    of the engine version before, which knows of no copies."""
    with library(own_engine, "copies") as caller:
        wide = encode(draw(1, 1600, 700), quality=90)
        signs = [
            caller.call("add", image=image, brief="")["cont_sign"]
            for image in (wide, jpeg(2), jpeg(3))
        ]
        number = listed(own_engine, "copies")["id"]
        copies = [row[0] for row in rows(own_engine, f"select webp from kept_{number}")]
        sizes = {_webp(copy).size for copy in copies}
        assert {(512, 224), (320, 320)} == sizes
        assert 0 == code_of(caller.call("delete", cont_sign=signs[0]))
        with connected(own_engine) as connection:
            connection.execute(
                f"delete from images_{number} where digest = %s", [hashlib.sha256(jpeg(2)).digest()]
            )
        assert 1 == rows(own_engine, f"select count(*) from kept_{number}")[0][0]


@pytest.mark.slow
def test_one_change_at_a_time(own_engine: Engine) -> None:
    """Another target is refused while one is under way or can be taken back; --discard ends that;
    without --no-switch a change goes on."""
    with library(own_engine, "half") as caller:
        fill(caller, 3)
        said = own_engine.command("reembed", "half", "--embedding", TO, "--no-switch")
        assert "goes on serving" in said
        assert FROM == listed(own_engine, "half")["embedding"]
        with connected(own_engine) as connection:
            connection.execute("update reembeddings set embedding = 'other-1'")
        with pytest.raises(ServerError, match="is half way to other-1"):
            own_engine.command("reembed", "half", "--embedding", TO)
        own_engine.command("reembed", "half", "--discard")
        own_engine.command("reembed", "half", "--embedding", TO)
        with pytest.raises(ServerError, match="no library 'none'"):
            own_engine.command("reembed", "none", "--embedding", TO)


@pytest.mark.slow
def test_pins_lost_by_the_switch_are_reported(own_engine: Engine, tmp_path: Path) -> None:
    """Each pinned search is tried with both embeddings before the switch."""
    with library(own_engine, "pinned") as caller:
        fill(caller, 3)
        (tmp_path / "query.jpg").write_bytes(jpeg(1, 400, 400))
        digest = hashlib.sha256(jpeg(1)).hexdigest()
        pin = {"protocol": "any", "query": "query.jpg", "find": "1.jpg", "digest": digest}
        absent = pin | {"digest": "00" * 32}
        file = tmp_path / "pins.json"
        file.write_text(json.dumps({"pins": [pin | {"within": 1}, absent]}))
        said = own_engine.command("reembed", "pinned", "--embedding", TO, "--pins", str(file))
        assert "1 hold, 0 get lost" in said
        assert f"1 say nothing: {FROM} does not find" in said


def _webp(content: bytes) -> Image.Image:
    import io

    return Image.open(io.BytesIO(content), formats=("WEBP",))
