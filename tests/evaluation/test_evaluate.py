"""The command ``evaluate``: labels, protocols, report, pins, refusals."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from productsearch_engine import cli
from productsearch_engine.embedding.interface import Embedding
from productsearch_engine.evaluation import calibrate, command, labels, measure
from productsearch_engine.evaluation.dataset import DatasetError, read
from productsearch_engine.evaluation.protocols import chosen, offered
from productsearch_engine.store.libraries import UnknownLibraryError
from tests.evaluation.conftest import Command


@pytest.mark.parametrize(
    ("files", "products"),
    [
        (["mug-1.jpg", "mug-2.jpg", "red-pan_03.png"], ["mug", "mug", "red-pan"]),
        (["mug/a.jpg", "mug/b.webp", "pan/1.jpg"], ["mug", "mug", "pan"]),
        (["style01-blue-main.jpg", "style01-red-alt2.jpg", "x-red-back.jpg"], ["style01"] * 2),
    ],
)
def test_file_names_say_the_product(tmp_path: Path, files: list[str], products: list[str]) -> None:
    """Folders, numbers at the end, and colour and view are understood."""
    for name in [*files, "notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = read(tmp_path)
    assert len(files) == len(found)
    assert products == [item.product for item in found][: len(products)]


def test_protocols_follow_the_labels(shop: Path) -> None:
    """Every query has an answer; one colour is stored; fronts answer for other sides."""
    items = read(shop)
    protocols = {protocol.name: protocol for protocol in offered(items)}
    assert {"any", "colour", "view"} == protocols.keys()
    sizes = {name: (len(each.queries), len(each.stored)) for name, each in protocols.items()}
    assert {"any": (16, 16), "colour": (4, 4), "view": (8, 8)} == sizes
    assert {"blue"} == {items[i].colour for i in protocols["colour"].stored}
    assert {"back"} == {items[i].view for i in protocols["view"].queries}


def test_a_table_adds_what_names_do_not_say(shop: Path) -> None:
    """A CSV file's kind gives the protocol from photograph to catalogue image."""
    rows = ["file,product,kind"]
    for item in read(shop):
        kind = "catalogue" if item.colour == "blue" and item.view == "main" else "photo"
        rows.append(f"{item.path.name},{item.product},{kind}")
    table = shop / "labels.csv"
    table.write_text("\n".join(rows))
    protocols = {protocol.name: protocol for protocol in offered(read(table))}
    assert {"any", "catalogue"} == protocols.keys()
    assert (12, 4) == (len(protocols["catalogue"].queries), len(protocols["catalogue"].stored))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("name,product\nx,y\n", "no column file"),
        ("file,product\nmissing.jpg,a\n", "line 2"),
        (None, "product-COLOUR-VIEW"),
    ],
)
def test_unusable_labels_are_told(tmp_path: Path, table: str | None, said: str) -> None:
    """An error says which line, which column, or which names are understood."""
    if table is not None:
        (tmp_path / "photos.csv").write_text(table)
    with pytest.raises(DatasetError, match=said):
        read(tmp_path)


def test_the_report_is_one_page_with_its_images(
    shop: Path, evaluate: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table and differences are printed; the page loads nothing and has a chart and the misses."""
    assert 0 == evaluate(shop)
    printed = capsys.readouterr().out
    assert 2 * 3 == sum(
        line.split()[0] in ("any", "colour", "view")
        for line in printed.split("\n")
        if line and ":" not in line
    )
    assert 3 == printed.count("95 % interval")
    page = (tmp_path / "out/index.html").read_text()
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page
    assert (tmp_path / "out/evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_a_lost_pin_fails(
    shop: Path, evaluate: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pins hold on the same images; when another image hides a hit, the command fails and says
    which search got lost."""
    file = tmp_path / "pins.json"
    assert 0 == evaluate(shop, "--pin", str(file))
    pins = json.loads(file.read_text())["pins"]
    assert pins
    assert 0 == evaluate(shop, "--check-pins", str(file))
    lost = next(pin for pin in pins if pin["protocol"] == "any")
    shutil.copy(shop / "style3-red-back.jpg", tmp_path / lost["find"])
    query = shop / "style9-red-back.jpg"
    shutil.copy(tmp_path / lost["query"], query)
    for number in range(5):  # as near as the hit, and first by name
        shutil.copy(tmp_path / lost["query"], shop / f"a{number}-red-main.jpg")
    capsys.readouterr()
    assert 1 == evaluate(shop, "--check-pins", str(file))
    assert f"lost: {lost['query']} does not find {lost['find']}" in capsys.readouterr().out


def test_what_is_no_image_is_named(
    shop: Path, evaluate: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be read ends the command with its name."""
    (shop / "style1-blue-main.jpg").write_bytes(b"no image")
    assert 1 == evaluate(shop)
    assert "style1-blue-main.jpg: not an image" in capsys.readouterr().err


def test_a_protocol_can_be_chosen(
    shop: Path, evaluate: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only it is searched, only its pins are checked; one that there is not is told with those that
    there are."""
    file = tmp_path / "pins.json"
    assert 0 == evaluate(shop, "--pin", str(file))
    capsys.readouterr()
    assert 0 == evaluate(shop, "--protocol", "view", "--check-pins", str(file))
    printed = capsys.readouterr().out
    assert "view " in printed
    assert "any " not in printed
    kept = [pin for pin in json.loads(file.read_text())["pins"] if pin["protocol"] == "view"]
    assert f"{len(kept)} of {len(kept)} pinned searches hold" in printed
    assert 1 == evaluate(shop, "--protocol", "catalogue")
    assert "'catalogue' is not among" in (said := capsys.readouterr().err)
    assert "any, colour, view" in said


def test_two_names_of_one_embedding_are_one(
    shop: Path, evaluate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``compact`` is the newest of its kind, which a library names in full."""
    asked: list[str] = []

    def embed(embeddings: Sequence[Embedding], *_: object) -> NoReturn:
        asked.extend(each.name for each in embeddings)
        raise DatasetError("that is all")

    monkeypatch.setattr(measure, "embed_all", embed)
    names = ("compact", "compact-3", "classic-1", "compact", "classic")
    assert 1 == evaluate(shop, *(part for name in names for part in ("--embedding", name)))
    assert ["hsv", "phash", "compact-3", "classic-1"] == asked


def test_a_library_that_is_not_there_is_told_first(
    shop: Path,
    evaluate: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the images are counted: more of them would not help."""

    def unknown(_: object, name: str) -> NoReturn:
        raise UnknownLibraryError(name, ["shop"])

    (tmp_path / "data/postgres").mkdir(parents=True)
    monkeypatch.setattr(command, "_embedding_of", unknown)
    assert 1 == evaluate(shop, "--calibrate", "nolib")
    said = capsys.readouterr().err
    assert "'nolib'" in said
    assert "first hits" not in said


def test_unknown_names_are_told(
    shop: Path, evaluate: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 2, and the text lists what there is."""
    assert 2 == evaluate(shop, "--embedding", "nope")
    said = capsys.readouterr().err
    assert "'nope'" in said
    assert ["compact", "classic", "onnx:PATH", "hsv", "hog", "phash"] == re.findall(
        r"\b(compact|classic|onnx:PATH|hsv|hog|phash)\b", said
    )
    with pytest.raises(SystemExit) as ended:
        evaluate(shop, "--protocol", "nope")
    assert 2 == ended.value.code
    assert "'any', 'colour', 'view', 'catalogue'" in capsys.readouterr().err


def test_without_matplotlib_only_the_charts_are_left_out(
    shop: Path,
    evaluate: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Table, page and pins are written; that charts need it is told before the first image."""
    for module in ("matplotlib", "matplotlib.backends"):
        monkeypatch.setitem(sys.modules, module, None)
    assert 0 == evaluate(shop, "--pin", str(tmp_path / "pins.json"))
    told = capsys.readouterr()
    assert "95 % interval" in told.out
    assert told.err.index("without charts") < told.err.index("16 of 16 images")
    page = (tmp_path / "out/index.html").read_text()
    assert "worst misses" in page
    assert "image/png" not in page
    assert (tmp_path / "pins.json").is_file()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--check-pins", "missing.json", "missing.json: No such file"),
        ("--check-pins", "file", "file: not a pins file"),
        ("--out", "file", "file: File exists"),
        ("--pin", "file/pins.json", "file: File exists"),
    ],
)
def test_what_must_fail_fails_before_the_first_image(
    shop: Path,
    evaluate: Command,
    tmp_path: Path,
    option: str,
    value: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Minutes of work are not lost to an option that was wrong from the start."""
    (tmp_path / "file").touch()
    assert 1 == evaluate(shop, option, str(tmp_path / value))
    told = capsys.readouterr()
    assert said in told.err
    assert "16 of 16 images" not in told.err


def test_an_interrupt_is_one_line(
    shop: Path,
    evaluate: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Control-C ends a command with the status that shells give it, and without a traceback."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "embed_all", interrupted)
    assert 130 == evaluate(shop)
    assert capsys.readouterr().err.endswith("\nproductsearch-engine: interrupted\n")


def test_a_calibration_of_too_few_is_refused_first(shop: Path) -> None:
    """The searches that there will be are known before any vector."""
    items = read(shop)
    protocols = offered(items)
    with pytest.raises(DatasetError, match="at least 40 first hits; these images give at most 8"):
        calibrate.require_enough(items, chosen(protocols, ["colour"]))
    calibrate.require_enough(items, protocols)


def test_images_and_products_are_told_first(
    shop: Path, evaluate: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Command and page begin with their numbers, and with a warning if the products are few."""
    assert 0 == evaluate(shop)
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert "16 images, 4 products (labels of the files' names)" == first
    assert second.startswith("warning: 4 products are few")
    page = (tmp_path / "out/index.html").read_text()
    assert page.index("16 images, 4 products") < page.index("warning: 4") < page.index("<table>")


@pytest.mark.parametrize(
    ("files", "doubts"),
    [
        (["s/a-1.jpg", "s/a-2.jpg", "s/b-1.jpg", "s/b-2.jpg", "d/c-1.jpg", "d/c-2.jpg"], ["/s "]),
        (["s/x-red-main.jpg", "s/x-red-back.jpg", "s/y-red-main.jpg", "s/y-red-back.jpg"], ["/s "]),
        # One product's views, or a camera's counter.
        (["s/front-1.jpg", "s/front-2.jpg", "s/back-1.jpg", "s/back-2.jpg"], ["/s "]),
        ([f"{a}/{b}-{c}.jpg" for a in "st" for b in ("front", "back") for c in "12"], []),
        ([f"{a}/IMG_{c}.jpg" for a in "st" for c in "1234"], []),
        ([f"cup7/cup7-{a}_{b}.jpg" for a in "12" for b in "01"], []),
        ([f"cup7/mug{a}_{b}.jpg" for a in "12" for b in "01"], ["/cup7 "]),
        (["s/1.jpg", "s/2.jpg", "s/photos.csv", "t/1.jpg"], ["/s "]),
    ],
)
def test_folders_that_are_hardly_products(
    tmp_path: Path, files: list[str], doubts: list[str]
) -> None:
    """A folder counts as one product: where its files say otherwise, that is told."""
    for name in [*files, *(f"p{number}/1.jpg" for number in range(10))]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    first, *told = labels.described(read(tmp_path))
    assert "(a folder for each product)" in first
    assert len(doubts) == len(told)
    for doubt, line in zip(doubts, told, strict=True):
        assert f"{doubt}counts as one product" in line


def test_the_page_has_one_table_and_scores(shop: Path, tmp_path: Path) -> None:
    """The table has queries and error; misses are told in scores, as all else."""
    options = ["--embedding", "phash", "--out", str(tmp_path / "out")]
    assert 0 == cli.main(["evaluate", str(shop), *options])
    page = (tmp_path / "out/index.html").read_text()
    assert 1 == page.count("<table>")
    assert "<pre>" not in page
    assert re.search(r"<th>queries</th>.*<th>error</th>", page)
    told = re.findall(r"(1st|rank \d+), (score \d\.\d\d \(cosine -?\d\.\d+\))?", page)
    assert told
    assert all(score for _, score in told)
