"""Where to ask: crops of the picture in layers, and a grid of points for each layer.

Source: SAM paper appendix B and `segment_anything.utils.amg`, whose numbers these are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..config import Size
from .settings import Settings


@dataclass(frozen=True)
class Crop:
    """A part of the picture: `box` x0, y0, x1, y1 in its pixels, ends excluded; layer 0 is the whole picture."""

    box: tuple[int, int, int, int]
    layer: int

    @property
    def hw(self) -> Size:
        """Height and width."""
        x0, y0, x1, y1 = self.box
        return (y1 - y0, x1 - x0)

    def cut(self, image_hwc: np.ndarray) -> np.ndarray:
        """The picture's pixels in the crop, a view."""
        x0, y0, x1, y1 = self.box
        return image_hwc[y0:y1, x0:x1]


def crops(image_hw: Size, settings: Settings) -> list[Crop]:
    """The picture, then layer by layer 4, 16 ... crops of it, column by column."""
    found = [Crop((0, 0, image_hw[1], image_hw[0]), 0)]
    for layer in range(1, settings.crop_n_layers + 1):
        found += _layer_crops(image_hw, layer, settings.crop_overlap_ratio)
    return found


def _layer_crops(image_hw: Size, layer: int, overlap_ratio: float) -> Iterator[Crop]:
    height, width = image_hw
    per_side = 2**layer
    overlap = int(overlap_ratio * min(image_hw) * (2 / per_side))
    crop_h, crop_w = (-(-(overlap * (per_side - 1) + side) // per_side) for side in image_hw)  # rounded up
    for x0 in (column * (crop_w - overlap) for column in range(per_side)):
        for y0 in (row * (crop_h - overlap) for row in range(per_side)):
            box = (x0, y0, min(x0 + crop_w, width), min(y0 + crop_h, height))
            if box[0] < box[2] and box[1] < box[3]:  # a picture of a few pixels has fewer crops
                yield Crop(box, layer)


def point_grids(settings: Settings) -> list[np.ndarray]:
    """A grid for each layer, (N, 2) x, y as shares of the crop's width and height, float64."""
    if settings.point_grids is not None:
        return [np.asarray(grid, dtype=np.float64) for grid in settings.point_grids]
    factor = settings.crop_n_points_downscale_factor
    sides = [int(settings.points_per_side / factor**layer) for layer in range(settings.crop_n_layers + 1)]
    if not all(sides):
        raise ValueError(
            f"points_per_side {settings.points_per_side} divided by crop_n_points_downscale_factor {factor} "
            f"in each of {settings.crop_n_layers} crop layers leaves a grid of no points; lower the factor"
        )
    return [point_grid(side) for side in sides]


def point_grid(per_side: int) -> np.ndarray:
    """`per_side` x `per_side` centres of equal cells, row by row: (N, 2) x, y in (0, 1)."""
    half = 1 / (2 * per_side)
    shares = np.linspace(half, 1 - half, per_side)
    return np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2)


def scattered(count: int) -> np.ndarray:
    """An order of `count` points in which every beginning covers the whole grid: indexes, a permutation."""
    golden = (np.sqrt(5) - 1) / 2
    return np.argsort(np.arange(count) * golden % 1, kind="stable")
