"""Do a graph and PyTorch answer alike? Answers are dictionaries by output name; a graph that differs is an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from . import onnx_graph
from .contracts import LOGITS, Arrays, Contract
from .onnx_graph import Precision

Answering = Callable[[Arrays], Arrays]
"""Values by name -> answers by name; values that it does not take are passed over."""

MAX_ERROR = 1e-3
"""Allowed for fp32, where graph and PyTorch compute the same, in units of the logits."""

LOGIT_ERROR = {"fp16": 0.005, "int8": 0.05}
"""Allowed where the weights are rounded; random weights, the hardest, measure 0.001 and 0.015."""


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


def in_torch(contract: Contract, module: nn.Module) -> Answering:
    """Answers of the contract's module."""

    @torch.inference_mode()
    def answer(values: Arrays) -> Arrays:
        given = module(*(torch.from_numpy(values[name]) for name in contract.inputs))
        return {name: value.numpy() for name, value in zip(contract.outputs, given, strict=True)}

    return answer


def in_runtime(contract: Contract, graph: bytes) -> Answering:
    """Answers of the contract's graph, in ONNX Runtime."""
    session = onnx_graph.session(graph)

    def answer(values: Arrays) -> Arrays:
        given = session.run(list(contract.outputs), {name: values[name] for name in contract.inputs})
        return dict(zip(contract.outputs, given, strict=True))

    return answer


def one_after_the_other(first: Answering, second: Answering) -> Answering:
    """Answers of `second`, which is given the answers of `first` too, by name."""
    return lambda values: second(values | first(values))


def verify(
    given: list[Arrays], expected: list[Arrays], what: str, precision: Precision, mask_threshold: float
) -> Agreement:
    """Compare what a graph gave for some probes with PyTorch; raise `VerificationError` beyond the tolerance."""
    agreement = compare(given, expected, mask_threshold)
    exact = precision == "fp32"
    error, allowed = (agreement.max_error, MAX_ERROR) if exact else (agreement.logit_error, LOGIT_ERROR[precision])
    if not error <= allowed:  # NaN fails too
        raise VerificationError(
            f"{what} in {precision}: {'maximum' if exact else 'relative logit'} error {error:.2g} "
            f"against PyTorch, {allowed:g} is allowed"
        )
    return agreement


def compare(given: list[Arrays], expected: list[Arrays], mask_threshold: float) -> Agreement:
    pairs = [(name, ours[name], theirs[name]) for ours, theirs in zip(given, expected, strict=True) for name in theirs]
    logits = [(ours, theirs) for name, ours, theirs in pairs if name in LOGITS]
    masks = [(ours > mask_threshold, theirs > mask_threshold) for ours, theirs in logits]
    union = sum(int((ours | theirs).sum()) for ours, theirs in masks)
    return Agreement(
        max_error=max(float(np.abs(ours - theirs).max()) for _, ours, theirs in pairs),
        logit_error=max(float(np.sqrt(np.square(ours - theirs).mean()) / theirs.std()) for ours, theirs in logits),
        mask_iou=sum(int((ours & theirs).sum()) for ours, theirs in masks) / union if union else 1.0,
    )
