"""Do a graph and PyTorch answer alike? Answers are dictionaries by output name; a graph that differs is an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from . import rewrites
from .contracts import Arrays, Contract
from .rewrites import Precision

Answering = Callable[[Arrays], Arrays]
"""Values by name -> answers by name; values that it does not take are passed over."""

MAX_ERROR = 1e-3
"""Allowed for fp32, where graph and PyTorch compute the same, in units of the logits."""

TOLERANCES: dict[Precision, tuple[str, float]] = {
    "fp32": ("max_error", MAX_ERROR),
    "fp16": ("relative_error", 0.005),
    "int8": ("relative_error", 0.05),
    "uint8": ("relative_error", 0.2),
}
"""Which figure of an `Agreement` counts, and how large it may be. Random weights, the hardest, measure 0.001 in fp16,
0.03 in int8 and 0.07 in uint8."""


LOGITS = ("masks", "low_res_masks", "low_res_logits", "pred_masks")
"""Outputs that become masks: as logits in float32, or as masks already."""

WEIGHTY = (*LOGITS, "image_embeddings")


class VerificationError(RuntimeError):
    """An exported graph does not answer as PyTorch does."""


@dataclass(frozen=True)
class Agreement:
    """How a graph's answers compare with PyTorch's, over the random prompts of the verification.

    `max_error`: the largest absolute difference in any output. `relative_error`: root mean square difference of the
    logits, and of an encoder's embedding, over their standard deviation. `mask_iou`: overlap of all masks (logits
    above the model's threshold), pooled.
    """

    max_error: float
    relative_error: float
    mask_iou: float


def in_torch(contract: Contract, module: nn.Module) -> Answering:
    """Answers of the contract's module."""

    @torch.inference_mode()
    def answer(values: Arrays) -> Arrays:
        given = module(*(torch.from_numpy(values[name]) for name in contract.inputs))
        answers = {name: value.numpy() for name, value in zip(contract.outputs, given, strict=True)}
        return contract.read(values, answers)

    return answer


def in_runtime(contract: Contract, graph: bytes) -> Answering:
    """Answers of the contract's graph, in ONNX Runtime."""
    session = rewrites.session(graph)

    def answer(values: Arrays) -> Arrays:
        given = session.run(list(contract.outputs), {name: values[name] for name in contract.inputs})
        return contract.read(values, dict(zip(contract.outputs, given, strict=True)))

    return answer


def one_after_the_other(first: Answering, second: Answering) -> Answering:
    """Answers of both; those of `first` are given to `second`, by name."""

    def answer(values: Arrays) -> Arrays:
        between = first(values)
        return between | second(values | between)

    return answer


def verify(
    given: list[Arrays], expected: list[Arrays], what: str, precision: Precision, mask_threshold: float
) -> Agreement:
    """Compare what a graph gave for some probes with PyTorch; raise `VerificationError` beyond the tolerance."""
    agreement = compare(given, expected, mask_threshold)
    figure, allowed = TOLERANCES[precision]
    found = getattr(agreement, figure)
    if not found <= allowed:  # NaN fails too
        raise VerificationError(
            f"{what} in {precision}: {figure.replace('_', ' ')} {found:.2g} against PyTorch, {allowed:g} is allowed"
        )
    return agreement


def compare(given: list[Arrays], expected: list[Arrays], mask_threshold: float) -> Agreement:
    pairs = [(name, ours[name], theirs[name]) for ours, theirs in zip(given, expected, strict=True) for name in theirs]
    numbers = [(ours, theirs) for _, ours, theirs in pairs if theirs.dtype == np.float32]
    weighty = [(ours, theirs) for name, ours, theirs in pairs if name in WEIGHTY and theirs.dtype == np.float32]
    masks = [tuple(painted(side, mask_threshold) for side in pair) for name, *pair in pairs if name in LOGITS]
    union = sum(int((ours | theirs).sum()) for ours, theirs in masks)
    return Agreement(
        max_error=max(float(np.abs(ours - theirs).max()) for ours, theirs in numbers),
        relative_error=max(float(np.sqrt(np.square(ours - theirs).mean()) / theirs.std()) for ours, theirs in weighty),
        mask_iou=sum(int((ours & theirs).sum()) for ours, theirs in masks) / union if union else 1.0,
    )


def painted(values: np.ndarray, mask_threshold: float) -> np.ndarray:
    """Logits, or a mask already, as a boolean mask."""
    return values > mask_threshold if values.dtype == np.float32 else values.astype(bool)
