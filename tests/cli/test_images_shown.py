"""Images of hits: in the terminal, on a sheet, in a page."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from productsearch.cli import terminal_images
from productsearch.cli.hit_images import thumbnail
from tests.cli.conftest import Cli
from tests.pictures import jpeg


@pytest.fixture
def photos(tmp_path: Path, cli: Cli, target: str) -> Path:
    """Return a folder of three images that were imported."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        (folder / f"sku-{seed}.jpg").write_bytes(jpeg(seed))
    assert 0 == cli("import", folder, "--brief", "<{stem}>").code
    return folder


def test_terminals_are_known_by_their_environment() -> None:
    """kitty's and iTerm2's protocol; nothing in pipes, in tmux and in unknown terminals."""
    protocol = terminal_images.protocol
    assert "kitty" == protocol({"KITTY_WINDOW_ID": "1"}, is_terminal=True)
    assert "kitty" == protocol({"TERM_PROGRAM": "ghostty"}, is_terminal=True)
    for program in ("iTerm.app", "WezTerm"):
        assert "iterm2" == protocol({"TERM_PROGRAM": program}, is_terminal=True)
    for environment in ({}, {"TERM": "xterm-256color"}, {"KITTY_WINDOW_ID": "1", "TMUX": "x"}):
        assert protocol(environment, is_terminal=True) is None
    assert protocol({"KITTY_WINDOW_ID": "1"}, is_terminal=False) is None


@pytest.mark.parametrize("seed", range(3))
def test_what_is_drawn_is_the_image(seed: int) -> None:
    """The chunks of both protocols hold the PNG, the last one says that it is the last."""
    png = thumbnail(jpeg(seed, 900, 700))
    kitty = terminal_images.drawn(png, "kitty")
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", kitty)
    assert png == base64.b64decode("".join(chunk for _, chunk in parts))
    assert all(len(chunk) <= 4096 for _, chunk in parts)
    assert ["m=1"] * (len(parts) - 1) + ["m=0"] == [head.split(",")[-1] for head, _ in parts]
    (encoded,) = re.findall(
        r"\x1b\]1337;File=[^:]*inline=1[^:]*:(.*)\a", f"{{}}{terminal_images.drawn(png, 'iterm2')}"
    )
    assert png == base64.b64decode(encoded)


def test_a_sheet_and_a_page_have_the_hits(cli: Cli, photos: Path, tmp_path: Path) -> None:
    """The sheet has the size of its cells; the page has all images in itself, its text escaped."""
    sheet, page = tmp_path / "hits.png", tmp_path / "hits.html"
    query = photos / "sku-1.jpg"
    ran = cli("search", query, "--source", photos, "--sheet", sheet, "--html", page)
    assert 0 == ran.code, ran.err
    with Image.open(sheet) as image:
        assert (5 * 240, 288) == image.size
        assert image.getpixel((300, 100)) != (255, 255, 255)
    text = page.read_text()
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert 4 == len(images)
    assert all(Image.open(io.BytesIO(base64.b64decode(encoded))) for encoded in images)
    assert ("&lt;sku-1&gt;" in text, "<sku-1>" in text) == (True, False)
    assert 2 == cli("search", query, "--sheet", tmp_path / "hits.txt").code
    assert 2 == cli("search", query, "--html", tmp_path / "missing" / "hits.html").code


def test_hits_without_images_are_listed_all_the_same(
    cli: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No journal here, or a file that has gone."""
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "hits.html"
    assert 0 == cli("search", photos / "sku-1.jpg", "--html", page).code
    assert (1, 3) == (page.read_text().count("<img"), page.read_text().count("<li>"))
