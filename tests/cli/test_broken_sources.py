"""Lists and folders that are broken: what is wrong is told, and nothing is lost or waited for."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productsearch.cli.importing.events import Events
from productsearch.cli.journal import Row
from productsearch.cli.sources.quotes import told_of
from tests.cli.conftest import Cli
from tests.fakes.remembering_upstream import RememberingUpstream
from tests.pictures import jpeg

ROWS = 6


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with some images."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for number in range(ROWS):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    return folder


def csv_of(folder: Path) -> Path:
    """Write a list of the images."""
    rows = [f"s{number},{number}.jpg,lamp {number}" for number in range(ROWS)]
    (folder / "list.csv").write_text("\n".join(["sku,image,brief", *rows, ""]))
    return folder / "list.csv"


def ndjson_of(folder: Path) -> Path:
    """Write the same as NDJSON."""
    rows = [{"sku": f"s{n}", "image": f"{n}.jpg", "brief": f"lamp {n}"} for n in range(ROWS)]
    (folder / "list.ndjson").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder / "list.ndjson"


BREAKS = {
    "a quote that is not closed": (csv_of, b"lamp 2", b'"lamp 2'),
    "a quote in the middle": (csv_of, b"lamp 2", b'"lamp" 2'),
    "a byte that is not UTF-8": (csv_of, b"lamp 2", b"lamp \xe9"),
    "values beyond the head": (csv_of, b"lamp 2", b"lamp 2,3"),
    "no image": (csv_of, b"2.jpg", b""),
    "an object that is not closed": (ndjson_of, b'"lamp 2"}', b'"lamp 2"'),
    "text that is no Unicode": (ndjson_of, b"lamp 2", b"\\ud800x"),
    "a byte that is not UTF-8 in JSON": (ndjson_of, b"lamp 2", b"lamp \xe9"),
    "lists in lists": (ndjson_of, b'"lamp 2"', b"[" * 100_000),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_list_deletes_nothing(
    what: str, images: Path, cli: Cli, target: str, shop: RememberingUpstream
) -> None:
    """Whatever is broken of one row, all images are there after a sync, and it is no success."""
    write, right, wrong = BREAKS[what]
    source = write(images)
    assert 0 == cli("sync", source, "--yes", "--target", target).code
    assert ROWS == len(shop.stored)
    source.write_bytes(source.read_bytes().replace(right, wrong))
    ran = cli("sync", source, "--yes", "--target", target)
    assert ran.code in (2, 3), ran.err
    assert "Traceback" not in ran.err
    assert ROWS == len(shop.stored)


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_list_is_imported_as_far_as_it_can_be(
    what: str, images: Path, cli: Cli, target: str, shop: RememberingUpstream
) -> None:
    """One row of it is rejected with its line, or the list is refused with its line."""
    write, right, wrong = BREAKS[what]
    source = write(images)
    source.write_bytes(source.read_bytes().replace(right, wrong))
    ran = cli("import", source, "--target", target)
    assert ran.code in (2, 3), ran.err
    assert "Traceback" not in ran.err
    if ran.code == 3:
        assert ROWS - 1 == len(shop.stored)
        assert source.with_name("list.rejects.csv").exists()
    else:
        assert "line" in ran.err
        assert 0 == len(shop.stored)


HEAD = "sku,image,brief\n"
QUOTES = {
    "line 3: a quote is not closed": 'a,0.jpg,lamp\nb,1.jpg,"lamp\nc,2.jpg,lamp\n',
    "line 2: a quote is not closed; the next one is on line 4": (
        'a,0.jpg,"lamp\nb,1.jpg,lamp\nc,2.jpg,"lamp, blue"\n'
    ),
    "line 5: a quote is not closed": 'a,0.jpg,"two\nlines ""of"" it"\nb,1.jpg,\n"c,2.jpg,lamp\n',
    "line 3: text follows the quote that ends a value": 'a,0.jpg,"b"\nb,1.jpg,"lamp" 2\n',
}


@pytest.mark.parametrize("told", QUOTES)
def test_the_line_of_a_quote_is_that_on_which_it_was_opened(
    told: str, images: Path, cli: Cli, target: str, shop: RememberingUpstream
) -> None:
    """A reader of CSV notices it lines later, or at the end. Nothing is begun: 2."""
    source = images / "list.csv"
    source.write_text(HEAD + QUOTES[told])
    for command in ("import", "plan"):
        ran = cli(command, source)
        assert (2, True) == (ran.code, f"list.csv: {told}\n" in ran.err), ran.err
    assert (0, False) == (len(shop.stored), (images / "list.csv.journal").exists())


def test_a_quote_that_encloses_the_rest_of_a_long_list(images: Path, cli: Cli, target: str) -> None:
    """It is longer than a value may be before its end is reached."""
    source = images / "list.csv"
    source.write_text(f'{HEAD}a,0.jpg,"lamp\n' + "b,1.jpg,lamp\n" * 100_000)
    ran = cli("import", source)
    assert (2, True) == (ran.code, "line 2: a quote is not closed\n" in ran.err), ran.err


@given(
    st.lists(
        st.lists(st.text('ab",\n', max_size=6), min_size=2, max_size=3), min_size=1, max_size=4
    )
)
def test_no_quote_of_a_list_that_is_right_is_wrong(rows: list[list[str]]) -> None:
    """Whatever is in the values, Python's own writer writes it right."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    assert "" == told_of(io.StringIO(written.getvalue(), newline=""), 0, ",")


def test_names_that_are_not_unicode(
    images: Path, cli: Cli, target: str, shop: RememberingUpstream
) -> None:
    """A file's name is bytes: it is imported like any other, with its folder as a class."""
    folder = os.fsencode(images) + b"/7\xe9"
    Path(os.fsdecode(folder)).mkdir()
    (images / "0.jpg").rename(os.fsdecode(folder + b"/caf\xe9.jpg"))
    ran = cli("import", images, "--target", target)
    assert 0 == ran.code, ran.err
    assert ROWS == len(shop.stored)


def test_a_pipe_is_no_image(images: Path, cli: Cli, target: str) -> None:
    """It is rejected, and nobody waits for whoever would write to it."""
    os.mkfifo(images / "pipe.jpg")
    ran = cli("import", images, "--target", target, "--json")
    assert 3 == ran.code, ran.err
    assert "not a regular file" in (images / "rejects.csv").read_text()


@pytest.mark.parametrize("wrong", [BrokenPipeError, OSError(errno.ENOSPC, "disk is full")])
def test_what_cannot_be_written_ends_the_import(
    wrong: Any, images: Path, cli: Cli, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends, says why, and goes on the next time."""
    told: list[Row] = []

    def item(_: Events, row: Row) -> None:
        told.append(row)
        if len(told) == 3:
            raise wrong

    with monkeypatch.context() as patched:
        patched.setattr(Events, "item", item)
        ran = cli("import", images, "--target", target)
    assert 4 == ran.code, ran.err
    assert "it goes on" in ran.err
    assert 2 == cli("import", images, "--target", target, "--events", "/dev/full").code
    assert 0 == cli("import", images, "--target", target).code


def test_rejects_keep_blanks(images: Path, cli: Cli, target: str) -> None:
    """A name that begins with a blank comes back from the rejects file as it was."""
    (images / " a.jpg").write_bytes(b"none")
    assert 3 == cli("import", images, "--target", target).code
    (images / " a.jpg").write_bytes(jpeg(99))
    assert 0 == cli("import", images / "rejects.csv", "--target", target).code


@pytest.mark.parametrize(
    "template", ['{"id":"{sku}",}', '{"id":"{sku}"', '{"id":"{no such}"}', "[{sku}"]
)
def test_templates_that_cannot_work(
    template: str, images: Path, cli: Cli, target: str, shop: RememberingUpstream
) -> None:
    """They are refused before the first call."""
    ran = cli("import", csv_of(images), "--brief", template, "--target", target)
    assert 2 == ran.code, ran.err
    assert 0 == len(shop.stored)


def test_any_column_is_named_by_a_template(
    images: Path, cli: Cli, target: str, shop: RememberingUpstream
) -> None:
    """Also one with blanks and dashes in its name."""
    source = images / "list.csv"
    source.write_text("product id,title-en,image\nx 1,red,0.jpg\n")
    template = '{"id":"{product id}","t":"{title-en}"}'
    assert 0 == cli("import", source, "--brief", template, "--target", target).code
    assert ['{"id":"x 1","t":"red"}'] == [each.brief for each in shop.stored.values()]
