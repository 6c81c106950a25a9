"""Training on a random part of the embedding's cells.

Tokens see a picture through attention, a sum over cells, and each cell's 4x4 logits follow from that cell alone (both
transposed convolutions tile without overlap, the normalisations act per position). So a decoder that is given some of
the cells, laid out as a picture of n x 1, computes exactly their logits, save that attention averages over a sample.
One cell of every 2x2 block trains as well as all of them and costs a quarter of the decoder's time.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 2
"""Side of the blocks from which cells are drawn: every part of the picture stays represented."""


def sample_cells(grid: int, per_block: int, device: torch.device | None = None) -> Tensor:
    """Draw `per_block` (1 to 4) cells of each 2x2 block of grid x grid cells: (n,) flat indices, block by block."""
    side = grid // BLOCK
    order = torch.rand(side * side, BLOCK * BLOCK, device=device).argsort(1)[:, :per_block]
    block_row = torch.arange(side, device=device).repeat_interleave(side)[:, None]
    block_column = torch.arange(side, device=device).repeat(side)[:, None]
    return ((block_row * BLOCK + order // BLOCK) * grid + block_column * BLOCK + order % BLOCK).flatten()


def gather_cells(map_bchw: Tensor, cells: Tensor) -> Tensor:
    """Features of the cells, as a narrow picture: (B, C, g, g) -> (B, C, n, 1)."""
    return map_bchw.flatten(2)[:, :, cells].unsqueeze(-1)


def gather_patches(map_bhw: Tensor, cells: Tensor) -> Tensor:
    """The 4x4 low-resolution values of each cell, as a narrow picture: (B, 4g, 4g) -> (B, 4n, 4)."""
    grid = map_bhw.shape[-1] // 4
    patches = map_bhw.unflatten(2, (grid, 4)).unflatten(1, (grid, 4)).transpose(2, 3)  # B, g, g, 4, 4
    return patches.flatten(1, 2)[:, cells].flatten(1, 2)


def patch_positions(cells: Tensor, grid: int) -> Tensor:
    """x, y of every value `gather_patches` returns, in low-resolution cells, at their centres: (4n * 4, 2)."""
    offset = torch.arange(4, device=cells.device)
    y = (cells // grid * 4)[:, None, None] + offset[:, None]
    x = (cells % grid * 4)[:, None, None] + offset[None, :]
    y, x = torch.broadcast_tensors(y, x)
    return torch.stack([x, y], -1).flatten(0, 2) + 0.5
