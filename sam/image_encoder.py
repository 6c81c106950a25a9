"""The ViTDet image encoder: windowed and global attention with decomposed relative positions, and a neck.

Source: SAM paper appendix A and `segment_anything.modeling.image_encoder`; Li et al. 2022 (ViTDet) for the
windows, Li et al. 2021 (MViTv2) for the decomposed relative positions. Parameter names are Meta's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Size, ViTConfig
from .layers import MLPBlock, conv_neck


class ImageEncoderViT(nn.Module):
    """Turn a padded picture into its embedding.

    Input B,3,H,W float, normalised, H and W exactly `img_size`; output B,out_chans,H/patch,W/patch.
    The keywords and their defaults are the original's (the published models set more: see `config.VARIANTS`);
    `img_size` may also be (height, width) for a non-square grid.
    """

    def __init__(
        self,
        img_size: int | Size = 1024,
        patch_size: int = 16,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        out_chans: int = 256,
        qkv_bias: bool = True,
        use_rel_pos: bool = False,
        window_size: int = 0,
        global_attn_indexes: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.config = config = ViTConfig(
            img_size, patch_size, embed_dim, depth, num_heads, mlp_ratio, out_chans,
            qkv_bias, use_rel_pos, window_size, tuple(global_attn_indexes),
        )  # fmt: skip
        self.img_size = img_size
        self.pos_embed = nn.Parameter(torch.zeros(1, *config.grid_hw, embed_dim))
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.blocks = nn.ModuleList(
            Block(config, window_size=0 if index in config.global_attn_indexes else window_size)
            for index in range(depth)
        )
        self.neck = conv_neck(embed_dim, out_chans)

    def forward(self, image_bchw: Tensor) -> Tensor:
        if tuple(image_bchw.shape[-2:]) != self.config.input_hw:
            raise ValueError(f"the encoder takes {self.config.input_hw} pixels, got {tuple(image_bchw.shape[-2:])}")
        x_bhwc = self.patch_embed(image_bchw) + self.pos_embed
        for block in self.blocks:
            x_bhwc = block(x_bhwc)
        return self.neck(x_bhwc.permute(0, 3, 1, 2))


class PatchEmbed(nn.Module):
    """Cut the picture into patches and project each: B,3,H,W -> B,H/p,W/p,C."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, image_bchw: Tensor) -> Tensor:
        return self.proj(image_bchw).permute(0, 2, 3, 1)


class Block(nn.Module):
    """A pre-norm transformer block; `window_size` 0 attends globally."""

    def __init__(self, config: ViTConfig, window_size: int) -> None:
        super().__init__()
        dim = config.embed_dim
        span_hw = (window_size, window_size) if window_size else config.grid_hw
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, config.num_heads, config.qkv_bias, span_hw if config.use_rel_pos else None)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, int(dim * config.mlp_ratio))
        self.window_size = window_size

    def forward(self, x_bhwc: Tensor) -> Tensor:
        shortcut = x_bhwc
        x_bhwc = self.norm1(x_bhwc)
        x_bhwc = self.attn.in_windows(x_bhwc, self.window_size) if self.window_size else self.attn(x_bhwc)
        x_bhwc = shortcut + x_bhwc
        rows = in_turns(self.mlp, self.norm2(x_bhwc).flatten(0, 2))
        return x_bhwc + rows.view_as(x_bhwc)


# --- a processor without gradients -----------------------------------------------------------------------------------
#
# What a step writes should still be in the cache when the next step reads it, and small buffers are used again where
# large ones are new memory from the system each time. So some tokens go through several steps before the others do.

TURN_TOKENS = 1024
"""Tokens that take a turn, per thread; of windows one row of them."""
TILE_BYTES = 4 * 2**20
"""Scores of attention that are computed at once, per thread."""


def in_turns(module: nn.Module, rows: Tensor) -> Tensor:
    """`module(rows)` for a module that treats every row by itself; some at a time where that is faster."""
    if not is_plain_inference(rows):
        return module(rows)
    return torch.cat([module(part) for part in rows.split(TURN_TOKENS * torch.get_num_threads())])


def is_plain_inference(x: Tensor) -> bool:
    """Whether a processor computes float32: no gradients, no graph to export, no mixed precision."""
    if torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


class Attention(nn.Module):
    """Multi-head attention over an h x w grid, with decomposed relative positions when `span_hw` is given."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, span_hw: Size | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        head_dim = dim // num_heads
        if span_hw is not None:
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * span_hw[0] - 1, head_dim))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * span_hw[1] - 1, head_dim))
        self.use_rel_pos = span_hw is not None
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        b, h, w, c = x_bhwc.shape
        qkv = self.qkv(x_bhwc).view(b, h * w, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, h*w, head_dim)
        attend = self._attend_in_tiles if self.use_rel_pos and is_plain_inference(q) else self._attend
        x = attend(q, k, v, (h, w))
        return self.proj(x.transpose(1, 2).reshape(b, h, w, c))

    def in_windows(self, x_bhwc: Tensor, window: int) -> Tensor:
        """Attention of each window of a grid to itself; windows that stick out are filled up with zeros."""
        if is_plain_inference(x_bhwc):
            rows = window * torch.get_num_threads()
            return torch.cat([self._rows_of_windows(part, window) for part in x_bhwc.split(rows, dim=1)], dim=1)
        windows, padded_hw = window_partition(x_bhwc, window)
        return window_unpartition(self(windows), window, padded_hw, x_bhwc.shape[1:3])

    def _rows_of_windows(self, x_bhwc: Tensor, window: int) -> Tensor:
        """The same for some rows of windows. What zeros become is the bias: nothing is computed for the padding."""
        b, h, w, c = x_bhwc.shape
        rows, columns = -(-h // window), -(-w // window)
        qkv = x_bhwc.new_zeros(b, rows * window, columns * window, 3 * c)
        if self.qkv.bias is not None:
            qkv += self.qkv.bias
        qkv[:, :h, :w] = self.qkv(x_bhwc)
        qkv = qkv.view(b, rows, window, columns, window, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6).flatten(1, 3)  # (B*windows, heads, n, head_dim)
        attend = self._attend_in_tiles if self.use_rel_pos else self._attend
        x = attend(q, k, v, (window, window))
        x = x.view(b, rows, columns, self.num_heads, window, window, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return self.proj(x.reshape(b, rows * window, columns * window, c)[:, :h, :w])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, grid_hw: Size) -> Tensor:
        bias = self._position_bias(q, grid_hw) if self.use_rel_pos else None
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def _attend_in_tiles(self, q: Tensor, k: Tensor, v: Tensor, grid_hw: Size) -> Tensor:
        """The same, some queries at a time: bias and softmax work on scores in the cache, in one buffer.

        A global block of vit_b has 805 MB of scores; written to memory and read again they cost more than their sum.
        """
        b, heads, n, c = q.shape
        by_row, by_column = (bias.reshape(b * heads, n, -1) for bias in self._position_bias_by_axis(q, grid_hw))
        k = (k * c**-0.5).transpose(2, 3).reshape(b * heads, c, n)
        q, v = (tensor.reshape(b * heads, n, c).contiguous() for tensor in (q, v))
        rows = max(1, TILE_BYTES * torch.get_num_threads() // (n * q.element_size()))
        groups, rows = max(1, rows // n), min(rows, n)
        answer, buffer = q.new_empty(b * heads, n, c), q.new_empty(groups * rows * n)
        for first in range(0, b * heads, groups):
            for row in range(0, n, rows):
                tile = (slice(first, first + groups), slice(row, row + rows))
                queries = q[tile]
                scores = buffer[: queries.shape[0] * queries.shape[1] * n].view(*queries.shape[:2], n)
                bias = scores.view(*queries.shape[:2], *grid_hw)
                torch.add(by_row[tile].unsqueeze(-1), by_column[tile].unsqueeze(-2), out=bias)
                scores.baddbmm_(queries, k[tile[0]])
                torch.softmax(scores, dim=-1, out=scores)
                torch.bmm(scores, v[tile[0]], out=answer[tile])
        return answer.view(b, heads, n, c)

    def _position_bias(self, q: Tensor, grid_hw: Size) -> Tensor:
        """Bias added to q.k, (B, heads, h*w, h*w).

        It uses the unscaled q: the reference scales only the q.k product, and scaled_dot_product_attention
        adds its mask after scaling. `test_parity` proves it against the original's values.
        """
        by_row, by_column = self._position_bias_by_axis(q, grid_hw)
        return (by_row.unsqueeze(-1) + by_column.unsqueeze(-2)).reshape(*q.shape[:3], -1)

    def _position_bias_by_axis(self, q: Tensor, grid_hw: Size) -> tuple[Tensor, Tensor]:
        """The bias of every row and of every column of keys, (B, heads, h, w, h) and (B, heads, h, w, w)."""
        q_grid = q.unflatten(2, grid_hw)  # (B, heads, h, w, head_dim)
        by_row = torch.einsum("bnhwc,hkc->bnhwk", q_grid, relative_positions(grid_hw[0], self.rel_pos_h))
        by_column = torch.einsum("bnhwc,wkc->bnhwk", q_grid, relative_positions(grid_hw[1], self.rel_pos_w))
        return by_row, by_column


def relative_positions(span: int, rel_pos: Tensor) -> Tensor:
    """Pick the embedding of every (query, key) distance along one axis: (span, span, head_dim).

    A table of another length is interpolated linearly, as ViTDet does for other input sizes.
    """
    length = 2 * span - 1
    if rel_pos.shape[0] != length:
        rel_pos = F.interpolate(rel_pos.T[None], size=length, mode="linear")[0].T
    index = torch.arange(span, device=rel_pos.device)
    return rel_pos[index[:, None] - index[None, :] + span - 1]


def window_partition(x_bhwc: Tensor, window: int) -> tuple[Tensor, Size]:
    """Cut a grid into non-overlapping windows, zero-padded right and below: (B*n, window, window, C), padded size."""
    b, h, w, c = x_bhwc.shape
    x_bhwc = F.pad(x_bhwc, (0, 0, 0, -w % window, 0, -h % window))
    rows, columns = x_bhwc.shape[1] // window, x_bhwc.shape[2] // window
    x = x_bhwc.view(b, rows, window, columns, window, c).transpose(2, 3)  # window rows next to window columns
    return x.reshape(-1, window, window, c), (rows * window, columns * window)


def window_unpartition(windows: Tensor, window: int, padded_hw: Size, grid_hw: Size) -> Tensor:
    """Undo `window_partition`: put the windows back and cut the padding off, (B, h, w, C)."""
    rows, columns = padded_hw[0] // window, padded_hw[1] // window
    x = windows.view(-1, rows, columns, window, window, windows.shape[-1]).transpose(2, 3)
    return x.reshape(-1, *padded_hw, windows.shape[-1])[:, : grid_hw[0], : grid_hw[1]]
