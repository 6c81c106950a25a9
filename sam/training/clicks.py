"""The simulated person: first clicks, boxes and corrective clicks (SAM paper, appendix A).

Coordinates are x, y in cells of the low-resolution target; `loop` scales them to model pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def first_click(targets: Tensor) -> Tensor:
    """One point inside each mask: (N, h, w) -> (N, 2). Half of them uniform, half drawn towards the middle."""
    inside = (targets > 0.5).float() + 1e-3 * targets + 1e-9
    coarse = F.avg_pool2d(inside[:, None], 4)
    reach = max(3, coarse.shape[-1] // 4) | 1
    depth = F.interpolate(F.avg_pool2d(coarse, reach, 1, reach // 2), size=targets.shape[-2:])[:, 0]
    towards_middle = inside * depth**6
    uniform = torch.rand(targets.shape[0], 1, 1, device=targets.device) < 0.5
    return _draw_cell(torch.where(uniform, inside, towards_middle / towards_middle.amax((-2, -1), keepdim=True)))


def corrective_click(logits: Tensor, targets: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A point in the error region and its label: logits, targets, valid (N, h, w) -> (N, 2), (N,).

    Where nothing is wrong the click lands anywhere on the mask.
    """
    truth = targets > 0.5
    wrong = ((logits > 0) != truth) & valid
    points = _draw_cell(wrong.float() + 1e-6 * truth + 1e-12)
    columns, rows = points.long().unbind(-1)
    labels = truth[torch.arange(len(truth), device=truth.device), rows, columns]
    return points, labels.long()


def jittered_box(targets: Tensor, jitter: float = 0.1) -> Tensor:
    """The box around each mask, its corners moved by up to about `jitter` of a side: (N, h, w) -> (N, 4) XYXY."""
    inside = targets > 0.25
    columns, rows = inside.any(-2), inside.any(-1)
    x0, x1 = _extent(columns)
    y0, y1 = _extent(rows)
    box = torch.stack([x0, y0, x1, y1], -1).float()
    sides = torch.stack([x1 - x0, y1 - y0] * 2, -1).float()
    noise = torch.randn_like(box).clamp(-2, 2) * jitter * sides * (torch.rand(len(box), 1, device=box.device) < 0.5)
    limits = torch.tensor([targets.shape[-1], targets.shape[-2]] * 2, device=box.device)
    return torch.minimum((box + noise / 2).clamp(min=0), limits)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last true entry of each row."""
    length = occupied.shape[-1]
    first = occupied.int().argmax(-1)
    last = length - occupied.flip(-1).int().argmax(-1)
    return first, last


def _draw_cell(weights: Tensor) -> Tensor:
    """Draw one cell a map by weight; its centre as x, y."""
    index = torch.multinomial(weights.flatten(1), 1)[:, 0]
    width = weights.shape[-1]
    return torch.stack([index % width, index // width], -1).float() + 0.5
