"""Decoder graphs: the model's own prompt encoder and mask decoder as ONNX, one contract per client.

`export_decoder` traces a contract's module, shrinks the graph, compares it with PyTorch and returns bytes; a graph
that fails the comparison is never returned, so it can never be written or served.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from . import onnx_graph
from .config import SAMConfig
from .contracts import (
    CONTRACTS,
    DYNAMIC_AXES,
    POINT,
    PREPARE,
    PREPARE_WITH_MASK,
    WHOLE,
    WHOLE_WITH_MASK,
    Arrays,
    Contract,
    example_inputs,
)
from .model import SAM
from .onnx_graph import PRECISIONS, Precision
from .verification import (
    MAX_ERROR,
    Agreement,
    VerificationError,
    in_runtime,
    in_torch,
    one_after_the_other,
    verify,
)

__all__ = [
    "CONTRACTS",
    "MAX_ERROR",
    "PRECISIONS",
    "Agreement",
    "Contract",
    "DecoderGraph",
    "HoverPair",
    "VerificationError",
    "export_decoder",
    "export_hover_pair",
    "write_decoder",
]

# --- export ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecoderGraph:
    """A verified ONNX decoder in memory, and what it was made from."""

    bytes: bytes = field(repr=False)
    sha256: str
    contract: str
    contract_version: int
    precision: Precision
    model_id: str
    weights_hash: str
    agreement: Agreement

    @property
    def max_error(self) -> float:
        """The largest absolute difference to PyTorch in any output."""
        return self.agreement.max_error


def export_decoder(model: SAM, contract: str = "official", precision: Precision = "fp32") -> DecoderGraph:
    """Trace, shrink, verify: the decoder of `model` as a self-contained ONNX file.

    Raises `ValueError` for an unknown contract or precision, `VerificationError` where the graph and PyTorch differ.
    The model is copied, not changed; it may be in use by other threads and on any device.
    """
    rules = _choose("contract", contract, CONTRACTS)
    _choose("precision", precision, dict.fromkeys(PRECISIONS))
    module = rules.module(model).eval()
    probes = [_clear_probe(rules, module, model.config, points) for points in PROBED_POINTS]
    data = _build(rules, module, probes, model, precision)
    given, expected = (list(map(answer, probes)) for answer in (in_runtime(rules, data), in_torch(rules, module)))
    agreement = verify(given, expected, rules.name, precision, model.mask_threshold)
    return _describe(rules, model, precision, data, agreement)


@dataclass(frozen=True)
class HoverPair:
    """The hover contract's graphs: one runs per picture, or per picture and fed-back mask, the other per prompt.

    All carry the agreement of the whole, which was verified as one decoder, without and with a mask.
    """

    prepare: DecoderGraph
    prepare_with_mask: DecoderGraph
    point: DecoderGraph


def export_hover_pair(model: SAM, precision: Precision = "fp32") -> HoverPair:
    """Trace, shrink, and verify together: the decoder of `model` as `sam.hover` splits it. Errors as `export_decoder`.

    The graphs are compared with the model as it stands, not with the rearranged modules.
    """
    _choose("precision", precision, dict.fromkeys(PRECISIONS))
    parts = (PREPARE, PREPARE_WITH_MASK, POINT)
    prepare, prepare_with_mask, point = (rules.module(model).eval() for rules in parts)
    probes = [example_inputs(WHOLE_WITH_MASK, model.config, points, points) for points in PROBED_POINTS]
    prepared = [probe | in_torch(PREPARE, prepare)(probe) for probe in probes]
    data = {
        PREPARE: _build(PREPARE, prepare, probes, model, precision),
        PREPARE_WITH_MASK: _build(PREPARE_WITH_MASK, prepare_with_mask, probes, model, precision),
        POINT: _build(POINT, point, prepared, model, precision),
    }
    running = {rules: in_runtime(rules, graph) for rules, graph in data.items()}
    given, expected = [], []
    for first, whole in ((PREPARE, WHOLE), (PREPARE_WITH_MASK, WHOLE_WITH_MASK)):
        given += map(one_after_the_other(running[first], running[POINT]), probes)
        expected += map(in_torch(whole, whole.module(model).eval()), probes)
    agreement = verify(given, expected, "hover", precision, model.mask_threshold)
    return HoverPair(*(_describe(rules, model, precision, data[rules], agreement) for rules in parts))


def _describe(contract: Contract, model: SAM, precision: Precision, data: bytes, agreement: Agreement) -> DecoderGraph:
    return DecoderGraph(
        bytes=data,
        sha256=hashlib.sha256(data).hexdigest(),
        contract=contract.name,
        contract_version=contract.version,
        precision=precision,
        model_id=model.config.model_id,
        weights_hash=model.weights_hash(),
        agreement=agreement,
    )


def write_decoder(graph: DecoderGraph, path: str | Path) -> None:
    """Write the graph to `path` in one step: readers see the old file or the whole new one. Raises `OSError`."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(graph.bytes)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _choose(what: str, name: str, table: dict[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"{what} {name!r} is unknown; use one of {', '.join(table)}")
    return table[name]


def _build(contract: Contract, module: nn.Module, probes: list[Arrays], model: SAM, precision: Precision) -> bytes:
    """The graph of `module`, shrunk; the module's answer to the first probe gives the outputs' shapes."""
    probes = [{name: probe[name] for name in contract.inputs} for probe in probes]
    graph = _trace(contract, module, probes[0])
    onnx_graph.constants_to_initializers(graph)
    onnx_graph.fold_shapes(graph, probes)
    onnx_graph.store_weights(graph, precision)
    answer = in_torch(contract, module)(probes[0])
    onnx_graph.name_axes(graph, [_axes(name, answer[name]) for name in contract.outputs])
    onnx_graph.pin(graph, _metadata(contract, model, precision))
    return graph.SerializeToString(deterministic=True)


def _trace(contract: Contract, module: nn.Module, example: Arrays) -> onnx.ModelProto:
    """Run the TorchScript exporter: unlike the dynamo one it needs no further package and keeps to the opset."""
    names = contract.inputs + contract.outputs
    buffer = io.BytesIO()
    with _EXPORTER_LOCK, warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # the only branch is on the batch, always 1
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript", category=DeprecationWarning)
        torch.onnx.export(
            module,
            tuple(torch.from_numpy(value) for value in example.values()),
            buffer,
            dynamo=False,
            opset_version=onnx_graph.OPSET,
            input_names=list(contract.inputs),
            output_names=list(contract.outputs),
            dynamic_axes={name: axes for name, axes in DYNAMIC_AXES.items() if name in names},
        )
    return onnx.load_model_from_string(buffer.getvalue())


_EXPORTER_LOCK = threading.Lock()
"""The exporter keeps its state in globals."""


def _axes(name: str, answer: np.ndarray) -> list[int | str]:
    """Lengths of an output's axes, with names for the dynamic ones."""
    return [DYNAMIC_AXES.get(name, {}).get(axis, length) for axis, length in enumerate(answer.shape)]


def _metadata(contract: Contract, model: SAM, precision: Precision) -> dict[str, str]:
    return {
        "sam.model_id": model.config.model_id,
        "sam.weights_hash": model.weights_hash(),
        "sam.contract": contract.name,
        "sam.contract_version": str(contract.version),
        "sam.precision": precision,
    }


# --- verification ----------------------------------------------------------------------------------------------------

PROBED_POINTS = (3, 1, 6)
"""Numbers of points that the graph is folded and verified with."""

PROBES_TRIED = 4
CLEAR_MARGIN = 0.02
"""Wanted distance between the best predicted IoU and the next; int8 moves the predictions by 0.001."""


@torch.inference_mode()
def _clear_probe(contract: Contract, module: nn.Module, config: SAMConfig, points: int) -> Arrays:
    """Random inputs for which no choice of a mask hangs by a hair: there, rounding weights may rightly flip it."""
    probes = {}
    for seed in range(PROBES_TRIED):
        probe = example_inputs(contract, config, points, PROBES_TRIED * points + seed)
        margin = module.margin(*(torch.from_numpy(value) for value in probe.values()))
        probes[margin] = probe
        if margin >= CLEAR_MARGIN:
            break
    return probes[max(probes)]
