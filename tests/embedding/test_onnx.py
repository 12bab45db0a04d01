"""Any ONNX model as an embedding: with small models that are made here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from productsearch_engine.embedding import model_card
from productsearch_engine.embedding.interface import Box, EmbeddingUnusableError, Pixels
from productsearch_engine.embedding.load import UnknownEmbeddingError, load
from productsearch_engine.embedding.onnx import Onnx

SIDE = 8


def write(
    folder: Path,
    *,
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str] = ("n", 3, SIDE, SIDE),
    gives: Sequence[int | str] = ("n", "d"),
    **keys: object,
) -> str:
    """Write a model from ``in`` to ``out`` and its TOML file; return the embedding's name."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, gives)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "small.onnx").write_bytes(made.SerializeToString())
    plain: dict[str, object] = {"model": "small.onnx", "licence": "MIT", "side": SIDE}
    plain |= {"mean": [0.0, 0.0, 0.0], "spread": [1.0, 1.0, 1.0]}
    return describe(folder, **(plain | keys))


def describe(folder: Path, **keys: object) -> str:
    """Write a TOML file with some keys; return the embedding's name."""
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in keys.items()
    ]
    (folder / "small.toml").write_text("\n".join(lines), "utf-8")
    return f"onnx:{folder / 'small.toml'}"


FLAT = [helper.make_node("Flatten", ["in"], ["out"])]
SAME = [helper.make_node("Identity", ["in"], ["out"])]


def image(height: int = SIDE, width: int = SIDE) -> Pixels:
    """Return an image in which each pixel and channel is different."""
    return np.arange(height * width * 3).reshape(height, width, 3).astype(np.uint8)


def unit(numbers: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return numbers as one row of length 1."""
    row = np.asarray(numbers, np.float32).ravel()
    return np.asarray(row / np.linalg.norm(row))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colours", ["rgb", "bgr"])
def test_layout_colours_mean_and_spread(tmp_path: Path, layout: str, colours: str) -> None:
    """The model is given channels in the order, the place and the range that the file says."""
    shape = ("n", 3, SIDE, SIDE) if layout == "nchw" else ("n", SIDE, SIDE, 3)
    mean, spread = [0.1, 0.2, 0.3], [0.5, 0.25, 0.125]
    name = write(
        tmp_path,
        nodes=FLAT,
        shape=shape,
        layout=layout,
        colours=colours,
        mean=mean,
        spread=spread,
    )
    expected = image().astype(np.float64)[..., :: 1 if colours == "rgb" else -1] / 255
    expected = (expected - mean) / spread
    expected = expected if layout == "nhwc" else expected.transpose(2, 0, 1)
    assert pytest.approx(unit(expected), abs=1e-5) == load(name).embed([image()])[0]


def test_resizing(tmp_path: Path) -> None:
    """``squash`` uses all of the image, ``crop`` its middle, ``pad`` adds the mean."""
    wide = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    wide[:, SIDE // 2 : -SIDE // 2] = 255
    seen = {}
    for resize in ("squash", "crop", "pad"):
        folder = tmp_path / resize
        folder.mkdir()
        name = write(folder, nodes=FLAT, resize=resize, interpolation="area", mean=[0.5] * 3)
        seen[resize] = load(name).embed([wide])[0].reshape(3, SIDE, SIDE)[0]
    assert (seen["crop"] > 0).all()
    assert (seen["squash"][:, 0] < 0).all()
    assert (seen["squash"][:, SIDE // 2] > 0).all()
    assert (np.abs(seen["pad"][0]) < 0.01).all()
    assert (seen["pad"][SIDE // 2, SIDE // 2 - 1 : SIDE // 2 + 1] > 0).all()


@pytest.mark.parametrize("pooling", ["none", "mean", "first"])
def test_pooling(tmp_path: Path, pooling: str) -> None:
    """A map is averaged, of tokens the first or the average counts, a vector stays."""
    nodes = FLAT if pooling == "none" else SAME
    gives: tuple[int | str, ...] = ("n", "d") if pooling == "none" else ("n", 3, SIDE, SIDE)
    if pooling == "first":
        # Each channel is a token of SIDE x SIDE numbers.
        tokens = helper.make_tensor("tokens", TensorProto.INT64, [3], [0, 3, SIDE * SIDE])
        nodes = [
            helper.make_node("Constant", [], ["shape"], value=tokens),
            helper.make_node("Reshape", ["in", "shape"], ["out"]),
        ]
        gives = ("n", 3, "d")
    vector = load(write(tmp_path, nodes=nodes, gives=gives, pooling=pooling)).embed([image()])[0]
    channels = image().transpose(2, 0, 1).astype(np.float64)
    expected = {"none": channels, "mean": channels.mean((1, 2)), "first": channels[0]}[pooling]
    assert pytest.approx(unit(expected), abs=1e-5) == vector


def test_projection(tmp_path: Path) -> None:
    """The vector is multiplied with the matrix, and its length is 1 again."""
    matrix = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    np.save(tmp_path / "matrix.npy", matrix)
    gives = ("n", 3, SIDE, SIDE)
    name = write(tmp_path, nodes=SAME, gives=gives, pooling="mean", projection="matrix.npy")
    embedding = load(name)
    assert 5 == embedding.dimensions
    expected = unit(matrix @ image().reshape(-1, 3).mean(0))
    assert pytest.approx(expected, abs=1e-5) == embedding.embed([image()])[0]


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_batches_and_regions(tmp_path: Path, batch: int) -> None:
    """Images of any size, in batches of any size, keep their order; a region is cut out."""
    shape = (batch, 3, SIDE, SIDE) if batch == 1 else ("n", 3, SIDE, SIDE)
    embedding = load(write(tmp_path, nodes=FLAT, shape=shape, batch=batch))
    images = [image(SIDE + i, SIDE + 2 * i) for i in range(7)]
    alone = [embedding.embed([each])[0] for each in images]
    assert pytest.approx(np.stack(alone), abs=1e-6) == embedding.embed(images)
    large = image(4 * SIDE, 4 * SIDE)
    box = Box(0.25, 0.5, 0.25, 0.25)
    part = large[2 * SIDE : 3 * SIDE, SIDE : 2 * SIDE]
    described = embedding.describe([large], [box])[0]
    assert pytest.approx(embedding.embed([part])[0], abs=1e-6) == described.vector
    assert box == described.subject


def test_the_name_has_a_digest(tmp_path: Path) -> None:
    """A name that a library stores loads while the files are the same, and not afterwards."""
    stored = load(write(tmp_path, nodes=FLAT)).name
    assert stored.startswith(f"onnx:{tmp_path}/small.toml#")
    assert stored == load(stored).name
    write(tmp_path, nodes=FLAT, resize="crop")
    with pytest.raises(EmbeddingUnusableError, match="have changed"):
        Onnx(stored)


WRONG = [
    ({"side": 0}, "side: not a number from 1 to 1024: 0"),
    ({"side": "224"}, "side: not a number"),
    ({"mean": [0.5]}, "mean: not three numbers"),
    ({"spread": [1.0, 1.0, 0.0]}, "spread: not three numbers above 0"),
    ({"layout": "hwc"}, "layout: none of nchw, nhwc: 'hwc'"),
    ({"pooling": "max"}, "pooling: none of none, mean, first"),
    ({"mean": [float("nan"), 0.0, 0.0]}, "mean: not three numbers"),
    ({"spread": [float("inf"), 1.0, 1.0]}, "spread: not three numbers above 0"),
    ({"mean": [10**400, 0.0, 0.0]}, "mean: not three numbers"),
    ({"input": "pixels"}, "has no input 'pixels'; there is: in"),
    ({"sides": 224}, "sides: no such key"),
    ({"model": 3}, "model: not a text"),
    ({"model": "other.onnx"}, "cannot read"),
    ({"projection": "none.npy"}, "cannot read"),
    ({"output": "nothing"}, "does not take what its TOML file says"),
    ({"side": 2 * SIDE}, "does not take what its TOML file says"),
]


@pytest.mark.parametrize(("keys", "text"), WRONG)
def test_a_wrong_file_says_which_key(tmp_path: Path, keys: dict[str, Any], text: str) -> None:
    """A file that cannot be used is an error that names the key, or the file, and the fault."""
    with pytest.raises(UnknownEmbeddingError, match=text):
        load(write(tmp_path, nodes=FLAT, **keys))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    """No file, no TOML, no model: each is an error that names the file."""
    with pytest.raises(UnknownEmbeddingError, match=r"cannot read .*none\.toml"):
        load(f"onnx:{tmp_path}/none.toml")
    (tmp_path / "bad.toml").write_bytes(b"side = \xff")
    with pytest.raises(UnknownEmbeddingError, match=r"cannot read .*bad\.toml"):
        load(f"onnx:{tmp_path}/bad.toml")
    (tmp_path / "empty.onnx").write_bytes(b"no model")
    name = describe(tmp_path, model="empty.onnx", licence="MIT", side=8)
    with pytest.raises(UnknownEmbeddingError, match=r"cannot run .*empty\.onnx"):
        load(name)
    with pytest.raises(UnknownEmbeddingError, match="licence: is missing"):
        load(describe(tmp_path, model="empty.onnx", side=8, sides=9))


def test_too_many_numbers(tmp_path: Path) -> None:
    """More numbers than an index takes are refused when the model is loaded."""
    name = write(tmp_path, nodes=FLAT, shape=("n", 3, 64, 64), side=64)
    with pytest.raises(UnknownEmbeddingError, match="12288 numbers, an index takes at most 4000"):
        load(name)


DOCUMENTED = sorted((Path(__file__).parents[2] / "docs" / "embeddings").glob("*.toml"))


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.stem)
def test_documented_files(tmp_path: Path, path: Path) -> None:
    """The TOML files of the documentation are read without a fault, and name their licence."""
    (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / f"{path.stem}.onnx").write_bytes(b"")
    card = model_card.read(tmp_path / path.name)
    assert tmp_path / f"{path.stem}.onnx" == card.model
    assert card.licence
    assert ("research only" in card.licence) == path.stem.startswith("mobileclip")


def test_models_are_documented() -> None:
    """There is a file for each of six models."""
    assert 6 == len(DOCUMENTED)
