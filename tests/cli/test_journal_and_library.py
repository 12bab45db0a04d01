"""The journal says what the library has: images of others stay, briefs are told, gaps are found."""

from __future__ import annotations

import csv
import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.journal import DONE, Journal, Row
from tests.cli.conftest import Cli
from tests.fakes.remembering_upstream import RememberingUpstream
from tests.pictures import jpeg


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return two sources; the second one has an image of the first one, and one of its own."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, seeds in ((theirs, (0, 1)), (ours, (1, 2))):
        folder.mkdir()
        for seed in seeds:
            (folder / f"{folder.name}-{seed}.jpg").write_bytes(jpeg(seed))
    return theirs, ours


def _briefs(shop: RememberingUpstream) -> set[str]:
    return {stored.brief for stored in shop.stored.values()}


def _exported(cli: Cli, source: Path) -> dict[str, str]:
    table = csv.DictReader(io.StringIO(cli("export", source).out))
    return {row["key"]: row["brief"] for row in table}


@pytest.mark.parametrize("policy", ["keep", "update"])
@pytest.mark.parametrize("way", ["forget", "sync"])
def test_an_image_of_another_source_is_never_deleted(
    cli: Cli,
    target: str,
    shop: RememberingUpstream,
    folders: tuple[Path, Path],
    policy: str,
    way: str,
) -> None:
    """Kept or updated, forgotten or gone from the source, also after its brief was changed."""
    theirs, ours = folders
    cli("import", theirs)
    for template in ("one {stem}", "two {stem}"):
        assert 0 == cli("import", ours, "--on-duplicate", policy, "--brief", template).code
    (ours / "ours-1.jpg").rename(ours / "twin.jpg")
    cli("import", ours, "--on-duplicate", policy)
    (ours / "twin.jpg").unlink()
    (ours / "ours-2.jpg").rename(ours / "ours-3.jpg")
    if way == "forget":
        ran = cli("forget", "twin", "ours-1", "--source", ours, "--json")
    else:
        ran = cli("sync", ours, "--yes", "--json")
    assert (0, 2) == (ran.code, ran.rows[0]["not_ours"]), ran.err
    assert "stay in the library: 2," in ran.err or way == "forget"
    assert 3 == len(shop.stored)
    assert {"ours-1.jpg", "twin.jpg"} & {*_exported(cli, ours)} == set()


def test_what_was_kept_is_deleted_where_that_is_asked_for(
    cli: Cli, target: str, shop: RememberingUpstream, folders: tuple[Path, Path]
) -> None:
    """--also-kept, for forget and for sync; the plan counts it."""
    theirs, ours = folders
    cli("import", theirs)
    cli("import", ours)
    told = cli("forget", "ours-1", "--source", ours)
    assert "--also-kept" in told.err
    cli("import", ours)
    (ours / "ours-1.jpg").unlink()
    assert 0 == cli("sync", ours, "--dry-run", "--json").rows[0]["deletes"]
    assert 1 == cli("sync", ours, "--dry-run", "--also-kept", "--json").rows[0]["deletes"]
    assert 3 == len(shop.stored)
    assert 1 == cli("sync", ours, "--yes", "--also-kept", "--json").rows[0]["deleted"]
    assert 2 == len(shop.stored)


def test_a_kept_row_does_not_claim_its_brief(
    cli: Cli, target: str, shop: RememberingUpstream, folders: tuple[Path, Path]
) -> None:
    """find and export leave it empty; a sync, which updates, writes it once."""
    theirs, ours = folders
    cli("import", theirs)
    cli("import", ours)
    assert {"ours-1.jpg": "", "ours-2.jpg": "ours-2.jpg"} == _exported(cli, ours)
    assert "" == cli("find", "ours-1", "--source", ours, "--json").rows[0]["brief"]
    assert 1 == cli("sync", ours, "--yes", "--json").rows[0]["updated"]
    assert "ours-1.jpg" in _briefs(shop)
    assert "ours-1.jpg" == _exported(cli, ours)["ours-1.jpg"]
    assert 0 == cli("sync", ours, "--json").rows[0]["calls"]


@pytest.mark.parametrize("command", [("import",), ("sync", "--yes")])
def test_of_one_image_under_two_names_one_brief_is_told(
    cli: Cli,
    target: str,
    shop: RememberingUpstream,
    tmp_path: Path,
    command: tuple[str, ...],
) -> None:
    """However many are under way: one name claims the brief, and it is the one in the library.

    When that file goes, the image gets the brief of the other one.
    """
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a", "b", "c"):
        (photos / f"{name}.jpg").write_bytes(jpeg(1))
    ran = cli(*command, photos)
    assert 2 == ran.err.count("are the same image; the library has the brief of"), ran.err
    for left in (3, 2, 1):
        (stored,) = shop.stored.values()
        claimed = {key: brief for key, brief in _exported(cli, photos).items() if brief}
        assert {stored.brief: stored.brief} == claimed
        asked = dict(shop.asked)
        assert 0 == cli("sync", photos, "--yes").code
        assert asked == shop.asked
        if left > 1:
            (photos / stored.brief).unlink()
            gone = cli("sync", photos, "--yes", "--json").rows[0]
            assert (0, 1) == (gone["deleted"], gone["shared"])
    assert {"add": 3 if command[0] == "sync" else 1, "update": shop.asked["update"]} == shop.asked


def test_what_others_deleted_is_found_out_and_added(
    cli: Cli, target: str, shop: RememberingUpstream, folders: tuple[Path, Path]
) -> None:
    """With --check, a call for each image; a kept one too; without, by an update of its brief."""
    theirs, ours = folders
    cli("import", theirs)
    cli("import", ours)
    before = dict(shop.stored)
    assert 0 == cli("import", ours, "--check", "--json").rows[0]["created"]
    assert before == shop.stored
    for file in (ours / "ours-1.jpg", ours / "ours-2.jpg"):
        assert 0 == cli("delete", file).code
    assert 0 == cli("import", ours, "--json").rows[0]["calls"]
    (row,) = cli("import", ours, "--check", "--json").rows
    assert (2, 2, 0, 0) == (row["done"], row["created"], row["left"], row["rejected"])
    assert {"theirs-0.jpg", "ours-1.jpg", "ours-2.jpg"} == _briefs(shop)
    cli("delete", ours / "ours-2.jpg")
    (row,) = cli("sync", ours, "--brief", "new {stem}", "--yes", "--json").rows
    assert (2, 1, 1, 0) == (row["done"], row["created"], row["updated"], row["rejected"])
    assert {"theirs-0.jpg", "new ours-1", "new ours-2"} == _briefs(shop)
    assert ExitCode.USAGE == cli("import", ours, "--check", "--dry-run").code


def test_delete_says_that_a_journal_knows_the_image(
    cli: Cli, target: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By file or by signature; the command that keeps the journal right is named."""
    _, ours = folders
    cli("import", ours)
    sign = cli("find", "ours-1", "--source", ours, "--json").rows[0]["cont_sign"]
    assert "productsearch forget" in cli("delete", ours / "ours-2.jpg").err
    monkeypatch.chdir(ours)
    assert "productsearch forget" in cli("delete", sign).err


def test_a_wrong_library_touches_nothing(
    cli: Cli, target: str, shop: RememberingUpstream, folders: tuple[Path, Path]
) -> None:
    """One call, which is refused; rejects and journal of the right library stay as they are."""
    _, ours = folders
    (ours / "bad.jpg").write_bytes(b"x")
    assert 3 == cli("import", ours).code
    before = {file.name: file.read_bytes() for file in ours.iterdir()}
    asked = dict(shop.asked)
    for command in (("import",), ("sync", "--yes")):
        ran = cli(*command, ours, "--library", "wrong", "--json")
        assert (5, "LIBRARY_UNKNOWN") == (ran.code, ran.rows[0]["reason"])
    assert before == {file.name: file.read_bytes() for file in ours.iterdir()}
    assert asked == shop.asked


def _row(key: str, outcome: str, **told: Any) -> Row:
    values = {"sku": "", "brief": "", "class_id1": "", "class_id2": "", "cont_sign": "1,2"}
    return Row(library="", key=key, digest=key, image=key, origin=b"", fit=False, state=DONE,
               outcome=outcome, **{**values, **told})  # fmt: skip


def test_a_journal_of_the_first_version_is_read(tmp_path: Path) -> None:
    """What it says was created is ours; what it says was kept or updated may be another's."""
    file = tmp_path / "journal"
    with Journal(file, "") as journal:
        journal.write([_row("a", "created"), _row("b", "updated", cont_sign="3,4")])
    with sqlite3.connect(file) as database:
        database.execute("ALTER TABLE items DROP COLUMN ours")
        database.execute("PRAGMA user_version = 1")
    database.close()
    with Journal(file, "") as journal:
        assert {"a": True, "b": False} == {row.key: row.ours for row in journal.in_library()}
