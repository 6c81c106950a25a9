"""Rewrites of an ONNX graph that keep its meaning: shape arithmetic folded, weights stored smaller, versions pinned.

Functions on `onnx.ModelProto`, which they change in place; they know nothing of SAM. `export`, `bundle` and
`verification` import this module.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, as it loads; since 1.29 it would report each session by network
import onnxruntime

OPSET = 17
"""The oldest opset with LayerNormalization; every onnxruntime-web since 1.13 runs it."""

OPSETS = range(OPSET, 21)
"""What a graph can be written in: PyTorch's TorchScript exporter knows none that is newer."""

Precision = Literal["fp32", "fp16", "int8", "uint8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

FOLDED_ELEMENTS = 1024  # a folded value must not be larger: the dense positional encoding would add 4 MB to every file
PACKED_ELEMENTS = 1024  # smaller weights (biases, norms, tokens) stay fp32: they decide much and weigh nothing


def session(model: bytes) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU, with one thread per core and errors only. `ValueError` for one that cannot be run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen of its own
        raise ValueError(f"the graph cannot be run: {str(error).splitlines()[0]}") from error


def require_whole(model: ModelProto) -> None:
    """`ValueError` for a graph that has weights in other files, whichever they are."""
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise ValueError(f"its weights {tensor.name!r} lie in another file, and only one file is read")


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Of a graph and those in its nodes."""
    yield from graph.initializer
    yield from (part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


# --- shape arithmetic ------------------------------------------------------------------------------------------------


def fold_shapes(model: ModelProto, probes: list[dict[str, np.ndarray]]) -> None:
    """Replace what depends on shapes alone by constants, judged by running the graph on every one of `probes`.

    Odd: constants are found by observation. Exact all the same: a value made of `Shape` and constants only can change
    with nothing but the dynamic axes, so it is constant where probes that differ in all of them agree. A reshape whose
    result changes along one axis gets -1 there. Proof: test_shape_folding_keeps_every_value.
    """
    values, reshapes = _shape_values(model), [node for node in model.graph.node if node.op_type == "Reshape"]
    observed = _observe(model, values, [node.output[0] for node in reshapes], probes)
    for node in reshapes:
        sizes = np.stack(observed[_shape_of(node.output[0])])
        varies = np.any(sizes != sizes[0], axis=0)
        if varies.sum() <= 1:
            node.input[1] = _add_initializer(model, f"{node.output[0]}_sizes", np.where(varies, -1, sizes[0]))
    for name in values:
        first, *others = observed[name]
        if first.size <= FOLDED_ELEMENTS and all(np.array_equal(first, other) for other in others):
            _replace_by_constant(model, name, first)
    drop_unused(model)


def _shape_values(model: ModelProto) -> list[str]:
    """Names of the node outputs that depend on shapes and constants only."""
    known = {tensor.name for tensor in model.graph.initializer} | {""}
    found = []
    for node in model.graph.node:
        if node.op_type == "Shape" or known.issuperset(node.input):
            known.update(node.output)
            found.extend(node.output)
    return found


def _observe(
    model: ModelProto, values: list[str], shapes: list[str], probes: list[dict[str, np.ndarray]]
) -> dict[str, list[np.ndarray]]:
    """What `values`, and the shapes of `shapes` (under `_shape_of` their names), are for each of `probes`."""
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.node.extend(helper.make_node("Shape", [name], [_shape_of(name)]) for name in shapes)
    names = values + [_shape_of(name) for name in shapes]
    _replace(watched.graph.output, [onnx.ValueInfoProto(name=name) for name in names])
    drop_unused(watched)
    running = session(watched.SerializeToString())
    runs = [running.run(names, probe) for probe in probes]
    return {name: list(seen) for name, *seen in zip(names, *runs, strict=True)}


def _shape_of(name: str) -> str:
    return f"{name}_shape"


def _replace_by_constant(model: ModelProto, name: str, value: np.ndarray) -> None:
    """Let every reader of `name` read a constant instead; the node that computed it is left to `drop_unused`."""
    constant = _add_initializer(model, f"{name}_folded", value)
    for node in model.graph.node:
        for index, source in enumerate(node.input):
            if source == name:
                node.input[index] = constant


def _add_initializer(model: ModelProto, name: str, value: np.ndarray) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, order="C"), name))
    return name


def drop_unused(model: ModelProto) -> None:
    """Remove nodes and weights that no output depends on."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    _replace(model.graph.node, reversed(kept))
    _replace(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in needed])


# --- weights ---------------------------------------------------------------------------------------------------------


def store_weights(model: ModelProto, precision: Precision) -> None:
    """Store the large weights as `precision` and expand them to float32 with standard operators.

    fp16: Cast. int8: Cast, then Mul by one float32 scale per output channel (symmetric, -127..127). Both are
    constant expressions, which ONNX Runtime folds when it opens the file: the file shrinks to a half or a quarter, the
    arithmetic and its speed stay those of float32, on every execution provider.

    int8 keeps transposed convolutions in fp16: the decoder's two write the mask's pixels, weigh 2 % and cause half of
    the error. The same goes for weights that a graph reshapes before it multiplies by them. Measured on a
    half-trained `tiny`, masks over 4 photographs against PyTorch (93 masks):

    | stored as                                     | file   | mean IoU | least IoU | time, wasm | time, native |
    | --------------------------------------------- | ------ | -------- | --------- | ---------- | ------------ |
    | fp32                                          | 1.00   | 1.000    | 1.000     | 1.00       | 1.00         |
    | fp16 + Cast                                   | 0.51   | 1.000    | 0.996     | 1.01       | 1.0          |
    | int8 + Cast + Mul, the transposed in fp16     | 0.27   | 0.996    | 0.974     | 0.99       | 0.9 - 1.0    |
    | int8 + DequantizeLinear, same values          | 0.26   | 0.993    | 0.972     | 1.03       | 1.0 - 1.1    |
    | dynamic uint8 (`quantize_dynamic`, MatMul)    | 0.28   | 0.982    | 0.927     | 0.79       | 0.9 - 1.0    |

    DequantizeLinear is not folded and, natively, not even exact: the runtime turns it into a quantized product.
    Dynamic quantization is a fifth faster in wasm, but loses objects' edges, and has no WebGPU kernels.

    uint8 is that: the products run on bytes, as in the files that others publish.
    """
    if precision == "fp32":
        return
    if precision == "uint8":
        return _quantize_dynamically(model)
    robust, delicate = {"fp16": (_pack_fp16, _pack_fp16), "int8": (_pack_int8, _pack_fp16)}[precision]
    readers = {node.input[1]: node for node in model.graph.node if node.op_type in ROBUST_OPS + DELICATE_OPS}
    readers |= {node.input[0]: node for node in model.graph.node if node.op_type in VIEW_OPS}
    expansion, weights = [], []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name in readers and value.dtype == np.float32 and value.size >= PACKED_ELEMENTS:
            reader = readers[tensor.name]
            pack = robust if reader.op_type in ROBUST_OPS else delicate
            nodes, tensors = pack(tensor.name, value, _output_axis(reader))
            expansion += nodes
            weights += tensors
        else:
            weights.append(tensor)
    _replace(model.graph.initializer, weights)
    _replace(model.graph.node, expansion + list(model.graph.node))


ROBUST_OPS = ("MatMul", "Gemm", "Conv")
DELICATE_OPS = ("ConvTranspose",)
VIEW_OPS = ("Reshape", "Flatten")


def _output_axis(node: NodeProto) -> int:
    """The axis of the weight (input 1) that counts output channels."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def _pack_fp16(name: str, value: np.ndarray, axis: int) -> tuple[list[NodeProto], list[TensorProto]]:
    half = numpy_helper.from_array(value.astype(np.float16), f"{name}_fp16")
    return [helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT)], [half]


def _pack_int8(name: str, value: np.ndarray, axis: int) -> tuple[list[NodeProto], list[TensorProto]]:
    others = tuple(index for index in range(value.ndim) if index != axis)
    scale = np.maximum(np.abs(value).max(axis=others, keepdims=True), np.finfo(np.float32).tiny) / 127
    packed = numpy_helper.from_array(np.round(value / scale).astype(np.int8), f"{name}_int8")
    scales = numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale")
    nodes = [
        helper.make_node("Cast", [packed.name], [f"{name}_steps"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}_steps", scales.name], [name]),
    ]
    return nodes, [packed, scales]


def _quantize_dynamically(model: ModelProto) -> None:
    """The quantization that Meta's exporter offers: uint8 per tensor, activations measured as the graph runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # slow to import, and rarely wanted

    helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})  # else it logs a warning
    with tempfile.TemporaryDirectory() as folder, _without_warnings():
        written = Path(folder) / "quantized.onnx"
        quantize_dynamic(model, written, per_channel=False, reduce_range=False, weight_type=QuantType.QUInt8)
        model.CopyFrom(onnx.load(written))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """The quantizer warns of every shape that it rightly leaves alone, through the root logger."""
    logging.getLogger().addFilter(_is_worse)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(_is_worse)


def _is_worse(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING


# --- the file --------------------------------------------------------------------------------------------------------


def constants_to_initializers(model: ModelProto) -> None:
    """Turn Constant nodes into initializers and let equal small ones share one."""
    names: dict[tuple, str] = {}
    renamed: dict[str, str] = {}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Constant":
            nodes.append(node)
            continue
        value = numpy_helper.to_array(node.attribute[0].t)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in names:
            names[key] = node.output[0]
            _add_initializer(model, node.output[0], value)
        renamed[node.output[0]] = names[key]
    for node in nodes:
        _replace(node.input, [renamed.get(name, name) for name in node.input])
    _replace(model.graph.node, nodes)


def name_axes(model: ModelProto, shapes: list[list[int | str]]) -> None:
    """Declare the outputs' shapes, in order; names stand for dynamic axes. The exporter leaves them vague."""
    outputs = [
        helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape)
        for value, shape in zip(model.graph.output, shapes, strict=True)
    ]
    _replace(model.graph.output, outputs)


def pin(model: ModelProto, metadata: dict[str, str], opset: int = OPSET) -> None:
    """Fix opset and IR version, write `metadata`, drop what the exporter says about itself, and check the graph.

    The IR version is the oldest that belongs to the opset: every runtime reads older ones and refuses newer ones.
    """
    _replace(model.opset_import, [helper.make_opsetid("", opset)])
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    model.producer_name, model.producer_version = "sam.export", ""
    model.graph.name, model.doc_string = "decoder", ""
    model.graph.ClearField("value_info")
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    model.ClearField("metadata_props")
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)


def _replace(field: object, values: Iterable) -> None:
    """Assign a repeated protobuf field."""
    values = list(values)
    del field[:]
    field.extend(values)
