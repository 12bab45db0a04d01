"""The engine's own process leaves images to its workers, and the libraries for them as well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from demo.processes import Engine
from productsearch_engine.embedding.calibration import has_chances
from productsearch_engine.embedding.compact import MIXES
from productsearch_engine.embedding.interface import Embedding
from productsearch_engine.embedding.load import OWN, is_known, load
from tests.engine.calling import Caller
from tests.pictures import jpeg

_HEAVY = ("cv2", "onnxruntime")


def test_no_library_for_pixels_is_in_it(engine: Engine, compact_caller: Caller) -> None:
    """An image was added and searched for; 39 MB of OpenCV and onnxruntime are the workers'."""
    compact_caller.call("add", image=jpeg(1), brief="b")
    compact_caller.call("search", image=jpeg(1))
    own = psutil.Process(engine.pid)
    assert not _heavy(own)
    assert any(_heavy(worker) == set(_HEAVY) for worker in own.children(recursive=True))


def test_names_are_looked_up_without_it() -> None:
    """At its start the engine asks of each library whether its embedding is there."""
    asked = f"""
import sys
from types import SimpleNamespace
from productsearch_engine.server import compose

one = SimpleNamespace(name="a", embedding={OWN[-1]!r})
compose._log_unknown(SimpleNamespace(list=lambda: [one]))
print(*set({_HEAVY!r}) & set(sys.modules))
"""
    told = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split() == []


def _heavy(process: psutil.Process) -> set[str]:
    files = Path(f"/proc/{process.pid}/maps").read_text("utf-8")
    return {name for name in _HEAVY if f"/{name}/" in files}


def test_every_embedding_is_known() -> None:
    """By its name, and whatever is known by name can be loaded."""
    assert {*OWN} == {"classic-1", *MIXES}
    assert all(is_known(name) for name in OWN)
    assert not any(is_known(name) for name in ("compact-9", "", "onnx:/nowhere/model.toml"))


@pytest.mark.parametrize("name", OWN)
def test_whose_scores_are_chances(name: str) -> None:
    """As its own calibration says."""
    assert has_chances(name) == (type(load(name)).calibrate is not Embedding.calibrate)
