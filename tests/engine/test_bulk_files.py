"""The files of a library: what is read of them, and what is said of wrong ones."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_engine.bulk.exporting import export
from productsearch_engine.bulk.fields import Incoming, RowError
from productsearch_engine.bulk.lines import line, read, read_head
from productsearch_engine.bulk.source import Source, files_of
from productsearch_engine.store.libraries import LibraryError
from tests.engine.bulk_library import DIMENSIONS, head, rows, write

_GOOD = json.loads(line(next(rows(1))))


def test_a_row_is_read_as_it_was_written() -> None:
    """All fields, to the last bit of the vector and the microsecond of the times."""
    for row in rows(50):
        found = read(line(row).encode(), 1, head())
        assert row == found.row
        assert found.image is None


_LONG = base64.b64encode(bytes(2 * DIMENSIONS + 2)).decode()
_INFINITE = base64.b64encode(b"\x00\x7c" * DIMENSIONS).decode()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("cont_sign", "1,2,3", "two numbers"),
        ("cont_sign", 7, "two numbers"),
        ("digest", "ab", "64 hexadecimal"),
        ("digest", "x" * 64, "64 hexadecimal"),
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
        ("breif", "x", "no such field"),
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


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    """Another name is the same file; another row, at either end, is not."""
    one = Source.of(write(tmp_path / "a.ndjson", list(rows(3)))).identity
    assert one == Source.of(write(tmp_path / "b.ndjson", list(rows(3)))).identity
    assert one != Source.of(write(tmp_path / "c.ndjson", list(rows(3, seed=1)))).identity
    assert one != Source.of(write(tmp_path / "d.ndjson", list(rows(4)))).identity


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
