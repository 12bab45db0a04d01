"""A data directory whose folder of PostgreSQL is not what an engine can use."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from productsearch_engine.database.postgres import Embedded
from productsearch_engine.database.programs import EmbeddedError


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory that PostgreSQL's account can enter."""
    folder = Path(tempfile.mkdtemp(prefix="productsearch-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def refusal(data: Path) -> str:
    """Return why an engine does not start there."""
    with pytest.raises(EmbeddedError) as refused:
        Embedded(data).start()
    return str(refused.value)


def test_a_folder_of_something_else(data: Path) -> None:
    """It is left alone, and what to do is said."""
    (data / "postgres").mkdir()
    (data / "postgres" / "base").mkdir()
    told = refusal(data)
    assert f"{data / 'postgres'} is no data directory of PostgreSQL" in told
    assert "restore it from a backup, or move it away" in told
    assert ["base"] == [each.name for each in (data / "postgres").iterdir()]


@pytest.mark.parametrize("target", ["", "nowhere"])
def test_a_file_or_a_dead_link(data: Path, target: str) -> None:
    """A link to a disk that is not mounted is no place for an empty database."""
    if target:
        (data / "postgres").symlink_to(data / target)
    else:
        (data / "postgres").touch()
    assert "is no data directory of PostgreSQL" in refusal(data)


def test_another_postgresql(data: Path) -> None:
    """Its version is told, and the one that would be right."""
    (data / "postgres").mkdir()
    (data / "postgres" / "PG_VERSION").write_text("17\n")
    assert "PostgreSQL '17', and the embedded one is 18" in refusal(data)


def test_an_empty_folder(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It takes a new cluster, once, and the log says which folder that is."""
    caplog.set_level(logging.INFO)
    (data / "postgres").mkdir()
    for _ in range(2):
        embedded = Embedded(data)
        embedded.start()
        embedded.stop()
    assert (data / "postgres" / "PG_VERSION").exists()
    told = f"{data} is new: its database begins now; --data names another"
    assert 1 == caplog.messages.count(told)
