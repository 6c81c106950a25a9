"""TinyViT, the image encoder of MobileSAM: convolutions first, then windowed attention, at stride 16.

Source: Wu et al. 2022 (TinyViT) and Zhang et al. 2023 (MobileSAM), `mobile_sam.modeling.tiny_vit_sam`. Parameter
names are the published checkpoint's, the unused classification head included.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Size, TinyViTConfig
from .image_encoder import window_partition, window_unpartition
from .layers import Conv2dBN, conv_neck

IMAGENET_CLASSES = 1000


class TinyViT(nn.Module):
    """Turn a padded picture into its embedding.

    Input B,3,H,W float, normalised, H and W multiples of 16; output B,out_chans,H/16,W/16. Any such size works,
    `img_size` is the size the model was made for. `norm_head` and `head` are never used: they are there because
    the checkpoint has them, and `head` takes the number of classes of the weights it is given.
    """

    def __init__(
        self,
        img_size: int | Size = 1024,
        embed_dims: tuple[int, ...] = (64, 128, 160, 320),
        depths: tuple[int, ...] = (2, 2, 6, 2),
        num_heads: tuple[int, ...] = (2, 4, 5, 10),
        window_sizes: tuple[int, ...] = (7, 7, 14, 7),
        mlp_ratio: float = 4.0,
        mbconv_expand_ratio: float = 4.0,
        local_conv_size: int = 3,
        out_chans: int = 256,
    ) -> None:
        super().__init__()
        self.config = config = TinyViTConfig(
            img_size, tuple(embed_dims), tuple(depths), tuple(num_heads), tuple(window_sizes),
            mlp_ratio, mbconv_expand_ratio, local_conv_size, out_chans,
        )  # fmt: skip
        self.img_size = img_size
        self.patch_embed = PatchEmbed(embed_dims[0])
        self.layers = nn.ModuleList(Stage(config, index) for index in range(len(depths)))
        self.norm_head = nn.LayerNorm(embed_dims[-1])
        self.head = nn.Linear(embed_dims[-1], IMAGENET_CLASSES)
        self.neck = conv_neck(embed_dims[-1], out_chans)
        self.register_load_state_dict_pre_hook(_fit_head)

    def forward(self, image_bchw: Tensor) -> Tensor:
        height, width = image_bchw.shape[-2:]
        if height % 16 or width % 16:
            raise ValueError(f"the encoder takes multiples of 16 pixels, got {(height, width)}")
        x = self.patch_embed(image_bchw)
        for stage in self.layers:
            x = stage(x)
        return self.neck(x)


def _fit_head(encoder: TinyViT, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Give the unused head as many classes as the weights about to be loaded have."""
    weight, head = state_dict.get(f"{prefix}head.weight"), encoder.head
    if weight is not None and weight.shape[0] != head.out_features:
        kind = {"device": head.weight.device, "dtype": head.weight.dtype}
        encoder.head = nn.Linear(head.in_features, weight.shape[0], **kind)


class PatchEmbed(nn.Module):
    """Two strided convolutions: B,3,H,W -> B,C,H/4,W/4."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        half = embed_dim // 2
        self.seq = nn.Sequential(Conv2dBN(3, half, 3, 2), nn.GELU(), Conv2dBN(half, embed_dim, 3, 2))

    def forward(self, image_bchw: Tensor) -> Tensor:
        return self.seq(image_bchw)


class Stage(nn.Module):
    """The blocks of one resolution, then the step to the next: stage 0 convolves, the others attend in windows.

    The step into the last stage keeps its resolution, which is how MobileSAM ends at stride 16 and not 32.
    """

    def __init__(self, config: TinyViTConfig, index: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_block(config, index) for _ in range(config.depths[index]))
        last = len(config.depths) - 1
        if index < last:
            stride = 1 if index + 1 == last else 2
            self.downsample = PatchMerging(config.embed_dims[index], config.embed_dims[index + 1], stride)
        else:
            self.downsample = nn.Identity()

    def forward(self, x_bchw: Tensor) -> Tensor:
        for block in self.blocks:
            x_bchw = block(x_bchw)
        return self.downsample(x_bchw)


def _block(config: TinyViTConfig, index: int) -> nn.Module:
    dim = config.embed_dims[index]
    if index == 0:
        return MBConv(dim, int(dim * config.mbconv_expand_ratio))
    hidden = int(dim * config.mlp_ratio)
    return TinyViTBlock(dim, config.num_heads[index], config.window_sizes[index], hidden, config.local_conv_size)


class MBConv(nn.Module):
    """Inverted residual: widen, convolve each channel, narrow (Sandler et al. 2018)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = Conv2dBN(dim, hidden)
        self.conv2 = Conv2dBN(hidden, hidden, 3, groups=hidden)
        self.conv3 = Conv2dBN(hidden, dim)

    def forward(self, x_bchw: Tensor) -> Tensor:
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x_bchw))))
        return F.gelu(x_bchw + self.conv3(hidden))


class PatchMerging(nn.Module):
    """Change the width, and with stride 2 halve the resolution: B,C,h,w -> B,C',h/stride,w/stride."""

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv2dBN(dim, out_dim)
        self.conv2 = Conv2dBN(out_dim, out_dim, 3, stride, groups=out_dim)
        self.conv3 = Conv2dBN(out_dim, out_dim)

    def forward(self, x_bchw: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x_bchw)))))


class TinyViTBlock(nn.Module):
    """Windowed attention, a depth-wise convolution across the windows' borders, a perceptron."""

    def __init__(self, dim: int, num_heads: int, window_size: int, mlp_hidden: int, local_conv_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.attn = Attention(dim, num_heads, window_size)
        self.mlp = Mlp(dim, mlp_hidden)
        self.local_conv = Conv2dBN(dim, dim, local_conv_size, groups=dim)

    def forward(self, x_bchw: Tensor) -> Tensor:
        x_bchw = x_bchw + self._attend(x_bchw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x_bhwc = self.local_conv(x_bchw).permute(0, 2, 3, 1)
        return (x_bhwc + self.mlp(x_bhwc)).permute(0, 3, 1, 2)

    def _attend(self, x_bhwc: Tensor) -> Tensor:
        windows, padded_hw = window_partition(x_bhwc, self.window_size)
        attended = self.attn(windows.flatten(1, 2)).view_as(windows)
        return window_unpartition(attended, self.window_size, padded_hw, x_bhwc.shape[1:3])


class Attention(nn.Module):
    """Multi-head attention within one window, with a learned bias per head and distance.

    The padding of incomplete windows takes part: zeros, normalised like every token, as in the original.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window_size * window_size))
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.register_buffer("attention_bias_idxs", distance_indexes(window_size), persistent=False)

    def forward(self, x_bnc: Tensor) -> Tensor:
        """Windows (B, window * window, C), each attending to itself."""
        qkv = self.qkv(self.norm(x_bnc)).unflatten(-1, (self.num_heads, 3, -1))  # q, k, v lie side by side per head
        q, k, v = qkv.permute(3, 0, 2, 1, 4)  # each (B, heads, N, head_dim)
        bias = self.attention_biases[:, self.attention_bias_idxs]  # (heads, N, N)
        return self.proj(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """A perceptron with its own norm in front."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


def distance_indexes(window_size: int) -> Tensor:
    """Index into the biases for every pair of window cells, |row distance| * window + |column distance|: (N, N)."""
    cells = torch.arange(window_size * window_size)
    rows, columns = cells // window_size, cells % window_size
    return (rows[:, None] - rows).abs() * window_size + (columns[:, None] - columns).abs()
