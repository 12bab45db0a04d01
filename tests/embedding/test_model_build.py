"""The build of the networks: reads weights without running what their file says."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ENGINE = Path(__file__).resolve().parents[2] / "engine"


@pytest.fixture
def torch_file(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(ENGINE), *sys.path])
    return importlib.import_module("model_build.torch_file")


def saved(folder: Path, *, value: object = None, magic: int = 0x1950A86A20F9469CFC6C) -> Path:
    """Write a file as torch did, with some object in the place of the tensors."""
    path = folder / "weights.pth"
    parts = [magic, 1001, {"little_endian": True}, {} if value is None else value, []]
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    return path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


def test_no_code_is_run(tmp_path: Path, torch_file: ModuleType) -> None:
    """A file whose pickle calls a function is refused, and the function is not called."""
    path = saved(tmp_path, value=Harmful(tmp_path / "touched"))
    with pytest.raises(torch_file.TorchFileError, match="the file wants"):
        torch_file.read(path, digest(path))
    assert not (tmp_path / "touched").exists()
    pickle.loads(pickle.dumps(Harmful(tmp_path / "touched")))
    assert (tmp_path / "touched").exists(), "the test would not have noticed"


def test_another_file_is_not_parsed(tmp_path: Path, torch_file: ModuleType) -> None:
    """A file with another digest is refused before its pickle is looked at."""
    path = saved(tmp_path)
    assert {} == torch_file.read(path, digest(path))
    with pytest.raises(torch_file.TorchFileError, match="SHA-256"):
        torch_file.read(path, "0" * 64)
    other = saved(tmp_path, magic=1)
    with pytest.raises(torch_file.TorchFileError, match="not a file that torch saved"):
        torch_file.read(other, digest(other))


def test_the_networks_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each published tensor that is not the classifier's is in the network, at its place."""
    monkeypatch.setattr(sys, "path", [str(ENGINE), *sys.path])
    build = importlib.import_module("model_build.build")
    writer = importlib.import_module("model_build.efficientnet_lite")
    tensors = build.tensors("lite1")
    assert (1000, 1280) == tensors["_fc.weight"].shape
    made = writer.model({"lite1": tensors}, "licence")
    convolutions = [node for node in made.graph.node if node.op_type == "Conv"]
    kernels = [name for name in tensors if name.endswith("weight") and tensors[name].ndim == 4]
    assert len(kernels) == len(convolutions)
    sizes = sum(int(np.prod(each.dims)) for each in made.graph.initializer)
    norms = sum(tensors[name].shape[0] for name in kernels)
    assert sizes == sum(tensors[name].size for name in kernels) + norms + 2
