"""Graphs: the model's own parts as ONNX, one contract per client.

`export_decoder` and `export_encoder` trace a contract's module, shrink the graph, compare it with PyTorch and return
bytes; a graph that fails the comparison is never returned, so it can never be written or served.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch
from torch import nn

from .config import SAMConfig
from .graphs import rewrites
from .graphs.contracts import (
    DECODERS,
    ENCODERS,
    POINT,
    PREPARE,
    PREPARE_WITH_MASK,
    TRANSFORMERS,
    WHOLE,
    WHOLE_WITH_MASK,
    Arrays,
    Contract,
    example_inputs,
)
from .graphs.rewrites import OPSET, OPSETS, PRECISIONS, Precision
from .graphs.verification import (
    MAX_ERROR,
    Agreement,
    VerificationError,
    in_runtime,
    in_torch,
    one_after_the_other,
    verify,
)
from .model import SAM

__all__ = [
    "DECODERS",
    "ENCODERS",
    "MAX_ERROR",
    "OPSETS",
    "PRECISIONS",
    "Agreement",
    "Contract",
    "Form",
    "Graph",
    "HoverPair",
    "VerificationError",
    "export_decoder",
    "export_encoder",
    "export_hover_pair",
    "write_files",
]


@dataclass(frozen=True)
class Form:
    """How a graph is written: how its weights are stored, and in which opset. Raises `ValueError` for unknown ones."""

    precision: Precision = "fp32"
    opset: int = OPSET

    def __post_init__(self) -> None:
        choose("precision", self.precision, PRECISIONS)
        if self.opset < OPSETS[0]:
            raise ValueError(
                f"opset {self.opset} is too old: LayerNormalization came with {OPSETS[0]}; use {OPSETS[0]}-{OPSETS[-1]}"
            )
        if self.opset > OPSETS[-1]:
            raise ValueError(
                f"opset {self.opset} is too new: PyTorch's exporter ends at {OPSETS[-1]}; use {OPSETS[0]}-{OPSETS[-1]}"
            )


@dataclass(frozen=True)
class Graph:
    """A verified ONNX graph in memory, and what it was made from."""

    bytes: bytes = field(repr=False)
    sha256: str
    contract: str
    contract_version: int
    precision: Precision
    model_id: str
    weights_hash: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    agreement: Agreement

    @property
    def max_error(self) -> float:
        """The largest absolute difference to PyTorch in any output."""
        return self.agreement.max_error


def choose(what: str, name: str, allowed: Iterable[str]) -> str:
    """`name`, or a `ValueError` that names those allowed."""
    allowed = tuple(allowed)
    if name not in allowed:
        raise ValueError(f"{what} {name!r} is unknown; use one of {', '.join(allowed)}")
    return name


# --- one graph -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """A contract of a model: the module to trace, what it is asked, and who reads an encoder's embeddings."""

    rules: Contract
    model: SAM
    module: nn.Module
    probes: list[Arrays]
    reader: Contract | None = None

    def export(self, form: Form) -> Graph:
        """Trace, shrink, verify."""
        data = build(self.rules, self.module, self.probes, self.model, form)
        return describe(self.rules, self.model, form, data, self.verify(data, form.precision))

    def verify(self, data: bytes, precision: Precision) -> Agreement:
        """Compare a graph with the module; `VerificationError` where they differ."""
        answering = [in_runtime(self.rules, data), in_torch(self.rules, self.module)]
        if self.reader:
            decoder = in_torch(self.reader, self.reader.module(self.model).eval())
            answering = [one_after_the_other(encoder, decoder) for encoder in answering]
        given, expected = (list(map(answer, self.probes)) for answer in answering)
        return verify(given, expected, self.rules.name, precision, self.model.mask_threshold)


def export_decoder(
    model: SAM, contract: str = "official", precision: Precision = "fp32", *, opset: int = OPSET
) -> Graph:
    """Trace, shrink, verify: the decoder of `model` as a self-contained ONNX file.

    Raises `ValueError` for an unknown contract, precision or opset, `VerificationError` where the graph and PyTorch
    differ. The model is copied, not changed; it may be in use by other threads and on any device.
    """
    form = Form(precision, opset)
    return decoder_of(model, contract).export(form)


def decoder_of(model: SAM, contract: str) -> Subject:
    """The decoder of `model` as a frontend takes it."""
    rules = DECODERS[choose("contract", contract, DECODERS)]
    module = rules.module(model).eval()
    return Subject(rules, model, module, [_clear_probe(rules, module, model.config, points) for points in POINTS])


def export_encoder(
    model: SAM,
    contract: str = "official",
    precision: Precision = "fp32",
    *,
    preprocess: str | None = None,
    opset: int = OPSET,
) -> Graph:
    """Trace, shrink, verify: the image encoder as the frontend `contract` takes it. Errors as `export_decoder`.

    preprocess: who normalises and pads the picture, `outside` the client or `inside` the graph; None is what the
    frontend is used to. It is compared by its embeddings and by the masks that they lead to.
    """
    form = Form(precision, opset)
    return encoder_of(model, contract, preprocess).export(form)


def encoder_of(model: SAM, contract: str, preprocess: str | None = None) -> Subject:
    """The encoder of `model` as a frontend takes it; `ValueError` for models and frontends that do not go together."""
    rules = encoder_contract(contract, preprocess)
    _require_encoder(model, contract, rules)
    reader = DECODERS[contract] if rules is TRANSFORMERS else WHOLE
    probes = [_encoder_probe(rules, reader, model.config, points) for points in POINTS[: 1 + bool(rules.dynamic)]]
    return Subject(rules, model, rules.module(model).eval(), probes, reader)


def encoder_contract(contract: str, preprocess: str | None = None) -> Contract:
    """The row of `ENCODERS`; `ValueError` says what there is instead."""
    found = {where: rules for (frontend, where), rules in ENCODERS.items() if frontend == contract}
    if not found:
        others = ", ".join(dict.fromkeys(frontend for frontend, _ in ENCODERS))
        raise ValueError(f"contract {contract!r} has no encoder, its client is sent embeddings; these have: {others}")
    if preprocess not in (None, *found):
        raise ValueError(f"{contract} preprocesses {' or '.join(found)} the graph, not {preprocess!r}")
    return found[preprocess or next(iter(found))]


LARGEST_FILE = 2 << 30
"""Bytes that one ONNX file can hold. Weights are float32 at first, however they are stored in the end."""


def _require_encoder(model: SAM, contract: str, rules: Contract) -> None:
    """Refuse before any work: pictures that the client would normalise otherwise, weights that no file can hold."""
    config, usual = model.config, SAMConfig()
    normalises_itself = contract in ("labelme", "edgesam", "transformers-js")
    if normalises_itself and any(getattr(config, name) != getattr(usual, name) for name in PIXELS):
        raise ValueError(f"{contract} normalises pictures as SAM does, and {config.model_id} wants them otherwise")
    size = sum(4 * weight.numel() for weight in model.image_encoder.parameters())
    if size >= LARGEST_FILE:
        raise ValueError(f"the encoder weighs {size / 1e9:.2f} GB, and an ONNX file holds {LARGEST_FILE / 1e9:.2f} GB")


PIXELS = ("preprocessing", "image_format", "pixel_mean", "pixel_std")


# --- the hover contract's graphs -------------------------------------------------------------------------------------

HOVER = {"prepare": PREPARE, "prepare_with_mask": PREPARE_WITH_MASK, "point": POINT}


@dataclass(frozen=True)
class HoverPair:
    """The hover contract's graphs: one runs per picture, or per picture and fed-back mask, the other per prompt.

    All carry the agreement of the whole, which was verified as one decoder, without and with a mask.
    """

    prepare: Graph
    prepare_with_mask: Graph
    point: Graph


def export_hover_pair(model: SAM, precision: Precision = "fp32", *, opset: int = OPSET) -> HoverPair:
    """Trace, shrink, and verify together: the decoder of `model` as `graphs.hover` splits it. Errors: `export_decoder`.

    The graphs are compared with the model as it stands, not with the rearranged modules.
    """
    form = Form(precision, opset)
    modules = {role: rules.module(model).eval() for role, rules in HOVER.items()}
    prepare = in_torch(PREPARE, modules["prepare"])
    probes = [probe | prepare(probe) for probe in _hover_probes(model.config)]
    data = {role: build(rules, modules[role], probes, model, form) for role, rules in HOVER.items()}
    agreement = verify_hover_pair(model, data, precision)
    return HoverPair(**{role: describe(rules, model, form, data[role], agreement) for role, rules in HOVER.items()})


def verify_hover_pair(model: SAM, data: dict[str, bytes], precision: Precision) -> Agreement:
    """Compare the graphs, by role, with the model; `VerificationError` where they differ."""
    running = {role: in_runtime(rules, data[role]) for role, rules in HOVER.items()}
    probes, given, expected = _hover_probes(model.config), [], []
    for role, whole in (("prepare", WHOLE), ("prepare_with_mask", WHOLE_WITH_MASK)):
        given += map(one_after_the_other(running[role], running["point"]), probes)
        expected += map(in_torch(whole, whole.module(model).eval()), probes)
    return verify(given, expected, "hover", precision, model.mask_threshold)


# --- tracing ---------------------------------------------------------------------------------------------------------


def build(contract: Contract, module: nn.Module, probes: list[Arrays], model: SAM, form: Form) -> bytes:
    """The graph of `module`, shrunk; the module's answer to the first probe gives the outputs' shapes."""
    probes = [{name: probe[name] for name in contract.inputs} for probe in probes]
    graph = trace(contract, module, probes[0], form.opset)
    rewrites.constants_to_initializers(graph)
    rewrites.fold_shapes(graph, probes)
    rewrites.store_weights(graph, form.precision)
    rewrites.name_axes(graph, _output_axes(contract, module, probes[0]))
    rewrites.pin(graph, _metadata(contract, model, form.precision), form.opset)
    return graph.SerializeToString(deterministic=True)


def trace(contract: Contract, module: nn.Module, example: Arrays, opset: int = OPSET) -> onnx.ModelProto:
    """Run the TorchScript exporter: unlike the dynamo one it needs no further package and keeps to the opset."""
    buffer = io.BytesIO()
    with _EXPORTER_LOCK, warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # branches are on sizes that are fixed
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript", category=DeprecationWarning)
        torch.onnx.export(
            module,
            tuple(torch.from_numpy(value) for value in example.values()),
            buffer,
            dynamo=False,
            opset_version=opset,
            input_names=list(contract.inputs),
            output_names=list(contract.outputs),
            dynamic_axes=contract.dynamic_axes,
        )
    return onnx.load_model_from_string(buffer.getvalue())


_EXPORTER_LOCK = threading.Lock()
"""The exporter keeps its state in globals."""


@torch.inference_mode()
def _output_axes(contract: Contract, module: nn.Module, probe: Arrays) -> list[list[int | str]]:
    """Lengths of every output's axes, with names for the dynamic ones."""
    answers = module(*(torch.from_numpy(value) for value in probe.values()))
    return [
        [contract.dynamic.get(name, {}).get(axis, length) for axis, length in enumerate(answer.shape)]
        for name, answer in zip(contract.outputs, answers, strict=True)
    ]


def _metadata(contract: Contract, model: SAM, precision: Precision) -> dict[str, str]:
    return {
        "sam.model_id": model.config.model_id,
        "sam.weights_hash": model.weights_hash(),
        "sam.contract": contract.name,
        "sam.contract_version": str(contract.version),
        "sam.precision": precision,
    }


def describe(contract: Contract, model: SAM, form: Form, data: bytes, agreement: Agreement) -> Graph:
    return Graph(
        bytes=data,
        sha256=hashlib.sha256(data).hexdigest(),
        contract=contract.name,
        contract_version=contract.version,
        precision=form.precision,
        model_id=model.config.model_id,
        weights_hash=model.weights_hash(),
        inputs=contract.inputs,
        outputs=contract.outputs,
        agreement=agreement,
    )


# --- what a graph is asked -------------------------------------------------------------------------------------------

POINTS = (3, 6, 1)
"""Numbers of points that a graph is folded and verified with."""

PROBES_TRIED = 4
CLEAR_MARGIN = 0.02
"""Wanted distance between the best predicted IoU and the next; int8 moves the predictions by 0.001."""


def _clear_probe(contract: Contract, module: nn.Module, config: SAMConfig, points: int) -> Arrays:
    """Random inputs for which no choice of a mask hangs by a hair: there, rounding weights may rightly flip it."""
    probes = {}
    for seed in range(PROBES_TRIED):
        probe = example_inputs(contract, config, points, PROBES_TRIED * points + seed)
        with torch.inference_mode():
            margin = module.margin(*(torch.from_numpy(value) for value in probe.values()))
        probes[margin] = probe
        if margin >= CLEAR_MARGIN:
            break
    return probes[max(probes)]


def _encoder_probe(rules: Contract, reader: Contract, config: SAMConfig, points: int) -> Arrays:
    """A picture, and the prompts with which `reader` turns it into masks."""
    return example_inputs(reader, config, points, points) | example_inputs(rules, config, points, points)


def _hover_probes(config: SAMConfig) -> list[Arrays]:
    return [example_inputs(WHOLE_WITH_MASK, config, points, points) for points in POINTS]


# --- writing ---------------------------------------------------------------------------------------------------------


def write_files(files: dict[Path, bytes]) -> None:
    """Write all files or none: readers see the old files until every new one is complete. Raises `OSError`."""
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, part in parts.items():
            part.write_bytes(files[path])
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
