"""The simulated person: first clicks, boxes and corrective clicks (SAM paper, appendix A).

Coordinates are x, y in cells of the low-resolution target; `objective` scales them to model pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .cells import BLOCK


def first_click(targets: Tensor) -> Tensor:
    """One point inside each mask: (N, h, w) in 0-1 -> (N, 2). Half of them uniform, half drawn towards the middle."""
    inside = (targets > 0.5).float() + 1e-3 * targets + 1e-9
    coarse = F.avg_pool2d(inside[:, None], 4)
    reach = max(3, coarse.shape[-1] // 4) | 1
    depth = F.interpolate(F.avg_pool2d(coarse, reach, 1, reach // 2), size=targets.shape[-2:])[:, 0]
    index = _draw(_half_uniform(inside, inside * depth, 6))
    width = targets.shape[-1]
    return torch.stack([index % width, index // width], -1).float() + 0.5


def corrective_click(
    logits: Tensor, targets: Tensor, valid: Tensor, places: Tensor, grid: int
) -> tuple[Tensor, Tensor]:
    """A point in the error region and its label, 1 where mask is missing, 0 where there is too much.

    logits, targets, valid (N, 4n, 4) of the cells that `cells.sample_cells(grid, ...)` drew, places (16n, 2) from
    `cells.patch_positions` -> points (N, 2), labels (N,). Half uniform over the errors, half drawn towards the middle
    of an error region. Where nothing is wrong the click lands anywhere on the mask.
    """
    truth = targets > 0.5
    wrong = ((logits > 0) != truth) & valid
    depth = _depth(wrong & truth, grid) + _depth(wrong & ~truth, grid)
    index = _draw(_half_uniform(wrong.float(), depth, 4) + 1e-6 * truth + 1e-12)
    labels = truth.flatten(1)[torch.arange(len(truth), device=truth.device), index]
    return places[index], labels.long()


def jittered_box(targets: Tensor, jitter: float = 0.1) -> Tensor:
    """The box around each mask, half of them with corners moved by up to `jitter` of a side: (N, h, w) -> (N, 4)."""
    inside = targets > 0.25
    x0, x1 = _extent(inside.any(-2))
    y0, y1 = _extent(inside.any(-1))
    box = torch.stack([x0, y0, x1, y1], -1).float()
    sides = torch.stack([x1 - x0, y1 - y0] * 2, -1).float()
    moved = torch.rand(len(box), 1, device=box.device) < 0.5
    noise = torch.randn_like(box).clamp(-2, 2) * jitter / 2 * sides * moved
    limits = torch.tensor([targets.shape[-1], targets.shape[-2]] * 2, device=box.device)
    return torch.minimum((box + noise).clamp(min=0), limits)


def _depth(region: Tensor, grid: int) -> Tensor:
    """How far inside the region each of its values lies, roughly: the region's share of the blocks around it."""
    blocks = grid // BLOCK
    share = region.flatten(1).unflatten(1, (blocks, blocks, -1)).float().mean(-1)
    around = F.avg_pool2d(share[:, None], 5, 1, 2)[:, 0] * share
    return around.flatten(1).repeat_interleave(region[0].numel() // blocks**2, 1).view_as(region) * region


def _half_uniform(inside: Tensor, depth: Tensor, power: int) -> Tensor:
    """Weights (N, h, w): for half of the maps `inside`, for the others the depth, sharpened."""
    towards_middle = (depth / depth.amax((-2, -1), keepdim=True).clamp(min=1e-9)) ** power
    uniform = torch.rand(len(inside), 1, 1, device=inside.device) < 0.5
    return torch.where(uniform, inside, towards_middle)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last true entry of each row."""
    length = occupied.shape[-1]
    return occupied.int().argmax(-1), length - occupied.flip(-1).int().argmax(-1)


def _draw(weights: Tensor) -> Tensor:
    """One flat index per map, drawn by weight: (N, h, w) -> (N,)."""
    return torch.multinomial(weights.flatten(1), 1)[:, 0]
