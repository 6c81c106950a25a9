"""Counting a graph's arithmetic: multiply-adds of its products and convolutions, and what they read and write."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, helper

Shape = tuple[int, ...]
VALUE_BYTES = 4  # arithmetic is float32, however weights are stored


@dataclass(frozen=True)
class Arithmetic:
    """Multiply-adds by operator, and bytes that these operators read and write when each value moves once."""

    products_by_op: Mapping[str, int]
    bytes_moved: int

    @property
    def products(self) -> int:
        return sum(self.products_by_op.values())


def count(graph: bytes, inputs: Mapping[str, np.ndarray]) -> Arithmetic:
    """The arithmetic of one run with `inputs`; shapes are observed on that run, so dynamic axes need no guess."""
    model = onnx.load_model_from_string(graph)
    counted = [node for node in model.graph.node if node.op_type in PRODUCTS]
    shapes = _observe(model, {name for node in counted for name in (*node.input[:2], node.output[0])}, inputs)
    products: Counter[str] = Counter()
    moved = 0
    for node in counted:
        first, second, output = (shapes[name] for name in (*node.input[:2], node.output[0]))
        products[node.op_type] += PRODUCTS[node.op_type](node, first, second, output)
        moved += VALUE_BYTES * sum(map(math.prod, (first, second, output)))
    return Arithmetic(dict(products), moved)


def _observe(model: onnx.ModelProto, names: set[str], inputs: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    """The shapes of values of the graph in a run, which gives nothing but them."""
    from sam.graphs.rewrites import session

    if not names:
        return {}
    wanted = sorted(names)
    model.graph.node.extend(helper.make_node("Shape", [name], [f"{name}:shape"]) for name in wanted)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=f"{name}:shape") for name in wanted)
    answers = session(model.SerializeToString()).run(None, dict(inputs))
    return {name: tuple(map(int, shape)) for name, shape in zip(wanted, answers, strict=True)}


def _matrix(node: NodeProto, first: Shape, second: Shape, output: Shape) -> int:
    return math.prod(output) * first[-1]


def _gemm(node: NodeProto, first: Shape, second: Shape, output: Shape) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(output) * first[0 if transposed else 1]


def _convolution(node: NodeProto, first: Shape, second: Shape, output: Shape) -> int:
    """The weight is (outputs, inputs / groups, kernel): every output value sums over inputs / groups and kernel."""
    return math.prod(output) * math.prod(second[1:])


def _transposed_convolution(node: NodeProto, first: Shape, second: Shape, output: Shape) -> int:
    """The weight is (inputs, outputs / groups, kernel): every input value goes to outputs / groups and kernel."""
    return math.prod(first) * math.prod(second[1:])


PRODUCTS = {
    "MatMul": _matrix,
    "MatMulInteger": _matrix,
    "Gemm": _gemm,
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed_convolution,
}
