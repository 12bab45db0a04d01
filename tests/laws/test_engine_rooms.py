"""The engine's folders: who may import whom, read from the source with ``ast``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "productsearch_engine"

# From the top down. A folder or module imports only from the lines below its own.
LINES = (
    {"__main__"},
    {"cli"},
    {"server", "reembed", "library_commands", "database_commands", "bulk"},
    {"console"},
    {"api", "evaluation"},
    {"workers"},
    {"images", "store", "database"},
    {"embedding"},
    {"pasteable"},
    {"settings", "limits", "metrics", "logs", "progress", "traces", "one_thread", "threads"},
)
LINE_OF = {folder: line for line, folders in enumerate(LINES) for folder in folders}

# Libraries that belong to one part of the engine, and the folders that may import them.
HOMES = {
    "starlette": {"api", "console", "server"},
    "python_multipart": {"api", "console"},
    "jinja2": {"console"},
    "itsdangerous": {"console"},
    "babel": {"console"},
    "argon2": {"console"},
    "uvicorn": {"server"},
    "PIL": {"images", "workers", "evaluation"},
    "cv2": {"embedding", "evaluation"},
    "onnxruntime": {"embedding"},
    "matplotlib": {"evaluation"},
    "prometheus_client": {"metrics", "server"},
    "opentelemetry": {"server"},
    "pgvector": {"store", "database"},
    # Above store and database only for their errors and the type of the pool.
    "psycopg": {"store", "database", "api", "server", "cli"},
    "psycopg_pool": {"store", "database", "server"},
}

DOCUMENTED = {"_exit"}
"""Names of Python's own manual that only look private: ``os._exit``."""
PRIVATE_NAMES = {
    "tests/engine/test_sdk.py": "the vendor's SDK takes another host in no other way",
}
"""The one place that uses private names of another library, and the reason."""


def sources(*folders: str) -> dict[Path, ast.Module]:
    """Return the modules below some folders of the repository."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert paths
    return {path: ast.parse(path.read_text("utf-8")) for path in paths}


ENGINE = sources(f"engine/{PACKAGE}")


def name_of(path: Path) -> str:
    """Return a module's name within the engine: ``api.app``; a folder's is ``api``."""
    parts = path.relative_to(ROOT / "engine" / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): tree for path, tree in ENGINE.items()}


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the full name of all that a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where a name comes from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(tree: ast.Module) -> set[str]:
    """Return the engine's modules that a module imports; of a folder, its ``__init__``."""
    found = set()
    for full in imported(tree):
        package, _, name = full.partition(".")
        if package == PACKAGE:
            found.add(name if name in MODULES else name.rpartition(".")[0])
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_downwards(module: str) -> None:
    """A module imports its own folder and lines below it, nothing above and nothing beside."""
    own = module.partition(".")[0]
    if not own:
        assert set() == imported_modules(MODULES[module]), "the package itself imports nothing"
        return
    for name in imported_modules(MODULES[module]):
        folder = name.partition(".")[0]
        assert folder == own or LINE_OF[own] < LINE_OF[folder], f"{module} imports {name}"


def test_every_folder_has_a_line() -> None:
    """A new folder or module at the top has to be given its place here."""
    assert {module.partition(".")[0] for module in MODULES} - {""} <= LINE_OF.keys()


def test_there_is_no_cycle() -> None:
    """Also within a folder no module imports itself by way of others."""
    graph = {module: imported_modules(tree) - {module} for module, tree in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' > '.join(error.args[1])}")


def test_the_engine_is_independent_of_the_service() -> None:
    """Engine and service share the REST contract, not code."""
    for path, tree in ENGINE.items():
        packages = {name.partition(".")[0] for name in imported(tree)}
        assert set() == packages & {"productsearch", "productsearch_service"}, path


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_used_where_it_belongs(library: str) -> None:
    """Only some folders know the library."""
    for module, tree in MODULES.items():
        if library in {name.partition(".")[0] for name in imported(tree)}:
            assert module.partition(".")[0] in HOMES[library], module


def test_sql_is_only_in_store_and_database() -> None:
    """No other folder runs a statement."""
    for module, tree in MODULES.items():
        if module.partition(".")[0] not in ("store", "database"):
            names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            assert not names & {"execute", "executemany", "cursor"}, module


def test_error_codes_are_only_in_the_api() -> None:
    """What is below ``api`` raises errors of its own, without numbers of the contract."""
    for module, tree in MODULES.items():
        if LINE_OF.get(module.partition(".")[0], 0) > LINE_OF["api"]:
            numbers = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            assert not {n for n in numbers if isinstance(n, int) and 216000 <= n < 283999}, module


def private_names(tree: ast.Module) -> Iterator[str]:
    """Yield the private names of other modules and libraries that a module uses."""
    for name in imported(tree):
        if any(_is_private(part) for part in name.split(".")):
            yield name
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if _is_private(name):
                yield name
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "delattr" | "hasattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if _is_private(name):
                yield name


def _is_private(name: str) -> bool:
    if name in DOCUMENTED:
        return False
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def test_no_private_names() -> None:
    """Private names of other libraries are used in the listed place and nowhere else."""
    found = {
        str(path.relative_to(ROOT)): names
        for path, tree in (ENGINE | sources("tests/engine", "tests/embedding")).items()
        if (names := [*private_names(tree)])
    }
    assert PRIVATE_NAMES.keys() == found.keys(), found


@pytest.mark.parametrize(
    "line",
    [
        "from http.client import _encode",
        "import concurrent.futures._base",
        "import http.client as h; h._encode('x', 'y')",
        "getattr(object(), '_hidden')",
    ],
)
def test_a_private_name_is_found(line: str) -> None:
    """The search for private names finds each way of using one."""
    assert [*private_names(ast.parse(line))]


def test_modules_say_what_they_are_for() -> None:
    """Each module and folder has a docstring, and a folder's ``__init__`` has nothing else."""
    for path, tree in ENGINE.items():
        assert ast.get_docstring(tree), path
        if path.name == "__init__.py":
            assert 1 == len(tree.body), path
