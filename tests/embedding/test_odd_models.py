"""Models, TOML files and paths as strangers have them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from productsearch_engine.embedding import onnx_files
from productsearch_engine.embedding.interface import (
    Embedding,
    EmbeddingUnusableError,
    NoVectorError,
)
from productsearch_engine.embedding.load import UnknownEmbeddingError, load
from productsearch_engine.embedding.onnx import Onnx, identified
from productsearch_engine.evaluation import measure
from productsearch_engine.evaluation.dataset import DatasetError
from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.workers.describe import describe, describe_copy
from tests.embedding.test_onnx import FLAT, SAME, SIDE, image, unit, write
from tests.pictures import draw, encode

BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)


def model(folder: Path, nodes: Sequence[onnx.NodeProto], **changes: Any) -> str:
    """Write a model with other inputs, types or constants; return the embedding's name."""
    name = write(folder, nodes=FLAT)
    kind = changes.pop("kind", TensorProto.FLOAT)
    shape = changes.pop("shape", ("n", 3, SIDE, SIDE))
    inputs = changes.pop("inputs", [helper.make_tensor_value_info("in", kind, shape)])
    output = helper.make_tensor_value_info("out", kind, None)
    graph = helper.make_graph(nodes, "odd", inputs, [output], **changes)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, folder / "small.onnx")
    return name


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_precisions(tmp_path: Path, kind: int) -> None:
    """A model in half or double precision is given its own."""
    embedding = load(model(tmp_path, FLAT, kind=kind))
    expected = unit(image().transpose(2, 0, 1))
    assert pytest.approx(expected, abs=1e-3) == embedding.embed([image()])[0]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_needs_no_key(tmp_path: Path, batch: int) -> None:
    """A model that takes so many images and no others is given so many, whatever the key says."""
    embedding = load(model(tmp_path, FLAT, shape=(batch, 3, SIDE, SIDE)))
    images = [image(SIDE + i, SIDE) for i in range(7)]
    alone = np.concatenate([embedding.embed([each]) for each in images])
    assert pytest.approx(alone, abs=1e-6) == embedding.embed(images)


def test_a_map_with_channels_last_is_averaged_over_its_places(tmp_path: Path) -> None:
    """Of (n, h, w, d), d numbers are left."""
    name = write(
        tmp_path, nodes=SAME, shape=("n", SIDE, SIDE, 3), layout="nhwc", pooling="mean",
        gives=("n", SIDE, SIDE, 3),
    )  # fmt: skip
    assert pytest.approx(unit(image().mean((0, 1))), abs=1e-5) == load(name).embed([image()])[0]


ONE = numpy_helper.from_array(np.ones((1, 5), np.float32), "one")
HUGE = numpy_helper.from_array(np.array(3e37, np.float32), "huge")
NONE = numpy_helper.from_array(np.array(0, np.float32), "none")


@pytest.mark.parametrize(
    ("nodes", "changes", "said"),
    [
        ([helper.make_node("Identity", ["one"], ["out"])], {"inputs": [], "initializer": [ONE]},
         "has no input ''; there is: none"),
        (FLAT, {"kind": TensorProto.UINT8}, r"takes tensor\(uint8\), not one of"),
        ([helper.make_node("Mul", ["in", "none"], ["m"]),
          helper.make_node("Flatten", ["m"], ["out"])], {"initializer": [NONE]}, "gives zeros"),
        ([helper.make_node("Log", ["in"], ["l"]), helper.make_node("Sub", ["l", "l"], ["m"]),
          helper.make_node("Flatten", ["m"], ["out"])], {}, "gives zeros, or what is no number"),
    ],
)  # fmt: skip
def test_models_that_give_nothing(
    tmp_path: Path, nodes: list[onnx.NodeProto], changes: dict[str, Any], said: str
) -> None:
    """A model without a use is refused when it is loaded, with the reason."""
    with pytest.raises(UnknownEmbeddingError, match=said):
        load(model(tmp_path, nodes, **changes))


def test_large_numbers_have_a_direction(tmp_path: Path) -> None:
    """Squares that single precision does not hold make no vector of zeros."""
    nodes = [
        helper.make_node("Mul", ["in", "huge"], ["m"]),
        helper.make_node("Flatten", ["m"], ["out"]),
    ]
    vector = load(model(tmp_path, nodes, initializer=[HUGE])).embed([image()])[0]
    assert pytest.approx(unit(image().transpose(2, 0, 1)), abs=1e-5) == vector


def blind(folder: Path) -> Embedding:
    """Return a model that sees nothing in black."""
    return load(model(folder, FLAT))


def test_an_image_without_a_vector_is_refused(tmp_path: Path) -> None:
    """It would be stored and never be found; of several images it is said which one it is."""
    embedding = blind(tmp_path)
    with pytest.raises(NoVectorError) as raised:
        embedding.embed([image()] * 9 + [BLACK])
    assert 9 == raised.value.place
    files = [tmp_path / f"{name}.png" for name in ("seen", "black")]
    for file, pixels in zip(files, (image(), BLACK), strict=True):
        Image.fromarray(pixels).save(file)
    with pytest.raises(DatasetError, match=r"no vector for .*black\.png"):
        measure.embed_all([embedding], files)
    assert (1, 192) == measure.embed_all([embedding], files[:1])[0].vectors.shape
    black = draw(0, 320, 320).point([0] * 768)
    with pytest.raises(ImageUnreadableError):
        describe(encode(black, quality=95), embedding)
    with pytest.raises(ImageUnreadableError):
        describe_copy(encode(black, form="WEBP"), embedding, None)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda file: file.write_bytes(b""), "cannot read"),
        (lambda file: file.write_bytes(b"PK\x03\x04" + bytes(60)), "cannot read"),
        (lambda file: np.save(file, np.ones((0, 192), np.float32)), "not a matrix"),
        (lambda file: np.save(file, np.full((3, 192), np.nan, np.float32)), "not a matrix"),
        (lambda file: np.save(file, np.ones((3, 19), np.float32)), "does not take"),
        (lambda file: np.save(file, np.ones((3, 192))), "not a matrix"),
    ],
)
def test_odd_projections(tmp_path: Path, made: Callable[[Path], object], said: str) -> None:
    """What is no matrix of numbers for this model is refused."""
    name = write(tmp_path, nodes=FLAT, projection="p.npy")
    made(tmp_path / "p.npy")
    with pytest.raises(UnknownEmbeddingError, match=said):
        load(name)


@pytest.mark.parametrize("text", ['model = "a\\u0000b"', "x = " + "[" * 5000 + "]" * 5000])
def test_odd_toml_files(tmp_path: Path, text: str) -> None:
    """A name that no file has, and nesting that no parser goes down into, are refused."""
    file = tmp_path / "odd.toml"
    file.write_text(f'{text}\nlicence = "MIT"\nside = 8\n')
    with pytest.raises(UnknownEmbeddingError, match="cannot read"):
        load(f"onnx:{file}")


def test_odd_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may have ``#`` in its name; a relative path is stored in full; a person whose
    folder is not there is told."""
    folder = tmp_path / "a#1"
    folder.mkdir()
    name = load(write(folder, nodes=FLAT)).name
    assert name.startswith(f"onnx:{folder}/small.toml#")
    assert name == Onnx(name).name
    monkeypatch.chdir(folder)
    assert name == load("onnx:small.toml").name
    with pytest.raises(UnknownEmbeddingError, match="home directory"):
        load("onnx:~nobody-of-this-name/small.toml")


def test_weights_in_a_file_of_their_own_count(tmp_path: Path) -> None:
    """A model whose weights were exchanged is another one, wherever it keeps them; libraries that
    were made before such files counted go on."""
    weights = numpy_helper.from_array(np.ones((192, 4), np.float32), "weights")
    nodes = [
        helper.make_node("Flatten", ["in"], ["f"]),
        helper.make_node("MatMul", ["f", "weights"], ["out"]),
    ]
    name = model(tmp_path, nodes, initializer=[weights])
    made = onnx.load(tmp_path / "small.onnx")
    onnx.save(
        made, tmp_path / "small.onnx", save_as_external_data=True, location="w.bin",
        size_threshold=0,
    )  # fmt: skip
    assert ["w.bin"] == onnx_files.beside(memoryview((tmp_path / "small.onnx").read_bytes()))
    stored, card = identified(name)
    assert stored == load(stored).name
    before = f"onnx:{tmp_path / 'small.toml'}#{card.digest_without_weights[:12]}"
    assert before == identified(before)[0] != stored
    shutil.copy(tmp_path / "w.bin", tmp_path / "kept")
    (tmp_path / "w.bin").write_bytes(np.arange(768, dtype=np.float32).tobytes())
    with pytest.raises(EmbeddingUnusableError, match="have changed"):
        Onnx(stored)
    shutil.copy(tmp_path / "kept", tmp_path / "w.bin")
    assert stored == Onnx(stored).name
    (tmp_path / "w.bin").unlink()
    with pytest.raises(UnknownEmbeddingError, match=r"cannot read .*w\.bin"):
        load(name)


def test_a_damaged_model_names_no_files() -> None:
    """Whatever bytes there are, looking for files ends."""
    drawn = np.random.RandomState(1)
    for _ in range(300):
        onnx_files.beside(memoryview(drawn.bytes(drawn.randint(200))))
