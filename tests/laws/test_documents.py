"""The documents list all that there is: reasons, settings; and their links lead somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import grpc
import pytest

from productsearch.v1 import ErrorReason
from productsearch_service.cli import main
from productsearch_service.rpc import status
from productsearch_service.server.memory_bounds import worst_mib
from productsearch_service.settings import Settings
from productsearch_service.settings_library import LibrarySettings

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted(ROOT.glob("clients/*/README.md")),
]
_NO_EFFECT: Final = {"one_core", "libraries.NAME.search_cache_entries"}
_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_LINK: Final = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
_HEADING: Final = re.compile(r"#{1,6} +(.+)")
_NAMED: Final = re.compile(r"""<a id="([^"]+)"></a>""")
_CODE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _rows(page: Path) -> list[str]:
    return [line for line in page.read_text("utf-8").splitlines() if line.startswith("| `")]


def test_the_error_table_has_each_reason_with_its_code() -> None:
    """Once each, in the row of the status code that the service sends."""
    told = [
        (reason, row.split("|")[2])
        for row in _rows(DOCS / "errors.md")
        for reason in re.findall(r"`([A-Z_]+)`", row.split("|")[1])
    ]
    assert sorted({*ErrorReason.keys()} - {"ERROR_REASON_UNSPECIFIED"}) == sorted(
        reason for reason, _ in told
    )
    for reason, code in told:
        assert _NAMES[status.CODES[reason]] in code, reason


def test_the_memory_table_is_what_the_doctor_counts() -> None:
    """Each row, and their sum with one search cache and without."""
    page = (DOCS / "operating.md").read_text("utf-8")
    rows = re.findall(r"^\| `?([a-z ,]+)`?[^|]*\|[^|]*\| ([\d,]+) \|$", page, re.MULTILINE)
    told = {kind.strip(): int(mib.replace(",", "")) for kind, mib in rows}
    counted = worst_mib()
    assert counted | {"together": sum(counted.values())} == {
        kind.removesuffix(", in processes of its own"): mib for kind, mib in told.items()
    }
    assert f"without\nany it is {sum(worst_mib(search_cache_bytes=0).values()):,}" in page


def test_the_settings_table_has_each_setting() -> None:
    """Those of the service and those of a library; none that does not exist."""
    told: set[str] = set()
    for row in _rows(DOCS / "settings.md"):
        for name in re.findall(r"`([a-zA-Z_.]+)`", row.split("|")[1]):
            told.add(f"libraries.NAME{name}" if name.startswith(".") else name)
    exist = {*Settings.model_fields} - {"libraries"}
    exist |= {f"libraries.NAME.{name}" for name in LibrarySettings.model_fields}
    assert exist - _NO_EFFECT == told
    for name in _NO_EFFECT:
        assert f"`{name}`" in (DOCS / "settings.md").read_text("utf-8")


def _anchors(page: Path) -> set[str]:
    """Return what a link can name in a page: headings as GitHub spells them, and named places."""
    text = _CODE.sub("", page.read_text("utf-8"))
    found = {*_NAMED.findall(text)}
    for line in text.splitlines():
        if heading := _HEADING.fullmatch(line):
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", _NAMED.sub("", heading[1]))
            slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
            found.add(slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file or folder, and with # a place that is in that page."""
    for path, anchor in _LINK.findall(page.read_text("utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), f"{path}#{anchor}"


def test_readme_and_settings_say_how_to_start_the_facade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names `serve` and `doctor` with a settings file; both commands exist."""
    commands = ("serve", "doctor")
    for page in (ROOT / "README.md", DOCS / "settings.md"):
        text = page.read_text("utf-8")
        for command in commands:
            line = f"PRODUCTSEARCH_SETTINGS=service.toml productsearch-service {command}"
            assert line in text, page.name
        assert "make dist" in text, page.name
    for command in commands:
        monkeypatch.setattr(sys, "argv", ["productsearch-service", command, "--help"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
