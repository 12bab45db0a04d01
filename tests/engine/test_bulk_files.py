"""The files of a library: what is read of them, and what is said of wrong ones."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_engine.bulk.embedding import Describer
from productsearch_engine.bulk.exporting import export
from productsearch_engine.bulk.fields import Incoming, RowError
from productsearch_engine.bulk.heads import head_line, read_head
from productsearch_engine.bulk.lines import line, read
from productsearch_engine.bulk.source import Source, files_of
from productsearch_engine.limits import IMPORT_LINE_BYTES_MAX
from productsearch_engine.store.libraries import LibraryError
from tests.engine.bulk_library import DIMENSIONS, head, rows, write

_GOOD = json.loads(line(next(rows(1))))


def test_a_row_is_read_as_it_was_written() -> None:
    """All fields, to the last bit of the vector and the microsecond of the times."""
    for row in rows(50):
        found = read(line(row).encode(), 1, head())
        assert row == found.row
        assert found.image is None


@pytest.mark.parametrize(
    "first",
    [
        b"image,brief\n",
        b"\xef\xbb\xbfimage;brief\n",
        b'"image"\t"brief"\r\n',
        b"PAR1\x15\x04\x15\n",
    ],
)
def test_a_table_is_the_other_import_s(first: bytes, tmp_path: Path) -> None:
    """Two programs have an ``import``; this one names the one that takes the file."""
    (tmp_path / "shop.csv").write_bytes(first + b"1.jpg,mug\n")
    with pytest.raises(LibraryError, match="`productsearch import` takes CSV"):
        Source.of(tmp_path / "shop.csv")


_LONG = base64.b64encode(bytes(2 * DIMENSIONS + 2)).decode()
_INFINITE = base64.b64encode(b"\x00\x7c" * DIMENSIONS).decode()
_NO_NUMBER = base64.b64encode(b"\x00\x7e" * DIMENSIONS).decode()
_VERY_LONG = base64.b64encode(b"\xff\x7b" * DIMENSIONS).decode()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("cont_sign", "1,2,3", "two numbers"),
        ("cont_sign", 7, "two numbers"),
        ("digest", "ab", "64 hexadecimal"),
        ("digest", "x" * 64, "64 hexadecimal"),
        ("digest", " " * 64, "64 hexadecimal"),
        ("digest", "ab " * 21 + "c", "64 hexadecimal"),
        ("digest", "ab" * 31 + "c\n", "64 hexadecimal"),
        ("digest", None, "it is missing"),
        ("brief", None, "it is missing"),
        ("brief", "ü" * 129, "256 bytes"),
        ("brief", "\ud800", "256 bytes"),
        ("class_id1", 0, "1 to 65535"),
        ("class_id2", 65536, "1 to 65535"),
        ("class_id1", True, "1 to 65535"),
        ("class_id1", "3", "1 to 65535"),
        ("vector", None, "one is needed"),
        ("vector", "AAA", "16 float16"),
        ("vector", "AA==", "16 float16"),
        ("vector", _LONG, "16 float16"),
        ("vector", _INFINITE, "16 float16"),
        ("vector", [1.0], "16 float16"),
        ("created_at", "yesterday", "with its offset"),
        ("updated_at", "2026-01-01T00:00:00", "with its offset"),
        ("copy", "AAAA", "WebP"),
        ("copy", "ä", "WebP"),
        ("region", [0, 0, 1], "0 to 1"),
        ("region", [0.5, 0, 0.6, 1], "0 to 1"),
        ("region", [0, 0, 0, 1], "0 to 1"),
        ("region", [0, 0, float("nan"), 1], "0 to 1"),
        ("original", [1, 2], "and bytes"),
        ("original", [640, 480, 0], "and bytes"),
        ("original", [640, 480, 1 << 31], "and bytes"),
        ("original", [640.0, 480, 9], "and bytes"),
        ("image", "1.jpg", "not both"),
        ("region", [10**400, 0, 1, 1], "0 to 1"),
        ("created_at", "9999-12-31T23:59:59-23:59", "with its offset"),
        ("updated_at", "0001-01-01T00:00:00+23:59", "with its offset"),
        ("cont_sign", "\ud800", "two numbers"),
        ("brief", "\ud800", "UTF-8"),
        ("breif", "x", "no such field"),
        ("vector", _NO_NUMBER, "16 float16"),
        ("vector", _VERY_LONG, "its length is at most 65504"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object, told: str) -> None:
    """The error has the row, the field, what is wrong and what would be right."""
    with pytest.raises(RowError) as refused:
        read(json.dumps(_GOOD | {field: value}).encode(), 7, head())
    assert (7, field) == (refused.value.row, refused.value.field)
    assert told in str(refused.value)
    assert f"row 7: field {field}:" in str(refused.value)


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {},
        optional={name: st.none() | st.text() | st.integers() | st.floats() for name in _GOOD},
    )
    | st.recursive(st.none() | st.text() | st.floats(), st.lists, max_leaves=5)
)
def test_whatever_a_row_is_it_is_read_or_named(members: Any) -> None:
    """No other exception comes of any JSON."""
    changed = _GOOD | members if isinstance(members, dict) else members
    try:
        assert isinstance(read(json.dumps(changed).encode(), 1, head()), Incoming)
    except RowError as error:
        assert 1 == error.row


@given(st.binary(max_size=300))
def test_whatever_a_line_is_it_is_read_or_named(text: bytes) -> None:
    """No other exception comes of any bytes."""
    with pytest.raises(RowError, match="row 3: field"):
        read(text, 3, head())
    read_head(text)


def test_a_line_may_be_nested_without_end() -> None:
    """It is no row, and no head."""
    for text in (b"[" * 200_000, b'{"brief": ' + b"[" * 200_000):
        with pytest.raises(RowError, match=r"row 3: field \(all\): no JSON"):
            read(text, 3, head())
        assert read_head(text) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"dimensions": -1},
        {"dimensions": 4001},
        {"dimensions": 1.5},
        {"dimensions": float("inf")},
        {"images": 10**30},
        {"embedding": "a\0"},
        {"calibration": {"cosines": "ab", "scores": [1, 2]}},
        {"calibration": {"cosines": [0, 1], "scores": [1]}},
        {"calibration": {"cosines": [10**400], "scores": [1]}},
        {"calibration": {"cosines": [], "scores": []}},
        {"calibration": {"cosines": [1, 0], "scores": [0, 1]}},
        {"calibration": {"cosines": [0, 1], "scores": [1, 0.5]}},
        {"calibration": {"cosines": [0, 1], "scores": [-0.1, 1]}},
        {"calibration": {"cosines": [0, 1], "scores": [0, 1.1]}},
        {"keep_images": "false"},
        {"embedding": ""},
    ],
)
def test_a_head_that_no_engine_wrote(wrong: dict[str, object]) -> None:
    """It is refused before a library is created after it."""
    text = json.dumps(json.loads(head_line(head())) | wrong).encode()
    with pytest.raises(LibraryError, match="line 1: it is no head"):
        read_head(text)


def test_heads(tmp_path: Path) -> None:
    """A file of another format or version is refused with its name; one without head is rows."""
    file = write(tmp_path / "a.ndjson", list(rows(2)))
    assert head(images=2) == Source.of(file).head
    for wrong in ({"format": "other"}, {"format": "productsearch-library", "version": 2}):
        file.write_text(json.dumps(wrong) + "\n")
        with pytest.raises(LibraryError, match=rf"{file}: line 1: field format"):
            Source.of(file)
    file.write_text('{"format": "productsearch-library", "version": 1}\n')
    with pytest.raises(LibraryError, match="no head"):
        Source.of(file)
    file.write_text('{"brief": "x", "image": "1.jpg"}\n')
    source = Source.of(file)
    assert source.head is None
    assert ["1.jpg"] == [
        each.row.image for each in source.rows(0, 0) if isinstance(each.row, Incoming)
    ]


def test_a_file_is_read_from_every_row_on(tmp_path: Path) -> None:
    """What a row says of the next one's place leads there; blank lines are no rows."""
    found = list(rows(10))
    file = write(tmp_path / "a.ndjson", found)
    file.write_text(file.read_text().replace("\n", "\n\n"))
    source = Source.of(file)
    all_of_them = list(source.rows(0, 0))
    assert found == [each.row.row for each in all_of_them if isinstance(each.row, Incoming)]
    for index, each in enumerate(all_of_them):
        assert all_of_them[index + 1 :] == list(source.rows(each.end, each.number))


def test_a_line_of_any_length_is_one_row(tmp_path: Path) -> None:
    """What follows one that is too long has its own number, and no part of it counts as a row."""
    made = list(rows(2))
    long = '{"brief": "' + "x" * (2 * IMPORT_LINE_BYTES_MAX) + f'"}}{line(made[0])}'
    (tmp_path / "a.ndjson").write_text(head_line(head()) + long + line(made[1]), "utf-8")
    first, second = Source.of(tmp_path / "a.ndjson").rows(0, 0)
    assert "row 1: field (all): longer than" in str(first.row)
    assert isinstance(second.row, Incoming)
    assert (2, made[1]) == (second.number, second.row.row)


def test_blank_lines_before_all_others(tmp_path: Path) -> None:
    """They are passed over, as others are; a file of nothing else is an empty one."""
    file = write(tmp_path / "a.ndjson", list(rows(2)))
    file.write_bytes(b"\n \r\n" + file.read_bytes())
    source = Source.of(file)
    assert head(images=2) == source.head
    assert [True, True] == [isinstance(each.row, Incoming) for each in source.rows(0, 0)]
    file.write_bytes(b"\n\n")
    with pytest.raises(LibraryError, match="is empty"):
        Source.of(file)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    """Another name is the same file; another row, wherever it is, is not."""
    one = Source.of(write(tmp_path / "a.ndjson", list(rows(3)))).identity
    assert one == Source.of(write(tmp_path / "b.ndjson", list(rows(3)))).identity
    assert one != Source.of(write(tmp_path / "c.ndjson", list(rows(3, seed=1)))).identity
    assert one != Source.of(write(tmp_path / "d.ndjson", list(rows(4)))).identity
    long = write(tmp_path / "e.ndjson", list(rows(6_000, plain=True)))
    before, content = Source.of(long).identity, long.read_bytes()
    middle = content.index(b"\n", len(content) // 2) + len(b'\n{"cont_sign": "')
    long.write_bytes(content[:middle] + b"0" + content[middle + 1 :])
    assert len(content) == long.stat().st_size
    assert before != Source.of(long).identity


def test_a_list_is_known_by_the_images_that_it_names(tmp_path: Path) -> None:
    """The same list of other files is another one, wherever its name stands in the row."""
    text = '{"brief": "\\"image\\": 2", "image": "1.jpg"}\n{"image" :"a\\u0062.jpg", "brief": ""}\n'
    names = ("1.jpg", "ab.jpg")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "list.ndjson").write_text(text)
        for name in names:
            (tmp_path / folder / name).write_bytes(b"x")
            os.utime(tmp_path / folder / name, ns=(5, 5))

    def identity(folder: str) -> str:
        return Source.of(tmp_path / folder / "list.ndjson").identity

    assert identity("one") == identity("two")
    for name in names:
        before = identity("two")
        os.utime(tmp_path / "two" / name, ns=(6, 6))
        changed = identity("two")
        (tmp_path / "two" / name).unlink()
        assert 3 == len({before, changed, identity("two")})


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """An export begins nothing that would take the place of another."""
    file = write(tmp_path / "00000.ndjson", list(rows(1)))
    nothing: Any = None
    for to, told in ((file, "is there already"), (tmp_path, "has .ndjson files")):
        with pytest.raises(LibraryError, match=told):
            export(nothing, nothing, to)
    assert [file] == files_of(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LibraryError, match=r"no \.ndjson file"):
        files_of(empty)


def test_an_image_that_is_no_file(tmp_path: Path) -> None:
    """It is named: a pipe is not waited for, nor a link that leads to itself followed."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "folder.jpg").mkdir()
    unused: Any = None
    describer = Describer(unused, unused, tmp_path, unused)
    for name in ("pipe.jpg", "circle.jpg", "folder.jpg", "none.jpg", "x" * 300):
        row = read(json.dumps({"brief": "x", "image": name}).encode(), 5, None)
        with pytest.raises(RowError, match="row 5: field image"):
            describer.content(row)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe or a device is not waited for, a folder not read; each is told by its name."""
    pipe = tmp_path / "pipe.ndjson"
    os.mkfifo(pipe)
    for file in (pipe, Path("/dev/zero")):
        with pytest.raises(LibraryError, match=f"{file} is a pipe or a device"):
            Source.of(file)
    with pytest.raises(IsADirectoryError):
        Source.of(tmp_path)


def test_what_is_left_of_a_file(tmp_path: Path) -> None:
    """One that lost its end says so, also one that lost all."""
    file = write(tmp_path / "a.ndjson", list(rows(2)))
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    *_, last = Source.of(file).rows(0, 0)
    assert "it may be cut short" in str(last.row)
    file.write_bytes(whole.replace(b"}\n", b"\n"))
    assert "cut short" not in "".join(str(each.row) for each in Source.of(file).rows(0, 0))
    file.write_bytes(b"")
    with pytest.raises(LibraryError, match="is empty"):
        Source.of(file)
