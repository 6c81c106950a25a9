"""Points, boxes and masks become embeddings. Source: SAM paper appendix A, `segment_anything.modeling.prompt_encoder`.

Written so that it traces as it stands: no boolean indexing, no branch on a value. The ONNX graphs use these modules.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .config import Size
from .layers import LayerNorm2d, at_least_float32

PADDING, BACKGROUND, FOREGROUND, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""The labels a point can carry. Corners of a box are points with labels of their own."""


class PromptEncoder(nn.Module):
    """Sparse embeddings for points and boxes, dense embeddings for a mask.

    `embed_dim` channels; `image_embedding_size` (h, w) cells; `input_image_size` (H, W) pixels of the padded
    input, in which all coordinates are given; `mask_in_chans` hidden channels of the mask's convolutions.
    """

    def __init__(self, embed_dim: int, image_embedding_size: Size, input_image_size: Size, mask_in_chans: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.image_embedding_size = tuple(image_embedding_size)
        self.input_image_size = tuple(input_image_size)
        self.mask_in_chans = mask_in_chans
        self.mask_input_size = (4 * image_embedding_size[0], 4 * image_embedding_size[1])
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def get_dense_pe(self) -> Tensor:
        """Positional encoding of every embedding cell: (1, embed_dim, h, w)."""
        return self.pe_layer(self.image_embedding_size).unsqueeze(0)

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed any subset of prompts.

        points: coordinates (B, N, 2) as x, y and labels (B, N) in {-1, 0, 1}; boxes: (B, 4) XYXY, or (B, N, 4)
        where one prompt has several; masks: (B, 1, 4h, 4w) logits. Without a box a padding point
        is added, as in the original.
        Returns sparse (B, N', embed_dim) and dense (B, embed_dim, h, w).
        """
        batch = _batch_size(points, boxes, masks)
        sparse = [self.no_mask_embed.weight.new_empty(batch, 0, self.embed_dim)]
        if points is not None:
            coords, labels = points
            if boxes is None:
                coords, labels = pad_points(coords, labels)
            sparse.append(self.embed_points(coords, labels))
        if boxes is not None:
            sparse.append(self.embed_points(*box_corners(boxes)))
        dense = (
            self.embed_no_mask(batch)
            if masks is None
            else self.mask_downscaling(masks.to(self.no_mask_embed.weight.dtype))
        )
        return torch.cat(sparse, dim=1), dense

    def embed_points(self, coords_xy: Tensor, labels: Tensor) -> Tensor:
        """Embed points whose labels may also be padding (-1) or box corners (2, 3): (B, N, embed_dim)."""
        centres = coords_xy + 0.5  # integer coordinates name pixels; the encoding wants their centres
        embedding = self.pe_layer.encode_coords(centres, self.input_image_size)
        labels = labels.unsqueeze(-1)
        embedding = torch.where(labels == PADDING, self.not_a_point_embed.weight, embedding)
        for label, table in enumerate(self.point_embeddings):
            embedding = embedding + table.weight * (labels == label).to(embedding.dtype)
        return embedding

    def embed_no_mask(self, batch: int) -> Tensor:
        """The dense embedding that stands for "no mask given": (B, embed_dim, h, w), expanded, not copied."""
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(batch, -1, *self.image_embedding_size)


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of positions in [0, 1] (Tancik et al. 2020): sines, then cosines."""

    def __init__(self, num_pos_feats: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_pos_feats))

    def forward(self, grid_hw: Size) -> Tensor:
        """Encode the centre of every cell of a grid: (C, h, w)."""
        h, w = grid_hw
        matrix = self.positional_encoding_gaussian_matrix
        y = (torch.arange(h, device=matrix.device, dtype=matrix.dtype) + 0.5) / h
        x = (torch.arange(w, device=matrix.device, dtype=matrix.dtype) + 0.5) / w
        grid_xy = torch.stack([x[None, :].expand(h, w), y[:, None].expand(h, w)], dim=-1)
        return self._encode(grid_xy).permute(2, 0, 1)

    def encode_coords(self, coords_xy: Tensor, image_hw: Size) -> Tensor:
        """Encode pixel coordinates (..., 2) of a picture of `image_hw`: (..., C)."""
        size_xy = coords_xy.new_tensor([image_hw[1], image_hw[0]])
        return self._encode(coords_xy / size_xy)

    def _encode(self, unit_xy: Tensor) -> Tensor:
        matrix = self.positional_encoding_gaussian_matrix
        wide = at_least_float32(matrix)  # fewer bits lose half a pixel
        phase = 2 * math.pi * ((2 * unit_xy.to(wide.dtype) - 1) @ wide)
        encoding = torch.cat([phase.sin(), phase.cos()], dim=-1)
        return encoding if wide is matrix else encoding.to(matrix.dtype)


def pad_points(coords_xy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Append one padding point: (B, N, 2), (B, N) -> (B, N+1, 2), (B, N+1)."""
    if labels.dtype == torch.bool:
        labels = labels.long()  # -1 as a bool is True, a click
    padding = coords_xy.new_zeros(coords_xy.shape[0], 1, 2)
    return torch.cat([coords_xy, padding], 1), torch.cat([labels, labels.new_full((labels.shape[0], 1), PADDING)], 1)


def box_corners(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Write boxes (B, 4) or (B, N, 4) as labelled points: coordinates (B, 2N, 2), labels (B, 2N)."""
    corners_xy = boxes_xyxy.reshape(boxes_xyxy.shape[0], -1, 2)
    labels = torch.tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], device=boxes_xyxy.device)
    return corners_xy, labels.repeat(corners_xy.shape[1] // 2).expand(corners_xy.shape[0], -1)


def _batch_size(points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None) -> int:
    if points is not None:
        return points[0].shape[0]
    if boxes is not None:
        return boxes.shape[0]
    return 1 if masks is None else masks.shape[0]
