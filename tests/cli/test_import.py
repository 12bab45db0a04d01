"""Imports: everything good there once, everything bad told, and a run goes on where it stopped."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.importing.events import SCHEMA
from tests.cli.conftest import Cli
from tests.conftest import ServerFactory
from tests.fakes.remembering_upstream import RememberingUpstream
from tests.fakes.upstream import error
from tests.pictures import draw, encode, jpeg
from tests.ports import free_port


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of ten images in two folders."""
    folder = tmp_path / "photos"
    for seed in range(10):
        file = folder / ("12" if seed < 5 else "13") / f"sku-{seed}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(seed))
    return folder


def _summary(ran: Any) -> dict[str, Any]:
    (summary,) = ran.rows
    return dict(summary)


def _rejects(file: Path) -> dict[str, str]:
    with file.open(newline="", encoding="utf-8") as lines:
        return {row["key"]: row["reason"] for row in csv.DictReader(lines)}


def test_a_folder_is_imported_once(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """Briefs by template, classes by folder; the second run makes no call and reads no image."""
    ran = cli("import", photos, "--brief", '{"id":"{stem}"}', "--class-id1", "{folder}", "--json")
    summary = _summary(ran)
    assert (0, 10, 10, 0, 0) == (
        ran.code,
        summary["total"],
        summary["created"],
        summary["rejected"],
        summary["left"],
    )
    told = {(stored.brief, stored.classes["class_id1"]) for stored in shop.stored.values()}
    assert {(f'{{"id":"sku-{n}"}}', "12" if n < 5 else "13") for n in range(10)} == told
    for file in photos.rglob("*.jpg"):
        file.chmod(0)
    again = cli("import", photos, "--brief", '{"id":"{stem}"}', "--class-id1", "{folder}")
    assert "done 10 + rejected 0 + left 0 = total 10" == again.err.splitlines()[0]
    assert {"add": 10} == shop.asked


def test_a_journal_moves_with_its_source(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path, tmp_path: Path
) -> None:
    """Moved, and copied to another machine (other mtimes): nothing is added again."""
    cli("import", photos)
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(photos, moved, copy_function=shutil.copyfile)
    shutil.rmtree(photos)
    ran = cli("import", moved, "--json")
    copied = _summary(ran)
    assert (0, 10, 0, 0) == (ran.code, copied["done"], copied["created"], copied["calls"])
    (moved / "12" / "new.jpg").write_bytes(jpeg(99))
    assert 1 == _summary(cli("import", moved, "--json"))["created"]
    assert {"add": 11} == shop.asked


def _spoil(photos: Path) -> dict[str, str]:
    """Add bad files of many kinds; return key -> the reason that each has to get."""
    folder = photos / "bad"
    folder.mkdir()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"this is no image")
    (folder / "webp.jpg").write_bytes(encode(draw(50), "WEBP"))
    (folder / "small.jpg").write_bytes(jpeg(51, 100, 400))
    (folder / "long.jpg").write_bytes(jpeg(52, 5000, 300))
    (folder / "heavy.png").write_bytes(jpeg(53) + bytes(4_000_000))
    (folder / "huge.jpg").write_bytes(jpeg(54) + bytes(20_980_000))
    (folder / "cut.jpg").write_bytes(jpeg(55)[:1500])
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    (folder / f"{'n' * 240}.jpg").write_bytes(jpeg(56))
    return {
        "bad/empty.jpg": "IMAGE_UNREADABLE",
        "bad/text.jpg": "IMAGE_UNREADABLE",
        "bad/webp.jpg": "IMAGE_UNREADABLE",
        "bad/small.jpg": "IMAGE_SIZE_INVALID",
        "bad/long.jpg": "IMAGE_SIZE_INVALID",
        "bad/heavy.png": "IMAGE_SIZE_INVALID",
        "bad/huge.jpg": "IMAGE_SIZE_INVALID",
        "bad/cut.jpg": "IMAGE_UNREADABLE",
        "bad/gone.jpg": "FILE_UNREADABLE",
        f"bad/{'n' * 240}.jpg": "FIELD_INVALID",
    }


def test_rejects_are_told_mended_and_imported(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """Ten kinds of bad images; a mended file is found by the next run, a mended row by its file."""
    bad = _spoil(photos)
    brief = "{path} {name}"
    ran = cli("import", photos, "--brief", brief, "--json")
    assert (ExitCode.SOME_REJECTED, 10, 10) == (
        ran.code,
        _summary(ran)["done"],
        _summary(ran)["rejected"],
    )
    rejects = photos / "rejects.csv"
    assert bad == _rejects(rejects)
    # Unchanged rejects are not tried again; one that was mended is.
    (photos / "bad/text.jpg").write_bytes(jpeg(60))
    calls = shop.asked["add"]
    assert 9 == _summary(cli("import", photos, "--brief", brief, "--json"))["rejected"]
    assert calls + 1 == shop.asked["add"]
    assert {*bad} - {"bad/text.jpg"} == {*_rejects(rejects)}
    # Rows are mended in the rejects file: a brief, and another image.
    with rejects.open(newline="", encoding="utf-8") as lines:
        rows = [*csv.DictReader(lines)]
    for row in rows:
        if row["image"].endswith("nnn.jpg"):
            row["brief"] = "short"
        if row["image"] == "bad/gone.jpg":
            row["image"] = "12/../bad/text.jpg"
    with rejects.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    mended = _summary(cli("import", rejects, "--json"))
    assert (2, 7) == (mended["done"], mended["rejected"])
    assert {row["key"] for row in rows} - {f"bad/{'n' * 240}.jpg", "bad/gone.jpg"} == {
        *_rejects(rejects)
    }
    # The source itself knows what was mended elsewhere.
    told = cli("import", photos, "--brief", brief).err.splitlines()[0]
    assert "done 13 + rejected 7 + left 0 = total 20" == told
    # What fit can mend is tried again with it.
    fitted = _summary(cli("import", photos, "--brief", brief, "--fit", "--json"))
    assert 20 - fitted["rejected"] == fitted["done"]
    assert {f"bad/{name}.jpg" for name in ("empty", "cut", "huge", "long")} == {*_rejects(rejects)}


def test_the_last_mended_reject_removes_the_file(cli: Cli, target: str, photos: Path) -> None:
    """No rejects, no file."""
    (photos / "bad.jpg").write_bytes(b"x")
    assert 3 == cli("import", photos).code
    (photos / "bad.jpg").write_bytes(jpeg(70))
    assert (0, False) == (cli("import", photos).code, (photos / "rejects.csv").exists())


def test_the_same_image_twice_costs_one_call(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """The second one is kept under the first one's signature; find knows both."""
    cli("import", photos)
    (photos / "twin.jpg").write_bytes(jpeg(3))
    assert 1 == _summary(cli("import", photos, "--json"))["kept"]
    assert {"add": 10} == shop.asked


def test_on_duplicate(cli: Cli, target: str, shop: RememberingUpstream, photos: Path) -> None:
    """What others stored is refused, kept or updated, as asked."""
    first = photos / "12" / "sku-0.jpg"
    cli("add", first, "--brief", "theirs")
    refused = cli("import", photos, "--on-duplicate", "reject", "--json")
    assert (3, 1) == (refused.code, _summary(refused)["rejected"])
    assert {"12/sku-0.jpg": "IMAGE_ALREADY_EXISTS"} == _rejects(photos / "rejects.csv")
    kept = cli("import", photos, "--retry-rejected", "--json")
    assert (0, 1) == (kept.code, _summary(kept)["kept"])
    assert "theirs" in {stored.brief for stored in shop.stored.values()}


def test_the_mapping_is_remembered(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """Without options the next run means the same: no brief is changed; new images get theirs."""
    listed = _csv(photos, "list.csv", "photo,id", "photos/12/sku-0.jpg,7")
    for source, options in (
        (photos, ("--brief", "b {stem}", "--class-id1", "{folder}")),
        (listed, ("--map", "image=photo", "--map", "sku=id", "--brief", "b sku-0")),
    ):
        assert 0 == cli("import", source, *options).code
        asked = dict(shop.asked)
        again = cli("import", source)
        assert (0, asked) == (again.code, shop.asked)
        assert "as before: --" in again.err
        assert shlex.quote(options[-1]) in again.err
    (photos / "12" / "new.jpg").write_bytes(jpeg(33))
    assert 1 == cli("plan", photos, "--json").rows[0]["calls"]
    assert 0 == cli("sync", photos, "--yes").code
    assert "b new" in {stored.brief for stored in shop.stored.values()}


def test_what_is_given_anew_leaves_the_rest_as_it_was(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """One option changes what it says; an empty one takes its option away."""
    assert 0 == cli("import", photos, "--brief", "b {stem}", "--class-id1", "7").code
    briefs = {f"b sku-{n}" for n in range(10)}
    more = cli("import", photos, "--class-id2", "8", "--class-name", "boots=9")
    assert (0, briefs) == (more.code, {stored.brief for stored in shop.stored.values()})
    assert "as before: --brief 'b {stem}' --class-id1 7\n" in more.err
    again = cli("import", photos, "--class-name", "shoes=3")
    assert "as before: --brief 'b {stem}' --class-id1 7 --class-id2 8 --class-name boots=9" in (
        again.err
    )
    assert 0 == cli("import", photos, "--brief", "").code
    assert "12/sku-0.jpg" in {stored.brief for stored in shop.stored.values()}
    assert "--brief" not in cli("import", photos).err


def test_fit_is_remembered(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path, tmp_path: Path
) -> None:
    """Where an import stopped, and with its rejects, images are brought inside the limits."""
    small = tmp_path / "small"
    small.mkdir()
    for number in range(3):
        (small / f"{number}.jpg").write_bytes(jpeg(number, 200, 200))
    (small / "bad.jpg").write_bytes(b"none")
    assert 3 == cli("import", small, "--fit").code
    assert 3 == len(shop.stored)
    (small / "bad.jpg").write_bytes(jpeg(7, 200, 200))
    mended = cli("import", small / "rejects.csv")
    assert (0, 4) == (mended.code, len(shop.stored))
    assert "as before: --fit\n" in mended.err
    (small / "new.jpg").write_bytes(jpeg(8, 200, 200))
    assert "as before: --fit\n" in cli("plan", small).err
    assert 0 == cli("import", small).code
    (small / "last.jpg").write_bytes(jpeg(9, 200, 200))
    assert 3 == cli("import", small, "--no-fit").code
    assert {"last.jpg": "IMAGE_SIZE_INVALID"} == _rejects(small / "rejects.csv")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--brief", "{stem"), "the template {stem has a brace without its other one"),
        (("--class-id1", "a}"), "the template a} has a brace without its other one"),
        (("--brief", "{}"), "the template {} has a brace without its other one"),
        (("--map", "sku=id"), "is a folder, which has no columns"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: tuple[str, str], says: str, cli: Cli, target: str, photos: Path
) -> None:
    """Before anything is begun, and nothing of them is remembered."""
    refused = cli("import", photos, *options)
    assert 2 == refused.code
    assert says in refused.err
    assert not (photos / ".productsearch.journal").exists()


def test_the_own_id_is_a_name_in_templates(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """{sku}, as the help shows it: of a folder, and of a list whose column has another name."""
    listed = _csv(photos, "list.csv", "photo,article", "photos/12/sku-0.jpg,A7")
    assert 0 == cli("import", photos, "--brief", '{"id":"{sku}"}').code
    assert {f'{{"id":"sku-{n}"}}' for n in range(10)} == {it.brief for it in shop.stored.values()}
    mapped = ("--map", "image=photo", "--map", "sku=article", "--on-duplicate", "update")
    assert 0 == cli("import", listed, *mapped, "--brief", '{"id":"{sku}"}').code
    assert '{"id":"A7"}' in {stored.brief for stored in shop.stored.values()}


def test_a_changed_row_updates_what_is_stored(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """Another brief for the same image is an update by signature, not an add."""
    cli("import", photos, "--brief", "old {stem}", "--class-id1", "1")
    changed = _summary(cli("import", photos, "--brief", "new {stem}", "--class-id1", "2", "--json"))
    assert 10 == changed["updated"]
    assert {"add": 10, "update": 10} == shop.asked
    assert {f"new sku-{n}" for n in range(10)} == {item.brief for item in shop.stored.values()}
    lost = cli("import", photos, "--class-id1", "", "--json")
    assert (3, 10) == (lost.code, _summary(lost)["rejected"])
    assert {"CLASS_CANNOT_BE_CLEARED"} == {*_rejects(photos / "rejects.csv").values()}
    assert 0 == cli("import", photos, "--brief", "new {stem}", "--class-id1", "2").code


def _csv(photos: Path, name: str, *rows: str) -> Path:
    file = photos.parent / name
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def test_lists_of_every_kind_mean_the_same(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """CSV, TSV, NDJSON and Parquet with mapped columns; class ids from names."""
    import duckdb

    rows = [
        {"photo": f"photos/12/sku-{n}.jpg", "id": f"sku-{n}", "kind": "boots", "title": f'"{n}"; ö'}
        for n in range(5)
    ]
    files = [photos.parent / f"products{suffix}" for suffix in (".csv", ".tsv", ".ndjson")]
    for file, delimiter in zip(files[:2], ",\t", strict=True):
        with file.open("w", newline="", encoding="utf-8-sig") as written:
            table = csv.DictWriter(written, rows[0], delimiter=delimiter)
            table.writeheader()
            table.writerows(rows)
    files[2].write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    files.append(photos.parent / "products.parquet")
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT * FROM read_json_auto('{files[2]}')) TO '{files[3]}' (FORMAT parquet)"
        )
    expected = {(json.dumps({"t": row["title"]}, ensure_ascii=False), "7") for row in rows}
    for file in files:
        options = ("--map", "image=photo", "--map", "sku=id", "--brief", '{"t": "{title}"}')
        ran = cli("import", file, *options, "--class-id1", "{kind}", "--class-name", "boots=7")
        assert 0 == ran.code, ran.err
        assert expected == {
            (item.brief, item.classes["class_id1"]) for item in shop.stored.values()
        }
        assert 5 == len(shop.stored)
        shop.stored.clear()


def test_rows_that_cannot_be_used_are_rejected(cli: Cli, target: str, photos: Path) -> None:
    """Missing files, bad classes, too many values, an image twice; the rest is imported."""
    file = _csv(
        photos,
        "list.csv",
        "image,sku,brief,class_id1",
        "photos/12/sku-0.jpg,a,one,1",
        "photos/missing.jpg,b,two,1",
        "photos/12/sku-1.jpg,c,three,shoes",
        "photos/12/sku-2.jpg,d,four,1,extra",
        ",e,five,1",
        "photos/12/sku-0.jpg,f,six,1",
        f"photos/12/sku-3.jpg,g,{'x' * 300},1",
        "photos/12/sku-4.jpg,h,ok,65536",
    )
    ran = cli("import", file, "--json")
    assert (3, 2, 6) == (ran.code, _summary(ran)["done"], _summary(ran)["rejected"])
    assert {
        "photos/missing.jpg": "FILE_UNREADABLE",
        "photos/12/sku-1.jpg": "FIELD_INVALID",
        "photos/12/sku-2.jpg": "ROW_INVALID",
        "": "ROW_INVALID",
        "photos/12/sku-3.jpg": "FIELD_INVALID",
        "photos/12/sku-4.jpg": "FIELD_INVALID",
    } == _rejects(photos.parent / "list.rejects.csv")
    # Both own ids of the one image are known.
    signs = {cli("find", name, "--source", file, "--json").rows[0]["cont_sign"] for name in "af"}
    assert 1 == len(signs)


def test_object_storage_is_a_source(
    cli: Cli, target: str, shop: RememberingUpstream, tmp_path: Path, monkeypatch: Any
) -> None:
    """A folder of a storage that fsspec knows; the journal is in the working folder."""
    import fsspec

    monkeypatch.chdir(tmp_path)
    storage = fsspec.filesystem("memory")
    for seed in range(3):
        storage.pipe(f"/bucket/photos/sku-{seed}.jpg", jpeg(seed))
    storage.pipe("/bucket/photos/bad.jpg", b"x")
    ran = cli("import", "memory://bucket/photos", "--json")
    assert (3, 3, 1) == (ran.code, _summary(ran)["done"], _summary(ran)["rejected"])
    storage.pipe("/bucket/photos/bad.jpg", jpeg(5))
    mended = cli("import", str(tmp_path / "photos.rejects.csv"), "--json")
    assert (0, 1) == (mended.code, _summary(mended)["created"])
    assert 4 == len(shop.stored)


def test_a_dry_run_checks_all_and_stores_nothing(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """Here and by the service; neither upstream nor journal nor rejects file hear of it."""
    (photos / "bad.jpg").write_bytes(b"x")
    ran = cli("import", photos, "--dry-run", "--json")
    assert (3, 10, 1) == (ran.code, _summary(ran)["valid"], _summary(ran)["rejected"])
    assert ({}, False) == (shop.asked, (photos / "rejects.csv").exists())
    assert 10 == _summary(cli("import", photos, "--json"))["created"]


def test_events_keep_their_schema(cli: Cli, target: str, photos: Path, tmp_path: Path) -> None:
    """One line each, valid; one item for each image; the last one has the exit code."""
    (photos / "bad.jpg").write_bytes(b"x")
    ran = cli("import", photos, "--events", "-")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for event in ran.rows:
        validator.validate(event)
    kinds = [event["event"] for event in ran.rows]
    assert ["started", *["item"] * 11, "finished"] == kinds
    assert 3 == ran.rows[-1]["exit_code"]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"event": "item", "time": 1, "key": "k", "state": "lost"})


def test_a_used_up_quota_ends_the_run_and_the_next_goes_on(
    cli: Cli, target: str, shop: RememberingUpstream, server: ServerFactory, photos: Path
) -> None:
    """4, with all that was done in the journal."""
    answers: list[Any] = [error(17, "daily limit")] * 100
    done = iter(range(4))

    def until_used_up(request: Any) -> Any:
        if next(done, None) is None:
            return answers.pop()
        shop._always.pop("add")
        try:
            return shop.answer(request)
        finally:
            shop.always("add", until_used_up)

    shop.always("add", until_used_up)
    ran = cli("import", photos, "--at-once", "1", "--json")
    assert (ExitCode.GO_ON_LATER, 4, 6) == (
        ran.code,
        _summary(ran)["done"],
        _summary(ran)["left"],
    )
    shop._always.pop("add")
    tomorrow = f"127.0.0.1:{server({'base_url': shop.url}).port}"
    went_on = cli("import", photos, "-t", tomorrow, "--json")
    assert "done 4 + rejected 0 + left 6 = total 10" == went_on.err.splitlines()[0]
    assert {1} == {*shop.created.values()}
    assert 10 == len(shop.stored)


def test_a_time_limit_ends_the_run(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """4, and what was under way is in the journal."""
    shop.delay_s = 0.2
    ran = cli("import", photos, "--time-limit", "0.3s", "--at-once", "1", "--json")
    summary = _summary(ran)
    assert ExitCode.GO_ON_LATER == ran.code
    assert 0 < summary["done"] < 10
    assert summary["done"] == len(shop.stored)
    assert 10 == summary["done"] + summary["left"]


def test_a_service_that_stays_away_is_6(cli: Cli, photos: Path) -> None:
    """After the patience that was asked for; nothing is rejected for it."""
    nobody = f"127.0.0.1:{free_port()}"
    ran = cli("import", photos, "-t", nobody, "--patience", "1s", "--json")
    assert (6, 0, 10) == (ran.code, _summary(ran)["rejected"], _summary(ran)["left"])
    assert nobody in _summary(ran)["error"]


def test_back_pressure_sets_the_pace(
    cli: Cli, server: ServerFactory, photos: Path, shop: RememberingUpstream
) -> None:
    """A quota of 20 a second at the service: all are stored and the upstream is not overrun."""
    for seed in range(10, 40):
        (photos / f"{seed}.jpg").write_bytes(jpeg(seed))
    target = f"127.0.0.1:{server({'base_url': shop.url, 'quota_qps': 20}).port}"
    ran = cli("import", photos, "-t", target, "--json")
    assert (0, 40) == (ran.code, _summary(ran)["created"])
    assert {1} == {*shop.created.values()}


def test_wrong_usage_begins_nothing(cli: Cli, target: str, photos: Path) -> None:
    """Sources that are none, columns that are missing, templates with unknown names."""
    listed = _csv(photos, "list.csv", "photo,id", "a.jpg,1")
    for arguments in (
        (photos / "missing",),
        (photos.parent / "missing.csv",),
        (photos / "12" / "sku-0.jpg",),
        (listed,),
        (listed, "--map", "image=nonsense"),
        (listed, "--map", "image=photo", "--brief", "{price}"),
        (listed, "--map", "nonsense=photo"),
        (listed, "--map", "image"),
        (photos, "--brief", "{price}"),
        (photos, "--time-limit", "soon"),
        (photos, "--events", photos / "missing" / "file"),
        ("nonsense://bucket",),
    ):
        ran = cli("import", *arguments)
        assert ExitCode.USAGE == ran.code, arguments
        assert "Traceback" not in ran.err


def test_two_imports_of_one_source_exclude_each_other(
    cli: Cli, target: str, photos: Path, locked: Callable[[Path], None]
) -> None:
    """The second one is told so and begins nothing."""
    locked(photos / ".productsearch.journal")
    ran = cli("import", photos)
    assert (ExitCode.USAGE, True) == (ran.code, "another import" in ran.err)


@pytest.fixture
def locked() -> Any:
    """Return a function that holds a journal as a running import does."""
    from productsearch.cli.journal import Journal

    held: list[Journal] = []

    def hold(file: Path) -> None:
        held.append(Journal(file, ""))
        held[-1].lock()

    yield hold
    for journal in held:
        journal.close()


def test_a_broken_journal_is_told(cli: Cli, target: str, photos: Path) -> None:
    """It is neither overwritten nor taken for an empty one."""
    journal = photos / ".productsearch.journal"
    journal.write_bytes(b"something else entirely" * 100)
    ran = cli("import", photos)
    assert (ExitCode.USAGE, True) == (ran.code, "productsearch.journal" in ran.err)
    assert journal.read_bytes().startswith(b"something else")


def test_images_are_verified_by_searches(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """Altered images must come first; this upstream finds one and the same for all of them."""
    ran = cli("import", photos, "--verify", "4", "--json")
    assert (3, 4) == (ran.code, _summary(ran)["verified"])
    assert 3 <= _summary(ran)["verify_missed"] == ran.err.count("not found first")


def test_what_was_under_way_when_a_run_died_is_not_a_duplicate(
    cli: Cli, target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """With --on-duplicate reject: the journal knows that the add may have been carried out."""
    ours, theirs = photos / "12/sku-0.jpg", photos / "12/sku-1.jpg"
    cli("import", photos, "--on-duplicate", "reject", "--at-once", "1")
    with sqlite3.connect(photos / ".productsearch.journal") as database:
        sent = "UPDATE items SET state = 'sent', cont_sign = '', outcome = '' WHERE key = ?"
        database.execute(sent, ("12/sku-0.jpg",))
        database.execute("DELETE FROM items WHERE key = ?", ("12/sku-1.jpg",))
    database.close()
    assert ours.exists()
    ran = cli("import", photos, "--on-duplicate", "reject", "--json")
    assert (3, 1, 1) == (ran.code, _summary(ran)["kept"], _summary(ran)["rejected"])
    key = theirs.relative_to(photos).as_posix()
    assert {key: "IMAGE_ALREADY_EXISTS"} == _rejects(photos / "rejects.csv")


def test_a_service_that_comes_back_is_used_again(
    cli: Cli, server: ServerFactory, shop: RememberingUpstream, photos: Path
) -> None:
    """Within the patience: all images are stored, none is rejected for the outage."""
    port = free_port()
    begin = threading.Timer(1.0, lambda: server({"base_url": shop.url}, listen=f"127.0.0.1:{port}"))
    begin.start()
    ran = cli("import", photos, "-t", f"127.0.0.1:{port}", "--patience", "60s", "--json")
    begin.join()
    assert (0, 10) == (ran.code, _summary(ran)["created"])
    assert _summary(ran)["repeated_calls"] > 0


def test_a_dry_run_names_what_is_bad(cli: Cli, target: str, photos: Path) -> None:
    """One line each, with the reason; a folder without images says so."""
    (photos / "bad.jpg").write_bytes(b"x")
    assert "bad.jpg: IMAGE_UNREADABLE: " in cli("import", photos, "--dry-run").err
    empty = photos / "empty"
    empty.mkdir()
    assert "has no images" in cli("import", empty).err


def test_lines_of_ndjson_that_are_none_are_rejected(cli: Cli, target: str, photos: Path) -> None:
    """The first one too; the others are imported."""
    file = _csv(photos, "list.ndjson", "{no", '{"image": "photos/12/sku-0.jpg"}', "[1]", "", "7")
    ran = cli("import", file, "--json")
    assert (3, 1, 3) == (ran.code, _summary(ran)["done"], _summary(ran)["rejected"])


def test_names_with_wildcards_match_themselves_only(cli: Cli, target: str, photos: Path) -> None:
    """find and forget take names as they are."""
    cli("import", photos)
    for name in ("sku__0.jpg", "%", "sku%.jpg"):
        assert ExitCode.SOME_REJECTED == cli("find", name, "--source", photos).code
    assert 0 == cli("find", "sku-0.jpg", "--source", photos).code
