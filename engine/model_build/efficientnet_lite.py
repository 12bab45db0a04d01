"""Writes EfficientNet-Lite networks without their classifiers as one ONNX model.

Knows the networks' layers and the names of their tensors. Batch normalisation is folded into the
convolutions. Weights are stored in half precision and computed with in single precision: that
halves the file and no processor computes differently. Architecture: Tan and Le, EfficientNet,
ICML 2019, in the variants Lite, which have neither squeeze-and-excitation nor swish.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from model_build.torch_file import Tensors

_STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_EPSILON = 1e-3  # of TensorFlow's batch normalisation, with which the network was trained
_OPSET, _IR_VERSION = 17, 8

INPUT = "image"
CHANNELS = 1280
"""Of each network's output, which has a thirty-second of the input's height and width."""


class _Graph:
    """The nodes and constants of one network; its names begin with ``name``."""

    def __init__(self, name: str, tensors: Tensors):
        self._name = name
        self._tensors = tensors
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def has(self, layer: str) -> bool:
        return f"{layer}.weight" in self._tensors

    def width(self, layer: str) -> int:
        """Return how many channels a convolution gives."""
        return int(self._tensors[f"{layer}.weight"].shape[0])

    def convolve(
        self, source: str, layer: str, norm: str, *, out: str, stride: int = 1, relu: bool = True
    ) -> str:
        """Add a convolution with its normalisation, and a ReLU6; return the result's name."""
        out = f"{self._name}.{out}"
        kernel = self._tensors[f"{layer}.weight"].astype(np.float64)
        scale = self._norm(norm, "weight") / np.sqrt(self._norm(norm, "running_var") + _EPSILON)
        shift = self._norm(norm, "bias") - self._norm(norm, "running_mean") * scale
        self._constant(f"{out}.w", kernel * scale[:, None, None, None], np.float16)
        self._constant(f"{out}.b", shift, np.float32)
        depthwise = kernel.shape[1] == 1
        self.nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{out}.w", f"{out}.b"],
                [f"{out}.linear" if relu else out],
                kernel_shape=kernel.shape[2:],
                strides=[stride, stride],
                group=kernel.shape[0] if depthwise else 1,
                auto_pad="SAME_UPPER",  # TensorFlow's padding
            )
        )
        if relu:
            self.nodes.append(helper.make_node("Clip", [f"{out}.linear", "zero", "six"], [out]))
        return out

    def _constant(
        self, name: str, value: NDArray[np.float64], stored: type[np.float16 | np.float32]
    ) -> None:
        if stored is np.float32:
            self.constants.append(numpy_helper.from_array(value.astype(stored), name))
            return
        self.constants.append(numpy_helper.from_array(value.astype(stored), f"{name}.half"))
        self.nodes.append(
            helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)
        )

    def _norm(self, layer: str, part: str) -> NDArray[np.float64]:
        return self._tensors[f"{layer}.{part}"].astype(np.float64)


def model(networks: Mapping[str, Tensors], licence: str) -> onnx.ModelProto:
    """Return the networks side by side, by their names.

    Input ``image``, shape (n, 3, h, w), -1 to 1; for each network an output with its name, shape
    (n, 1280, h/32, w/32), 0 to 6.
    """
    nodes, constants, results = [], _numbers(zero=0, six=6), []
    for name, tensors in networks.items():
        graph = _network(name, tensors)
        nodes += graph.nodes
        constants += graph.constants
        shape = ["n", CHANNELS, "map_h", "map_w"]
        results.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    source = helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])
    made = helper.make_model(
        helper.make_graph(nodes, "efficientnet-lite", [source], results, constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="productsearch-engine",
    )
    helper.set_model_props(made, {"licence": licence})
    onnx.checker.check_model(made)
    return made


def _numbers(**values: float) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.array(each, np.float32), n) for n, each in values.items()]


def _network(name: str, tensors: Tensors) -> _Graph:
    graph = _Graph(name, tensors)
    last = graph.convolve(INPUT, "_conv_stem", "_bn0", out="stem", stride=2)
    stage, width, number = -1, 0, 0
    while graph.has(f"_blocks.{number}._project_conv"):
        starts = graph.width(f"_blocks.{number}._project_conv") != width
        stage, width = stage + starts, graph.width(f"_blocks.{number}._project_conv")
        last = _block(graph, last, number, _STAGE_STRIDES[stage] if starts else 1, starts=starts)
        number += 1
    last = graph.convolve(last, "_conv_head", "_bn1", out="head")
    graph.nodes.append(helper.make_node("Identity", [last], [name]))
    return graph


def _block(graph: _Graph, source: str, number: int, stride: int, *, starts: bool) -> str:
    """Add an inverted residual block; only a block that starts a stage has no shortcut."""
    layer, out = f"_blocks.{number}", f"block{number}"
    last = source
    if graph.has(f"{layer}._expand_conv"):
        last = graph.convolve(last, f"{layer}._expand_conv", f"{layer}._bn0", out=f"{out}.expand")
    last = graph.convolve(
        last, f"{layer}._depthwise_conv", f"{layer}._bn1", out=f"{out}.depthwise", stride=stride
    )
    last = graph.convolve(
        last, f"{layer}._project_conv", f"{layer}._bn2", out=f"{out}.project", relu=False
    )
    if starts:
        return last
    total = f"{last}.sum"
    graph.nodes.append(helper.make_node("Add", [source, last], [total]))
    return total
