"""The command ``evaluate``: labels, protocols, report, pins, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from productsearch_engine import cli
from productsearch_engine.evaluation.dataset import DatasetError, read
from productsearch_engine.evaluation.protocols import offered
from tests.pictures import draw

Command = Callable[..., int]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Four products in two colours from two sides; the colour of a product is a tint of it."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for product in range(4):
        for tint, colour in enumerate(("blue", "red")):
            image = draw(product, 160, 120)  # below what a library takes
            image.point([min(255, value + 12 * tint) for value in range(256)] * 3).save(
                folder / f"style{product}-{colour}-main.jpg"
            )
            image.transpose(0).save(folder / f"style{product}-{colour}-back.jpg")
    return folder


@pytest.fixture
def evaluate(tmp_path: Path) -> Command:
    """Runs the command with the cheapest embeddings."""

    def run(source: Path, *arguments: str) -> int:
        usual = ["--embedding", "hsv", "--embedding", "phash", "--out", str(tmp_path / "out")]
        data = ["--data", str(tmp_path / "data")]
        return cli.main(["evaluate", str(source), *usual, *data, *arguments])

    return run


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


def test_an_unknown_embedding_is_told(
    shop: Path, evaluate: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 2, and the text lists what there is."""
    assert 2 == evaluate(shop, "--embedding", "nope")
    assert "'nope'" in capsys.readouterr().err
