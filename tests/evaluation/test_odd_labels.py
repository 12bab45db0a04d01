"""Labels as strangers have them: odd tables, folders and names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from productsearch_engine import cli
from productsearch_engine.evaluation import charts, labels
from productsearch_engine.evaluation.dataset import DatasetError, Item, read
from productsearch_engine.evaluation.protocols import offered

NAMES = ("a-1.jpg", "a-2.jpg", "b-1.jpg", "b-2.jpg")
ROWS = "file,product\n" + "".join(f"{name},{name[0]}\n" for name in NAMES)


def files(folder: Path, *names: str) -> Path:
    """Make files with different contents; return the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a table beside the files that it names; return it."""
    found = files(folder, *NAMES) / "labels.csv"
    found.write_bytes(text.encode(encoding))
    return found


def products(items: list[Item]) -> dict[str, str]:
    """Return each file's product."""
    return {item.path.name: item.product for item in items}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (ROWS, "utf-8-sig"),
        (ROWS.replace("\n", "\r\n"), "utf-8"),
        (ROWS.replace(",", ";"), "utf-8-sig"),
        (ROWS.replace(",", "\t"), "utf-8"),
        (ROWS.replace("file,product", "File, Product").replace(",", ", "), "utf-8"),
        (ROWS.replace(",a", ",a "), "utf-8"),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, text: str, encoding: str) -> None:
    """Byte order mark, ends of lines, separators, capitals and spaces change no label."""
    expected = {name: name[0] for name in NAMES}
    assert expected == products(read(table(tmp_path, text, encoding)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,product,colour\na-1.jpg,Mug, red, 500 g,\n", "line 2: more fields than columns"),
        (ROWS + "./a-1.jpg,other\n", r"line 6: .*a-1\.jpg is in line 2 already"),
        (ROWS + "\n\nnone.jpg,x\n", "line 8: no product, or no file"),
        (ROWS + "a-1.jpg, \n", "line 6: no product"),
        (ROWS.replace("product", "sku"), "no column product; there is: file, sku"),
    ],
)
def test_a_table_that_says_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Fields that belong to no column, and a file with two labels, are told with their line."""
    with pytest.raises(DatasetError, match=said):
        read(table(tmp_path, text))


def test_other_words_for_view_and_kind(tmp_path: Path) -> None:
    """``Front`` and ``Catalog`` are what is called main and catalogue here."""
    views = ROWS.replace("\n", ",Back\n").replace("product,Back", "product,view")
    views = views.replace("1.jpg,a,Back", "1.jpg,a,Front").replace("1.jpg,b,Back", "1.jpg,b,Front")
    assert "view" in [each.name for each in offered(read(table(tmp_path, views)))]
    kinds = views.replace("view", "kind").replace("Front", "Catalog")
    assert ["catalogue"] == [each.name for each in offered(read(table(tmp_path, kinds)))]


def test_folders_of_one_name_are_two_products(tmp_path: Path) -> None:
    """``shoes/red`` and ``hats/red`` have nothing in common."""
    shop = files(tmp_path, *(f"{kind}/red/{n}.jpg" for kind in ("hats", "shoes") for n in "12"))
    assert ["hats/red"] * 2 + ["shoes/red"] * 2 == [item.product for item in read(shop)]


def test_links_are_followed_once(tmp_path: Path) -> None:
    """Folders of products may be links; a link to a folder above ends nowhere."""
    there = files(tmp_path / "there", "a/1.jpg", "b/1.jpg")
    shop = tmp_path / "shop"
    shop.mkdir()
    for name in "ab":
        (shop / name).symlink_to(there / name)
    (there / "a" / "up").symlink_to(shop)
    (shop / "again").symlink_to(there / "a")
    assert ["a", "b"] == [item.product for item in read(shop)]


def test_what_systems_leave_is_no_image(tmp_path: Path) -> None:
    """Hidden files and folders, and a folder that is called as an image, are passed over."""
    shop = files(tmp_path, *NAMES, "._a-1.jpg", ".trash/c-1.jpg", "a-3.jpg/notes.txt")
    assert [*NAMES] == [item.path.name for item in read(shop)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("1.jpg", "12.jpg", "4006381333931.jpg"), ("1", "12", "4006381333931")),
        (("4006381333931-1.jpg", "12_2.jpg"), ("4006381333931", "12")),
        (("mug (1).jpg", "mug (2).jpg", "pan.jpg"), ("mug", "mug", "pan")),
        (("杯子_1.jpg", "杯子_2.jpg", "锅1.jpg"), ("杯子", "杯子", "锅")),
        (("m-Red-Main.jpg", "m-red-Back.jpg", "n.jpg"), ("m", "m", "n")),
    ],
)
def test_odd_names(tmp_path: Path, names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Digits alone are an article's number; a number may be in brackets, after any letters."""
    items = read(files(tmp_path, *names))
    assert dict(zip(names, expected, strict=True)) == products(items)
    assert {"red", ""} >= {item.colour for item in items}


def test_copies_are_told(tmp_path: Path) -> None:
    """Files of equal bytes make figures look better than they are, or labels contradict."""
    files(tmp_path, *NAMES)
    shutil.copy(tmp_path / "a-1.jpg", tmp_path / "a-3.jpg")
    *_, copies = labels.described(read(tmp_path))
    assert copies == (
        "warning: 1 files are copies of others, such as a-3.jpg: a copy is found at once, so the"
        " figures are too good"
    )
    shutil.copy(tmp_path / "a-1.jpg", tmp_path / "b-3.jpg")
    assert labels.described(read(tmp_path))[-1].endswith("such as b-3.jpg, which is a as a-1.jpg")


def test_names_that_are_no_text(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with names in another encoding are on the page, in the numbers and in pins."""
    monkeypatch.setattr(charts, "are_possible", lambda: False)  # they take a second
    for path in shop.glob("*.jpg"):
        path.rename(path.with_name("\udce6" + path.name))
    pins, numbers = tmp_path / "pins.json", tmp_path / "numbers.json"
    run = ["evaluate", str(shop), "--embedding", "phash", "--out", str(tmp_path / "out")]
    assert 0 == cli.main([*run, "--pin", str(pins)])
    assert "\\udce6" in (tmp_path / "out/index.html").read_text("utf-8")
    lost = json.loads(pins.read_text("utf-8"))["pins"][0]
    pins.write_text(json.dumps({"pins": [lost | {"find": "none"}]}))
    assert 1 == cli.main([*run, "--check-pins", str(pins), "--json", str(numbers)])
    assert lost["query"] == json.loads(numbers.read_text("utf-8"))["pins"]["lost"][0]["query"]


def test_an_unknown_name_is_not_said_to_be_a_setting(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting of new libraries has nothing to do with what is measured."""
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_EMBEDDING", "classic")
    assert 2 == cli.main(["evaluate", str(shop), "--embedding", "nope"])
    assert "'nope'" in (said := capsys.readouterr().err)
    assert "PRODUCTSEARCH_ENGINE_EMBEDDING" not in said
