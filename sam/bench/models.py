"""Models to measure with: `tiny` as it is, and random weights that find something."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..automatic.decoder import PointDecoder
from ..automatic.enlarging import Enlarger
from ..automatic.grids import point_grid
from ..checkpoint import EMBEDDED, load_sam
from ..model import SAM
from ..predictor import encode

SPREAD = 6.0
"""Standard deviation of logits after calibration, like that of published weights."""
PASS_IOU, PASS_STABILITY = 0.5, 0.6
"""Shares of masks that pass each filter, about those of published weights on photographs."""


def load_model(name: str, seed: int = 0) -> SAM:
    """An embedded model or a file, as `load_sam` takes them; `random:VARIANT` has random weights."""
    kind, _, variant = name.partition(":")
    if kind != "random":
        return load_sam(name)
    torch.manual_seed(seed)
    return SAM.from_variant(variant).eval()


@torch.no_grad()
def thresholds(name: str, model: SAM, image: np.ndarray) -> dict[str, Any]:
    """Settings under which as many masks pass as with published weights, on this picture; a file's are the defaults.

    A random decoder's logits are scaled in place first. Random masks cover the whole picture, so boxes say nothing:
    suppression is off, and more masks are compared.
    """
    if not name.startswith("random:") and name not in EMBEDDED:
        return {}
    embedding = encode(model, image)
    points = torch.from_numpy(embedding.frame.points_to_model(point_grid(6) * image.shape[1::-1]))
    enlarger = Enlarger(embedding.frame, model.config.low_res_hw, model.mask_threshold, 1.0)
    if name not in EMBEDDED:
        _calibrate(model, _ask(model, embedding.features, points, enlarger)[1])
    iou, logits = _ask(model, embedding.features, points, enlarger)
    least_iou = max(float(np.quantile(iou, 1 - PASS_IOU)), 1e-6)
    stability = [float(enlarger.enlarge(mask, 0).stability) for mask in logits[torch.from_numpy(iou > least_iou)]]
    found = {"pred_iou_thresh": least_iou, "stability_score_thresh": float(np.quantile(stability, 1 - PASS_STABILITY))}
    return found if name in EMBEDDED else {**found, "box_nms_thresh": 1.0}


def _calibrate(model: SAM, logits: torch.Tensor) -> None:
    """Spread a random decoder's logits as published ones are, and lift the quality that it predicts above zero.

    (A threshold of zero means no filter.) Parts of an upscaled cell get equal weights: random ones draw a chequerboard
    that no trained model has.
    """
    for network in model.mask_decoder.output_hypernetworks_mlps:
        network.layers[-1].weight *= SPREAD / logits.std()
        network.layers[-1].bias *= SPREAD / logits.std()
    for layer in (0, 3):
        weight = model.mask_decoder.output_upscaling[layer].weight
        weight.copy_(weight.mean((2, 3), keepdim=True).expand_as(weight) * 2)
    model.mask_decoder.iou_prediction_head.layers[-1].bias.fill_(0.9)


def _ask(
    model: SAM, features: torch.Tensor, points: torch.Tensor, enlarger: Enlarger
) -> tuple[np.ndarray, torch.Tensor]:
    """IoU (N * 3,) and logits (N * 3, h, w) of every point's masks."""
    decoder = PointDecoder(model, features)
    iou, logits = [], []
    for batch in points.split(decoder.batch):
        answers = decoder.answer(batch)
        iou.append(answers.iou[:, 1:].flatten())
        chosen = np.tile([False, True, True, True], (len(batch), 1))
        logits.append(decoder.upscale(answers, np.arange(len(batch)), chosen, enlarger.low_hw))
    return torch.cat(iou).numpy(), torch.cat(logits)
