"""The Python client as others get it: a wheel in a clean environment."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from demo.facade import Facade
from demo.processes import Engine
from tests.pictures import jpeg

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients/python"
EXAMPLE = CLIENT / "examples/quickstart.py"


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    out = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, CLIENT)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the python of an environment that has the wheel and what types need, no more."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    _run(python, "-m", "pip", "install", "-q", wheel, "mypy", "types-grpcio", "types-protobuf")
    return python


def test_the_wheel_holds_one_package_and_its_types(wheel: Path) -> None:
    """Only productsearch/ at top level, marked as typed, with the service config."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert {"productsearch"} == top
    assert {
        "productsearch/py.typed",
        "productsearch/v1/product_search_pb2.pyi",
        "productsearch/v1/product_search_grpc_service_config.json",
    } <= {*names}


def test_the_sample_passes_mypy_strict(clean: Path, tmp_path: Path) -> None:
    """A consumer's strict type check is clean, and it does catch a wrong field."""
    sample = tmp_path / "sample.py"
    sample.write_text(EXAMPLE.read_text())
    assert "Success" in _run(clean, "-m", "mypy", "--strict", sample, cwd=tmp_path)
    sample.write_text(EXAMPLE.read_text().replace("page_size=5", 'page_size="5"'))
    done = subprocess.run(
        [clean, "-m", "mypy", "--strict", sample], cwd=tmp_path, capture_output=True, text=True
    )
    assert 'incompatible type "str"; expected "int"' in done.stdout


def test_the_sample_runs(clean: Path, engine: Engine, tmp_path: Path) -> None:
    """The example adds a picture, finds it, and the second time says that it is there."""
    pair = engine.create_library("sample")
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(jpeg(1, 200, 200))
    quick = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
    with Facade(tmp_path, engine.url, {"default": pair}, environment=quick) as facade:
        first, found = _run(clean, EXAMPLE, facade.url, picture).splitlines()
        again, _ = _run(clean, EXAMPLE, facade.url, picture).splitlines()
    sign = first.removeprefix("added ")
    assert f"1.000 {sign} a red apple" == found
    assert f"already there as {sign}" == again


def test_the_lines_of_the_readme_run(clean: Path, engine: Engine, tmp_path: Path) -> None:
    """The ten lines of each README, followed literally but for the port, print a hit."""
    pair = engine.create_library("readme")
    (tmp_path / "picture.jpg").write_bytes(jpeg(2))
    quick = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
    with Facade(tmp_path / "data", engine.url, {"default": pair}, environment=quick) as facade:
        _run(clean, EXAMPLE, facade.url, tmp_path / "picture.jpg")
        for readme in (ROOT / "README.md", CLIENT / "README.md"):
            (lines,) = re.findall(r"```python\n(from pathlib.*?)```", readme.read_text(), re.S)
            (tmp_path / "lines.py").write_text(lines.replace("127.0.0.1:50051", facade.url))
            assert "a red apple" in _run(clean, "lines.py", cwd=tmp_path)
