"""`make digests` pins every image of others, once all digests are known, and can be repeated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy import digests

TOOL = """#!/bin/sh
case "$2" in broken*) echo no such image >&2; exit 1;; esac
echo sha256:$(echo "$2" | sha256sum | cut -c1-64)
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a registry's tool on the path that makes digests up, one for each name."""
    crane = tmp_path / "bin" / "crane"
    crane.parent.mkdir()
    crane.write_text(TOOL)
    crane.chmod(0o755)
    monkeypatch.setenv("PATH", f"{crane.parent}:/usr/bin:/bin")


@pytest.mark.usefixtures("tool")
def test_every_image_of_others_is_pinned(tmp_path: Path) -> None:
    """Also one that was pinned to another digest; our own images and stages stay."""
    copies = []
    for file in digests.FILES:
        copy = tmp_path / file.name
        copy.write_text(file.read_text())
        copies.append(copy)
    pinned = digests.pin(copies)
    text = "".join(copy.read_text() for copy in copies)
    assert len(pinned) >= 5
    for image in pinned:
        assert image in text
    of_others = re.findall(r"(?:image:|FROM) +(\S+:\S+)", text)
    assert {*pinned} == {*of_others}
    assert "image: productsearch-engine\n" in text
    assert pinned == digests.pin(copies)
    assert text == "".join(copy.read_text() for copy in copies)


@pytest.mark.usefixtures("tool")
def test_nothing_is_written_where_one_is_unknown(tmp_path: Path) -> None:
    """The file keeps its content, and the error names the image."""
    file = tmp_path / "Dockerfile"
    file.write_text("FROM python:3\nFROM broken:1 AS b\n")
    with pytest.raises(digests.DigestError, match="broken:1"):
        digests.pin([file])
    assert "FROM python:3\nFROM broken:1 AS b\n" == file.read_text()
