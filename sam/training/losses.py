"""What training minimises, as plain functions.

All take float32 logits of any size and shape (..., h, w); targets are in 0-1 and may be soft, `valid` (bool or 0-1)
marks the pixels that count. The sums and their weights are the SAM paper's (appendix A) unless a name says otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IOU_WEIGHT = 3.0
"""Of the IoU regression beside the mask losses; the paper's 1 left the choice among three masks far below the best."""


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, valid: Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Mean focal loss over the valid pixels (Lin et al. 2017): (..., h, w) three times -> (...), at least 0.

    Easy pixels weigh little (`gamma`), background more than foreground (1 - `alpha` against `alpha`), as in the
    original `sigmoid_focal_loss`.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets.expand_as(logits), reduction="none")
    probability = logits.sigmoid()
    miss = probability + targets - 2 * probability * targets
    loss = (alpha * targets + (1 - alpha) * (1 - targets)) * miss**gamma * cross_entropy
    return (loss * valid).sum((-2, -1)) / valid.sum((-2, -1)).clamp(min=1)


def dice_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """One minus the soft Dice coefficient over the valid pixels (Milletari et al. 2016): (..., h, w) -> (...), in 0-1.

    One is added above and below, so that an empty mask answered by an empty one costs nothing.
    """
    probability = logits.sigmoid() * valid
    targets = targets * valid
    overlap = (probability * targets).sum((-2, -1))
    total = probability.sum((-2, -1)) + targets.sum((-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def mask_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Focal 20 : dice 1 (SAM paper, appendix A), per mask: (..., h, w) -> (...), at least 0."""
    return 20 * sigmoid_focal_loss(logits, targets, valid) + dice_loss(logits, targets, valid)


@torch.no_grad()
def mask_iou(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """IoU of the thresholded mask with the target, valid pixels only: (..., h, w) -> (...), in 0-1."""
    mask, truth = (logits > 0) & valid.bool(), (targets > 0.5) & valid.bool()
    return (mask & truth).sum((-2, -1)) / (mask | truth).sum((-2, -1)).clamp(min=1)


def decoder_loss(logits: Tensor, iou_predictions: Tensor, targets: Tensor, valid: Tensor, ambiguous: Tensor) -> Tensor:
    """Loss of all tokens for N prompts: a scalar, at least 0.

    logits (N, 1+M, h, w), iou_predictions (N, 1+M), targets and valid (N, h, w), ambiguous (N,) bool: a single click.
    An ambiguous prompt trains mainly the best of the M masks, any other mainly the single-mask token; the rest of the
    weight keeps either answer meaningful for both kinds.
    """
    targets, valid = targets.unsqueeze(1), valid.unsqueeze(1).float()
    losses = mask_loss(logits, targets, valid)
    single_weight = torch.where(ambiguous, 0.3, 1.0)
    multi_weight = torch.where(ambiguous, 1.0, 0.3)
    per_prompt = single_weight * losses[:, 0] + multi_weight * losses[:, 1:].amin(1)
    return per_prompt.mean() + IOU_WEIGHT * iou_regression_loss(iou_predictions, logits, targets, valid).mean()


def iou_regression_loss(iou_predictions: Tensor, logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Squared error of the predicted IoU (SAM paper, appendix A): predictions (...), others (..., h, w) -> (...)."""
    return (iou_predictions - mask_iou(logits, targets, valid)).square()


def affinity_loss(embeddings: Tensor, segments: Tensor, cells: int = 192, temperature: float = 0.1) -> Tensor:
    """Cells of one segment should look alike, cells of different segments should not: a scalar, at least 0.

    embeddings (P, C, g, g); segments (P, g, g) int ids, 0 or less is left out. Cosine similarity of random cells
    against the segments' relation by cross entropy, each class weighted alike.
    """
    index = torch.randint(segments[0].numel(), (cells,), device=segments.device)
    ids = segments.flatten(1)[:, index]
    features = F.normalize(embeddings.flatten(2)[:, :, index].float(), dim=1)
    similarity = (features.transpose(1, 2) @ features - 0.5) / temperature
    same = (ids[:, :, None] == ids[:, None, :]).float()
    known = (ids[:, :, None] > 0) & (ids[:, None, :] > 0)
    loss = F.binary_cross_entropy_with_logits(similarity, same, reduction="none")
    alike, different = known & same.bool(), known & ~same.bool()
    return (loss * alike).sum() / alike.sum().clamp(min=1) + (loss * different).sum() / different.sum().clamp(min=1)
