"""Decoder graphs: the model's own prompt encoder and mask decoder as ONNX, one contract per client.

A contract is a row of `CONTRACTS`: a module that arranges the model's parts, the names it takes and gives, a version.
`export_decoder` traces the module, shrinks the graph, compares it with PyTorch and returns bytes; a graph that fails
the comparison is never returned, so it can never be written or served.

Who feeds a graph must know the selection rule of single-mask graphs, which is Meta's and counts the padding point:
with at most 2 points (one click + padding, or a box alone) the best of the ambiguous masks by predicted IoU, from 3
points on the single-mask token (box + padding, two clicks + padding).
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from . import onnx_graph
from .config import SAMConfig
from .hover import Point, Prepare
from .mask_decoder import MaskDecoder
from .model import SAM
from .onnx_graph import PRECISIONS, Precision
from .prompt_encoder import PromptEncoder
from .transforms import ImageFrame, masks_to_original

__all__ = [
    "CONTRACTS",
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

# --- what each client expects ----------------------------------------------------------------------------------------


def decoder_parts(model: SAM) -> tuple[PromptEncoder, MaskDecoder]:
    """Copies of the parts that decode, in float32 on the CPU."""
    return copy.deepcopy(model.prompt_encoder).float().cpu(), copy.deepcopy(model.mask_decoder).float().cpu()


class HoverDecoder(nn.Module):
    """Points to all tokens' low-resolution logits (1, 1+M, 4h, 4w) and IoU estimates (1, 1+M); the client chooses."""

    def __init__(self, model: SAM) -> None:
        super().__init__()
        self.prompt_encoder, self.mask_decoder = decoder_parts(model)

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, ...]:
        return self.decode(image_embeddings, point_coords, point_labels, self.prompt_encoder.embed_no_mask(1))

    def decode(self, image_embeddings: Tensor, coords: Tensor, labels: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates are pixels of the resized picture, (1, N, 2); labels (1, N) include box corners and padding."""
        sparse = self.prompt_encoder.embed_points(coords, labels)
        return self.mask_decoder.predict_masks(image_embeddings, self.prompt_encoder.get_dense_pe(), sparse, dense)

    def margin(self, *inputs: Tensor) -> float:
        """How far the graph is from choosing another mask for these inputs; infinitely where it chooses none."""
        return math.inf


class OfficialMultiDecoder(HoverDecoder):
    """Meta's graph with every token's mask: masks at `orig_im_size` (H, W), IoU estimates, low-resolution logits."""

    def __init__(self, model: SAM) -> None:
        super().__init__(model)
        self.stretched = model.config.preprocessing == "medsam"
        self.padded_hw = model.config.image_encoder.input_hw
        self.register_buffer("frame_hw", torch.tensor(self.padded_hw, dtype=torch.float32))

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, ...]:
        dense = self.embed_mask(mask_input, has_mask_input)
        low_res, iou = self.decode(image_embeddings, point_coords, point_labels, dense)
        low_res, iou = self.select(low_res, iou, point_coords.shape[1])
        return masks_to_original(low_res, self.frame(orig_im_size)), iou, low_res

    def embed_mask(self, mask_input: Tensor, has_mask_input: Tensor) -> Tensor:
        """Blend by arithmetic, not by a branch: labelme sends has_mask_input = -1 and counts on 2 * no_mask - mask."""
        has = has_mask_input.reshape(1, 1, 1, 1)
        no_mask = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return has * self.prompt_encoder.mask_downscaling(mask_input) + (1 - has) * no_mask

    def select(self, low_res: Tensor, iou: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """All tokens, the single-mask token first."""
        return low_res, iou

    def frame(self, orig_im_size: Tensor) -> ImageFrame:
        """The picture's place in the model input, computed inside the graph: Meta's floor(side * scale + 0.5)."""
        scale_hw = self.frame_hw / orig_im_size
        resized = self.frame_hw if self.stretched else (orig_im_size * scale_hw.min() + 0.5).floor().clamp(min=1)
        return TracedFrame(*(size.to(torch.int64).unbind() for size in (orig_im_size, resized)), self.padded_hw)


class OfficialDecoder(OfficialMultiDecoder):
    """Meta's graph with one mask, chosen inside the graph."""

    def __init__(self, model: SAM) -> None:
        super().__init__(model)
        only_first = torch.zeros(1, model.mask_decoder.num_mask_tokens)
        only_first[0, 0] = 1000.0
        self.register_buffer("single_mask_weight", only_first)

    def select(self, low_res: Tensor, iou: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        best = self.scores(iou, points).argmax(1)
        return low_res.index_select(1, best), iou.index_select(1, best)

    def scores(self, iou: Tensor, points: Tensor) -> Tensor:
        """Meta's rule without a branch: up to 2 points push the single-mask token down, from 3 on they push it up."""
        return iou + (points - 2.5) * self.single_mask_weight

    def margin(self, image_embeddings: Tensor, coords: Tensor, labels: Tensor, *mask_and_size: Tensor) -> float:
        dense = self.embed_mask(*mask_and_size[:2])
        _, iou = self.decode(image_embeddings, coords, labels, dense)
        best, second = self.scores(iou, coords.shape[1]).flatten().topk(2).values
        return float(best - second)


@dataclass(frozen=True)
class TracedFrame:
    """An `ImageFrame` whose sizes the graph computes: pairs of scalar tensors, which no check can look into."""

    original_hw: tuple[Tensor, ...]
    resized_hw: tuple[Tensor, ...]
    padded_hw: tuple[int, int]


@dataclass(frozen=True)
class Contract:
    """What a client of a graph relies on: names and order of inputs and outputs, and what they mean (`version`)."""

    name: str
    version: int
    module: Callable[[SAM], nn.Module]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    clients: str


POINTS = ("image_embeddings", "point_coords", "point_labels")
OFFICIAL = (*POINTS, "mask_input", "has_mask_input", "orig_im_size")
HOVER_OUTPUTS = ("low_res_logits", "iou_predictions")
MASKS = ("masks", "iou_predictions", "low_res_masks")
DYNAMIC_AXES = {"point_coords": {1: "N"}, "point_labels": {1: "N"}, "masks": {2: "height", 3: "width"}}
LOGITS = ("masks", "low_res_masks", "low_res_logits")

CONTRACTS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        Contract("official", 1, OfficialDecoder, OFFICIAL, MASKS, "Meta's web demo, plain onnxruntime-web, labelme"),
        Contract("official-multi", 1, OfficialMultiDecoder, OFFICIAL, MASKS, "samexporter, AnyLabeling"),
        Contract("hover", 1, HoverDecoder, POINTS, HOVER_OUTPUTS, "this project's page"),
    )
}

PREPARED = ("cells", "keys", "values", "queries")
PREPARE = Contract(
    "hover-prepare", 2, lambda model: Prepare(*decoder_parts(model)), POINTS[:1], PREPARED, "this project's page"
)
POINT = Contract(
    "hover-point", 2, lambda model: Point(*decoder_parts(model)), POINTS[1:] + PREPARED, HOVER_OUTPUTS, PREPARE.clients
)
"""The hover contract's two graphs: one runs once per picture, the other for every prompt on what the first one gave."""


Arrays = dict[str, np.ndarray]


def example_inputs(contract: Contract, config: SAMConfig, points: int, seed: int) -> Arrays:
    """Random float32 inputs with `points` points; over seeds, every label, both kinds of mask input, many sizes."""
    random = np.random.default_rng(seed)
    height, width = config.image_encoder.input_hw
    inputs = {
        "image_embeddings": random.standard_normal(config.embedding_shape),
        "point_coords": random.uniform(0, (width, height), (1, points, 2)),
        "point_labels": random.integers(-1, 4, (1, points)),
        "mask_input": random.normal(0, 8, (1, 1, *config.low_res_hw)),
        "has_mask_input": random.integers(0, 2, 1),
        "orig_im_size": random.integers(height // 4, height, 2),
    }
    return {name: inputs[name].astype(np.float32) for name in contract.inputs}


# --- export ----------------------------------------------------------------------------------------------------------


class VerificationError(RuntimeError):
    """An exported graph does not answer as PyTorch does."""


@dataclass(frozen=True)
class Agreement:
    """How a graph's answers compare with PyTorch's, over the random prompts of the verification.

    `max_error`: the largest absolute difference in any output. `logit_error`: root mean square difference of the
    logits over their standard deviation. `mask_iou`: overlap of all masks (logits above the model's threshold), pooled.
    """

    max_error: float
    logit_error: float
    mask_iou: float


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
    answers = [_ask(module, probe) for probe in probes]
    data = _build(rules, module, probes, answers[0], _metadata(rules, model, precision))
    running = onnx_graph.session(data)
    given = [running.run(list(rules.outputs), probe) for probe in probes]
    return _describe(rules, model, precision, data, verify(given, answers, rules, precision, model.mask_threshold))


@dataclass(frozen=True)
class HoverPair:
    """The hover contract's two graphs; both carry the agreement of the pair, which was verified as one decoder."""

    prepare: DecoderGraph
    point: DecoderGraph


def export_hover_pair(model: SAM, precision: Precision = "fp32") -> HoverPair:
    """Trace, shrink, and verify together: the decoder of `model` as `sam.hover` splits it. Errors as `export_decoder`.

    The pair is compared with the model as it stands, not with the rearranged modules.
    """
    _choose("precision", precision, dict.fromkeys(PRECISIONS))
    whole = CONTRACTS["hover"]
    probes = [example_inputs(whole, model.config, points, points) for points in PROBED_POINTS]
    answers = [_ask(whole.module(model), probe) for probe in probes]

    prepare, point = PREPARE.module(model), POINT.module(model)
    pictures = [{name: probe[name] for name in PREPARE.inputs} for probe in probes]
    prepared = [_ask(prepare, picture) for picture in pictures]
    prompts = [_point_inputs(probe, values) for probe, values in zip(probes, prepared, strict=True)]
    prepare_data = _build(PREPARE, prepare, pictures, prepared[0], _metadata(PREPARE, model, precision))
    point_data = _build(POINT, point, prompts, answers[0], _metadata(POINT, model, precision))

    first, second = onnx_graph.session(prepare_data), onnx_graph.session(point_data)
    prepared = [first.run(list(PREPARED), picture) for picture in pictures]
    prompts = [_point_inputs(probe, values) for probe, values in zip(probes, prepared, strict=True)]
    given = [second.run(list(POINT.outputs), prompt) for prompt in prompts]
    agreement = verify(given, answers, POINT, precision, model.mask_threshold)
    return HoverPair(
        _describe(PREPARE, model, precision, prepare_data, agreement),
        _describe(POINT, model, precision, point_data, agreement),
    )


def _point_inputs(probe: Arrays, prepared: list[np.ndarray]) -> Arrays:
    """What the point graph takes: a probe's points, and the picture as it was prepared."""
    values = probe | dict(zip(PREPARED, prepared, strict=True))
    return {name: values[name] for name in POINT.inputs}


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


def _build(
    contract: Contract, module: nn.Module, probes: list[Arrays], answer: list[np.ndarray], metadata: dict[str, str]
) -> bytes:
    """The graph of `module`, shrunk; `answer` gives the outputs' shapes."""
    graph = _trace(contract, module.eval(), probes[0])
    onnx_graph.constants_to_initializers(graph)
    onnx_graph.fold_shapes(graph, probes)
    onnx_graph.store_weights(graph, metadata["sam.precision"])
    onnx_graph.name_axes(graph, [_axes(*pair) for pair in zip(contract.outputs, answer, strict=True)])
    onnx_graph.pin(graph, metadata)
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

MAX_ERROR = 1e-3
"""Allowed for fp32, where graph and PyTorch compute the same, in units of the logits."""

LOGIT_ERROR = {"fp16": 0.005, "int8": 0.05}
"""Allowed where the weights are rounded; random weights, the hardest, measure 0.001 and 0.015."""


def verify(
    given: list[list[np.ndarray]],
    answers: list[list[np.ndarray]],
    contract: Contract,
    precision: Precision,
    mask_threshold: float,
) -> Agreement:
    """Compare what a graph gave for the probes with PyTorch; raise `VerificationError` beyond the tolerance."""
    agreement = _compare(contract, given, answers, mask_threshold)
    exact = precision == "fp32"
    error, allowed = (agreement.max_error, MAX_ERROR) if exact else (agreement.logit_error, LOGIT_ERROR[precision])
    if not error <= allowed:  # NaN fails too
        raise VerificationError(
            f"{contract.name} in {precision}: {'maximum' if exact else 'relative logit'} error {error:.2g} "
            f"against PyTorch, {allowed:g} is allowed"
        )
    return agreement


def _compare(
    contract: Contract, given: list[list[np.ndarray]], expected: list[list[np.ndarray]], mask_threshold: float
) -> Agreement:
    runs = zip(given, expected, strict=True)
    pairs = [(name, *pair) for run in runs for name, *pair in zip(contract.outputs, *run, strict=True)]
    logits = [(ours, theirs) for name, ours, theirs in pairs if name in LOGITS]
    masks = [(ours > mask_threshold, theirs > mask_threshold) for ours, theirs in logits]
    union = sum(int((ours | theirs).sum()) for ours, theirs in masks)
    return Agreement(
        max_error=max(float(np.abs(ours - theirs).max()) for _, ours, theirs in pairs),
        logit_error=max(float(np.sqrt(np.square(ours - theirs).mean()) / theirs.std()) for ours, theirs in logits),
        mask_iou=sum(int((ours & theirs).sum()) for ours, theirs in masks) / union if union else 1.0,
    )


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


@torch.inference_mode()
def _ask(module: nn.Module, probe: Arrays) -> list[np.ndarray]:
    """PyTorch's answers to a probe, in the contract's order."""
    return [answer.numpy() for answer in module(*(torch.from_numpy(value) for value in probe.values()))]
