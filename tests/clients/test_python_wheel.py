"""What the wheel holds, and that its types hold what they promise."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from demo.facade import Facade
from demo.processes import Engine
from tests.clients.running import CLIENT, output_of
from tests.pictures import jpeg

EXAMPLE = CLIENT / "examples/quickstart.py"


def test_the_wheel_holds_one_package_and_its_types(wheel: Path) -> None:
    """Only productsearch/ at top level, marked as typed, with the service config."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert {"productsearch"} == top
    assert {
        "productsearch/py.typed",
        "productsearch/v1/product_search_pb2.pyi",
        "productsearch/v1/product_search_grpc_service_config.json",
        "productsearch/cli/importing/events.schema.json",
    } <= {*names}


@pytest.mark.slow
def test_without_its_extra_the_command_line_says_what_to_install(clean: Path) -> None:
    """The script is there; it ends with 2 and names the extra."""
    done = subprocess.run([clean.with_name("productsearch")], capture_output=True, text=True)
    assert (2, True) == (done.returncode, "pip install './clients/python[cli]'" in done.stderr)


@pytest.mark.slow
def test_the_sample_passes_mypy_strict(clean: Path, tmp_path: Path) -> None:
    """A consumer's strict type check is clean, and it does catch a wrong field."""
    sample = tmp_path / "sample.py"
    sample.write_text(EXAMPLE.read_text())
    assert "Success" in output_of(clean, "-m", "mypy", "--strict", sample, cwd=tmp_path)
    sample.write_text(EXAMPLE.read_text().replace("page_size=5", 'page_size="5"'))
    done = subprocess.run(
        [clean, "-m", "mypy", "--strict", sample], cwd=tmp_path, capture_output=True, text=True
    )
    assert 'incompatible type "str"; expected "int"' in done.stdout


@pytest.mark.slow
def test_the_sample_runs(clean: Path, engine: Engine, tmp_path: Path) -> None:
    """The example adds an image, finds it, and the second time says that it is there."""
    pair = engine.create_library("sample")
    image = tmp_path / "image.jpg"
    image.write_bytes(jpeg(1, 200, 200))
    quick = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
    with Facade(tmp_path, engine.url, {"default": pair}, environment=quick) as facade:
        first, found = output_of(clean, EXAMPLE, facade.url, image).splitlines()
        again, _ = output_of(clean, EXAMPLE, facade.url, image).splitlines()
    sign = first.removeprefix("added ")
    assert f"1.000 {sign} a red apple" == found
    assert f"already there as {sign}" == again
