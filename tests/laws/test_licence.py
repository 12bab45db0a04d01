"""The licence stands at the top, and each distribution takes its own copy along."""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ("clients/python", "service", "engine")
TEXT = (ROOT / "LICENSE").read_bytes()
POM = {"m": "http://maven.apache.org/POM/4.0.0"}


def test_the_licence_is_apache_2() -> None:
    """The whole text, from its title to its appendix."""
    text = TEXT.decode("ascii")
    assert ["Apache License", "Version 2.0, January 2004"] == [
        line.strip() for line in text.splitlines()[1:3]
    ]
    assert "END OF TERMS AND CONDITIONS" in text
    assert "APPENDIX: How to apply the Apache License to your work." in text


@pytest.mark.parametrize("folder", [*PYTHON, "clients/go", "clients/java"])
def test_each_distribution_has_the_same_text(folder: str) -> None:
    """A package, a module or a jar is handed on without the repository around it."""
    assert TEXT == (ROOT / folder / "LICENSE").read_bytes()


@pytest.mark.parametrize("folder", PYTHON)
def test_python_metadata_names_it(folder: str) -> None:
    """By its SPDX expression."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert ("Apache-2.0", ["LICENSE"]) == (project["license"], project["license-files"])


def test_java_metadata_names_it() -> None:
    """By its SPDX identifier too; Go has no place for it but the file."""
    pom = ElementTree.parse(ROOT / "clients/java/pom.xml").getroot()
    assert ["Apache-2.0"] == [each.text for each in pom.findall("m:licenses/m:license/m:name", POM)]
