"""The map of the modules names each one: a reader finds every file of a folder explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = {
    "modules.md": ROOT / "service",
    "engine-modules.md": ROOT / "engine",
}
_FOLDER: Final = re.compile(r"## `([a-z_/]+)/`")
_MODULE: Final = re.compile(r"- `(\w+)`: \S.*\.")


def _told(page: str, package: str) -> list[str]:
    """Return the paths that a page's lists name, below the folder of the distribution."""
    told, folder = [], ""
    for line in (ROOT / "docs" / page).read_text("utf-8").splitlines():
        if heading := _FOLDER.fullmatch(line):
            folder = heading[1]
        elif line.startswith("- "):
            module = _MODULE.fullmatch(line)
            assert module, f"{page}: not a name and a sentence: {line}"
            at = (
                folder
                if folder.split("/")[0] in (package, "model_build")
                else f"{package}/{folder}"
            )
            told.append(f"{at}/{module[1]}.py")
    return told


@pytest.mark.parametrize(("page", "root"), PAGES.items(), ids=PAGES)
def test_each_module_has_a_sentence(page: str, root: Path) -> None:
    """Each once, in the list of its folder, and none that does not exist."""
    (package,) = (each.name for each in root.glob("productsearch_*"))
    exist = {
        str(path.relative_to(root))
        for folder in (package, "model_build")
        for path in (root / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    told = _told(page, package)
    assert sorted(exist) == sorted(told), f"docs/{page}: {exist.symmetric_difference(told)}"
