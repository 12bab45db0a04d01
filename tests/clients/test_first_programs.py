"""The programs of the README at the top, followed literally but for the port."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from demo.facade import Facade
from demo.processes import Engine
from tests.clients.running import ROOT, output_of
from tests.mesh.tools import need
from tests.pictures import jpeg

_TARGET: Final = "127.0.0.1:50051"
_README: Final = (ROOT / "README.md").read_text("utf-8")
_GO_MODULE: Final = "github.com/productsearch/productsearch/clients/go"
_GO, _JAVA = ROOT / "clients/go", ROOT / "clients/java"
_PRINTED: Final = re.compile(r"ADD_OUTCOME_(\w+) (\d+,\d+)\n1\.000 (\d+,\d+) sku-1\n")


def _programs(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _README, re.DOTALL)


def _before(language: str, text: str) -> bool:
    """Return whether a text stands between the heading of the programs and the first of them."""
    began = _README.index("## Add, then search")
    return text in _README[began : _README.index(f"```{language}\n")]


def _filters(language: str, *patterns: str) -> list[str]:
    """Return what the client's README says of class ids: in an add, in a filter, of both."""
    text = " ".join((ROOT / f"clients/{language}/README.md").read_text("utf-8").split())
    return [re.findall(pattern, text)[0] for pattern in patterns]


@pytest.fixture
def target(engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a facade over an empty library."""
    (tmp_path / "image.jpg").write_bytes(jpeg(2))
    pairs = {"default": engine.create_library(request.node.name[:60].replace("_", "-"))}
    quick = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
    with Facade(tmp_path / "service", engine.url, pairs, environment=quick) as facade:
        yield facade.url


def _added_and_found(printed: str, outcome: str = "CREATED") -> None:
    told = _PRINTED.fullmatch(printed)
    assert told, printed
    assert told[1] == outcome
    assert told[2] == told[3]


def test_python_adds_finds_changes_and_deletes(target: str, tmp_path: Path) -> None:
    """After the second program the image is gone, so the first can add it again."""
    add, change = (program.replace(_TARGET, target) for program in _programs("python"))
    assert _before("python", "pip install ./clients/python")
    for _ in range(2):
        for outcome in ("CREATED", "KEPT"):
            _added_and_found(output_of(sys.executable, "-c", add, cwd=tmp_path), outcome)
        gone = output_of(sys.executable, "-c", change, cwd=tmp_path)
        assert "0 could not be deleted\n" == gone


@pytest.mark.slow
def test_go_adds_and_finds(target: str, tmp_path: Path) -> None:
    """In a folder of its own, with the README's four commands."""
    need("go")
    (program,) = _programs("go")
    (tmp_path / "main.go").write_text(program.replace(_TARGET, target))
    printed = ""
    for command in (
        "go mod init first",
        f"go mod edit -replace {_GO_MODULE}=CLONE/clients/go",
        "go mod tidy",
        "go run .",
    ):
        assert _before("go", f"`{command}`")
        printed = output_of(*command.replace("CLONE", str(ROOT)).split(), cwd=tmp_path)
    _added_and_found(printed)
    set_id, filtered, either = _filters(
        "go", r"`(ClassId1)` of", r"`(ClassFilter: [^`]*)` of a search", r"`(Operator: [^`]*)`"
    )
    class_id = re.findall(r"productsearch\.ClassID\(7\)", filtered)[0]
    changed = program.replace(_TARGET, target)
    changed = changed.replace('"sku-1"', f'"sku-1", {set_id}: {class_id}')
    changed = changed.replace("POLICY_KEEP", "POLICY_UPDATE")
    for search, found in ((filtered, True), (filtered.replace("7", "8"), False)):
        either_of = search.replace("7)", f"7), ClassId2: productsearch.ClassID(9), {either}")
        (tmp_path / "main.go").write_text(
            changed.replace("PageSize: 5", f"PageSize: 5, {either_of}")
        )
        assert found is ("1.000" in output_of("go", "run", ".", cwd=tmp_path))


@pytest.mark.slow
def test_java_adds_and_finds(target: str, tmp_path: Path) -> None:
    """With the client as Maven builds it, and what its POM asks for."""
    need("mvn")
    assert _before("java", "mvn -q install -Dmaven.test.skip=true")
    output_of("mvn", "-B", "-ntp", "-q", "package", "-Dmaven.test.skip=true", cwd=_JAVA)
    (program,) = _programs("java")
    (tmp_path / "FirstSearch.java").write_text(program.replace(_TARGET, target))
    libraries = (_JAVA / "target/interop.classpath").read_text("utf-8").strip()
    path = os.pathsep.join((str(_JAVA / "target/classes"), libraries))
    _added_and_found(output_of("java", "-cp", path, "FirstSearch.java", cwd=tmp_path))
    set_id, filtered, either = _filters(
        "java", r"`(setClassId1\(7\))` of", r"`(setClassFilter\(.*?\))` of", r"`(setOperator[^`]*)`"
    )
    changed = program.replace(_TARGET, target).replace("POLICY_KEEP", "POLICY_UPDATE")
    changed = changed.replace('setBrief("sku-1")', f'setBrief("sku-1").{set_id}')
    for search, found in ((filtered, True), (filtered.replace("7", "8"), False)):
        either_of = search.replace("(7)", f"(7).setClassId2(9).{either}")
        (tmp_path / "FirstSearch.java").write_text(
            changed.replace("setPageSize(5)", f"setPageSize(5).{either_of}")
        )
        printed = output_of("java", "-cp", path, "FirstSearch.java", cwd=tmp_path)
        assert found is ("1.000" in printed)
