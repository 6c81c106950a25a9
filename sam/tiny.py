"""This project's own small image encoder: convolutions where detail is, attention where the whole picture is seen.

It takes the 1024-pixel frame of every published SAM and gives the same [B, 256, 64, 64] embedding, so all decoder
graphs serve it, but looks at the picture at half that size: the first step is an exact 2x2 mean.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Size, TinyConfig
from .layers import Conv2dBN, LayerNorm2d, MLPBlock

OCTAVES = 4
"""Frequencies along each axis that tell a cell's position: 1, 2, 4 and 8 half turns."""


class TinyEncoder(nn.Module):
    """Four stages at strides 4, 8, 16, 32 of the halved picture, fused top-down at stride 8.

    Input B,3,H,W float, normalised, H and W multiples of 64; output B,out_chans,H/16,W/16. Any such size works
    (no position has weights of its own), `img_size` is the size the model was made for.
    """

    def __init__(
        self,
        img_size: int | Size = 1024,
        widths: tuple[int, int, int, int] = (64, 128, 224, 288),
        depths: tuple[int, int, int, int] = (1, 2, 2, 4),
        num_heads: int = 8,
        out_chans: int = 256,
    ) -> None:
        super().__init__()
        self.config = TinyConfig(img_size, tuple(widths), tuple(depths), num_heads, out_chans)
        self.img_size = img_size
        self.stem = nn.Sequential(
            Conv2dBN(3, widths[0] // 2, 3, 2), nn.GELU(), Conv2dBN(widths[0] // 2, widths[0], 3, 2)
        )
        self.stride4 = _conv_stage(widths[0], depths[0])
        self.down8 = Conv2dBN(widths[0], widths[1], 3, 2)
        self.stride8 = _conv_stage(widths[1], depths[1])
        self.down16 = Conv2dBN(widths[1], widths[2], 3, 2)
        self.stride16 = _conv_stage(widths[2], depths[2])
        self.down32 = Conv2dBN(widths[2], widths[3], 3, 2)
        self.stride32 = nn.Sequential(*(AttentionBlock(widths[3], num_heads) for _ in range(depths[3])))
        self.fusion = TopDownFusion(widths, out_chans)

    def forward(self, image_bchw: Tensor) -> Tensor:
        return self.features(F.avg_pool2d(image_bchw, 2))

    def features(self, half_bchw: Tensor) -> Tensor:
        """Encode a picture that is already halved: B,3,h,w (multiples of 32) -> B,out_chans,h/8,w/8."""
        x4 = self.stride4(self.stem(half_bchw))
        x8 = self.stride8(self.down8(x4))
        x16 = self.stride16(self.down16(x8))
        x32 = self.stride32(self.down32(x16))
        return self.fusion(x4, x8, x16, x32)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around an identity (He et al. 2016)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = Conv2dBN(dim, dim, 3)
        self.conv2 = Conv2dBN(dim, dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv2(F.gelu(self.conv1(x))))


class AttentionBlock(nn.Module):
    """Global self-attention and a perceptron; a depth-wise convolution tells positions (Chu et al. 2021)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.position = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLPBlock(dim, 4 * dim)

    def forward(self, x_bchw: Tensor) -> Tensor:
        grid_hw = x_bchw.shape[-2:]
        x = (x_bchw + self.position(x_bchw)).flatten(2).transpose(1, 2)
        x = x + self._attend(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x.transpose(1, 2).unflatten(2, grid_hw)

    def _attend(self, x_bnc: Tensor) -> Tensor:
        q, k, v = self.qkv(x_bnc).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TopDownFusion(nn.Module):
    """Bring every stage to stride 8 and project to the embedding (Lin et al. 2017, feature pyramid).

    Positions are added there, as the published encoders add theirs to the patches: the decoder looks up where a cell
    is but does not keep it, and has no perceptron on the picture's side to say "inside this box" with.
    """

    def __init__(self, widths: tuple[int, int, int, int], out_chans: int) -> None:
        super().__init__()
        self.from32 = Conv2dBN(widths[3], widths[2])
        self.from16 = Conv2dBN(widths[2], widths[1])
        self.from4 = Conv2dBN(widths[0], widths[1], 3, 2)
        self.out = nn.Conv2d(widths[1], out_chans, 3, padding=1)
        self.position = nn.Conv2d(4 * OCTAVES, out_chans, 1, bias=False)
        self.norm = LayerNorm2d(out_chans)

    def forward(self, x4: Tensor, x8: Tensor, x16: Tensor, x32: Tensor) -> Tensor:
        x16 = F.gelu(x16 + _double(self.from32(x32)))
        x8 = F.gelu(x8 + _double(self.from16(x16)) + self.from4(x4))
        return self.norm(self.out(x8) + self.position(grid_positions(x8)))


def grid_positions(like_bchw: Tensor) -> Tensor:
    """Sines and cosines of where each cell lies along each axis: (1, 4 * OCTAVES, h, w) in -1 to 1."""
    height, width = like_bchw.shape[-2:]
    y, x = (_waves(side, like_bchw) for side in (height, width))
    return torch.cat([y[:, :, None].expand(-1, -1, width), x[:, None].expand(-1, height, -1)])[None]


def _waves(side: int, like: Tensor) -> Tensor:
    place = (torch.arange(side, device=like.device) + 0.5) / side
    phase = math.pi * 2.0 ** torch.arange(OCTAVES, device=like.device)[:, None] * place
    return torch.cat([phase.sin(), phase.cos()]).to(like.dtype)


def _conv_stage(dim: int, depth: int) -> nn.Sequential:
    return nn.Sequential(nn.GELU(), *(ResidualBlock(dim) for _ in range(depth)))


def _double(x_bchw: Tensor) -> Tensor:
    return F.interpolate(x_bchw, scale_factor=2.0, mode="bilinear", align_corners=False)
