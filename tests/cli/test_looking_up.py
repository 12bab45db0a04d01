"""find, forget, export, plan and sync: the journal as the mapping that the service lacks."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest

from productsearch.cli.exit_codes import ExitCode
from tests.cli.conftest import Cli
from tests.fakes.remembering_upstream import RememberingUpstream
from tests.pictures import jpeg


@pytest.fixture
def photos(tmp_path: Path, cli: Cli, target: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of five images that were imported; it is the working folder."""
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    for seed in range(5):
        (folder / "a" / f"sku-{seed}.jpg").write_bytes(jpeg(seed))
    assert 0 == cli("import", folder).code
    monkeypatch.chdir(folder)
    return folder


def _signs(cli: Cli) -> dict[str, str]:
    table = csv.DictReader(io.StringIO(cli("export").out))
    return {row["sku"]: row["cont_sign"] for row in table}


def test_ids_paths_and_signatures_find_each_other(
    cli: Cli, photos: Path, shop: RememberingUpstream
) -> None:
    """By own id, path, name of the file and signature; what is unknown is told."""
    sign = _signs(cli)["sku-1"]
    assert sign in shop.stored
    for name in ("sku-1", "a/sku-1.jpg", "sku-1.jpg", sign):
        (row,) = cli("find", name, "--json").rows
        assert (sign, "a/sku-1.jpg") == (row["cont_sign"], row["key"])
    assert sign in cli("find", "--cont-sign", sign).out
    assert 3 == cli("find", "sku-1", "sku-9").code
    assert (3, True) == ((none := cli("find", "sku-9")).code, "not in" in none.err)
    assert "\n  next: check the name" in none.err
    assert ExitCode.USAGE == cli("find").code


def test_every_export_has_every_image(cli: Cli, photos: Path, shop: RememberingUpstream) -> None:
    """CSV and NDJSON have the same rows; their signatures are those in the library."""
    ndjson = cli("export", "--format", "ndjson").rows
    assert [*csv.DictReader(io.StringIO(cli("export").out))] == ndjson
    assert {row["cont_sign"] for row in ndjson} == {*shop.stored}


def test_what_is_forgotten_is_gone_in_both(
    cli: Cli, photos: Path, shop: RememberingUpstream
) -> None:
    """Deleted from the library, then from the journal; an image of another entry stays."""
    (photos / "twin.jpg").write_bytes(jpeg(2))
    cli("import", ".")
    before = _signs(cli)
    ran = cli("forget", "sku-1", "sku-2", "--json")
    assert (0, 2) == (ran.code, ran.rows[0]["forgotten"])
    assert before["sku-1"] not in shop.stored
    assert before["twin"] in shop.stored
    assert {"sku-0", "sku-3", "sku-4", "twin"} == {*_signs(cli)}
    assert 3 == cli("forget", "sku-0", "sku-9").code
    assert 3 == cli("forget", "sku-9").code
    # What is still in the source is added by the next import.
    assert 0 == cli("import", ".").code
    assert 5 == len(shop.stored)


def test_a_plan_counts_calls_days_and_money(
    cli: Cli, photos: Path, shop: RememberingUpstream, tmp_path: Path
) -> None:
    """New, changed, gone; from flags or the profile; nothing is sent and nothing left behind."""
    (photos / "new.jpg").write_bytes(jpeg(9))
    (photos / "a/sku-0.jpg").write_bytes(jpeg(10))
    (photos / "a/sku-1.jpg").unlink()
    cli("config", "set", "quota_qps", "2")
    asked = dict(shop.asked)
    flags = ("--quota-per-day", "2", "--price-per-1000", "500", "--currency", "EUR")
    (row,) = cli("plan", ".", *flags, "--json").rows
    assert {
        "images": 5,
        "unchanged": 3,
        "rejected_before": 0,
        "adds": 2,
        "updates": 0,
        "deletes": 2,
        "calls": 3,
        "seconds": 1.5,
        "days_of_quota": 2,
        "money": 1.5,
        "currency": "EUR",
    } == {name: value for name, value in row.items() if name != "megabytes"}
    assert asked == shop.asked
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "a.jpg").write_bytes(jpeg(1))
    assert 1 == cli("plan", fresh, "--json").rows[0]["adds"]
    assert ["a.jpg"] == [file.name for file in fresh.iterdir()]


def test_sync_makes_the_library_equal_to_the_folder(
    cli: Cli, photos: Path, shop: RememberingUpstream
) -> None:
    """Adds, replaces, updates and deletes; a second sync does nothing."""
    cli("add", photos / "a/sku-0.jpg", "--on-duplicate", "keep")
    others = photos.parent / "theirs.jpg"
    others.write_bytes(jpeg(77))
    cli("add", others, "--brief", "theirs")
    (photos / "new.jpg").write_bytes(jpeg(9))
    (photos / "a/sku-0.jpg").write_bytes(jpeg(10))
    (photos / "a/sku-1.jpg").unlink()
    ran = cli("sync", ".", "--brief", "{stem}", "--yes", "--json")
    (row,) = ran.rows
    assert (0, 2, 2, 3) == (ran.code, row["created"], row["deleted"], row["updated"])
    briefs = {"theirs", "new", "sku-0", "sku-2", "sku-3", "sku-4"}
    assert briefs == {stored.brief for stored in shop.stored.values()}
    assert {*_signs(cli).values()} < {*shop.stored}
    asked = dict(shop.asked)
    assert 0 == cli("sync", ".", "--brief", "{stem}", "--json").code
    assert asked == shop.asked


def test_a_renamed_image_stays_in_the_library(
    cli: Cli, photos: Path, shop: RememberingUpstream
) -> None:
    """It is neither deleted nor stored twice; its brief and its key are the new ones."""
    sign = _signs(cli)["sku-1"]
    (photos / "a/sku-1.jpg").rename(photos / "renamed.jpg")
    assert 0 == cli("sync", ".", "--yes").code
    assert (5, "renamed.jpg") == (len(shop.stored), shop.stored[sign].brief)
    assert ({1}, sign) == ({*shop.created.values()}, _signs(cli)["renamed"])
    assert "sku-1" not in _signs(cli)


def test_sync_asks_and_deletes_nothing_by_accident(
    cli: Cli, photos: Path, shop: RememberingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal it wants --yes; an empty folder and an unreadable file delete nothing."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    (photos / "a/sku-1.jpg").unlink()
    assert ExitCode.USAGE == cli("sync", ".").code
    (photos / "a/sku-2.jpg").unlink()
    (photos / "a/sku-2.jpg").symlink_to("nowhere")
    ran = cli("sync", ".", "--yes", "--json")
    assert (3, 1) == (ran.code, ran.rows[0]["deleted"])
    assert 4 == len(shop.stored)
    for file in (photos / "a").iterdir():
        file.unlink()
    emptied = cli("sync", ".", "--yes")
    assert (ExitCode.USAGE, True) == (emptied.code, "mounted" in emptied.err)
    assert 4 == len(shop.stored)


def test_status_tells_how_far_an_import_is(cli: Cli, photos: Path) -> None:
    """Beside whether the service answers."""
    (row,) = cli("status", "--source", ".", "--json").rows
    assert (True, 5) == (row["answers"], row["done"])


def test_without_a_journal_nothing_is_made(cli: Cli, tmp_path: Path, target: str) -> None:
    """find, forget and export say that nothing was imported from there."""
    for command in (("find", "x"), ("forget", "x"), ("export",)):
        ran = cli(*command, "--source", tmp_path)
        assert (ExitCode.USAGE, True) == (ran.code, "no journal" in ran.err)
    assert not (tmp_path / ".productsearch.journal").exists()
