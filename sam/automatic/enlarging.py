"""From low-resolution logits to what the filters ask about, in the picture's resolution, without a picture of logits.

`masks_to_original` interpolates twice, up to the padded frame and on to the picture. Both steps are linear and act on
each axis alone, so together they are one small matrix per axis, and an enlarged row needs two to four rows of logits.
An interpolated value lies between the values it is made of. So only the part of the picture that is made of logits
above the lowest threshold is computed; everywhere else the mask is empty at every threshold.
`test_an_enlarged_mask_is_the_mask_of_the_enlarged_logits` proves it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Size
from ..transforms import ImageFrame
from .runs import runs_of_block

STRIP = 64
"""Rows or columns that are computed together: few enough to need few logits, enough to keep a product efficient."""


@dataclass(frozen=True, eq=False)
class Axis:
    """How one axis is enlarged: `weights` (original, low) float32, and each row's `first` and `last` weight not 0."""

    weights: Tensor
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, low: int, padded: int, resized: int, original: int) -> Axis:
        """Interpolate `low` values to `padded`, keep the first `resized`, interpolate them to `original`."""
        unit = torch.eye(low, dtype=torch.float64)[None]  # (1, channels, low): a channel per value
        enlarged = F.interpolate(unit, padded, mode="linear", align_corners=False)[..., :resized]
        weights = F.interpolate(enlarged, original, mode="linear", align_corners=False)[0].T.float().contiguous()
        used = weights.numpy() != 0
        return cls(weights, used.argmax(1), low - 1 - used[:, ::-1].argmax(1))

    @property
    def low_used(self) -> int:
        """How many of the low-resolution values the picture depends on; the rest is padding."""
        return int(self.last.max()) + 1

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """The rows, from and up to, that depend on any of the low-resolution values `first` to `last`, inclusive."""
        return int(np.searchsorted(self.last, first)), int(np.searchsorted(self.first, last, side="right"))

    def apply(self, values: Tensor, start: int, stop: int) -> Tensor:
        """Rows `start` up to `stop` of the enlarged (low, n) `values`: (stop - start, n)."""
        out = values.new_empty(stop - start, values.shape[1])
        for begin in range(start, stop, STRIP):
            end = min(begin + STRIP, stop)
            lows = slice(int(self.first[begin]), int(self.last[end - 1]) + 1)
            torch.mm(self.weights[begin:end, lows], values[lows], out=out[begin - start : end - start])
        return out


@dataclass(frozen=True, eq=False)
class Enlarged:
    """One mask in the picture's resolution: its stability, the box XYXY of its outermost pixels, and what is in it.

    `block` is the mask in its box, (columns, rows) bool, with its top left pixel at `corner_xy`.
    """

    stability: np.float32
    box: np.ndarray
    block: np.ndarray
    corner_xy: tuple[int, int]

    def runs(self, origin_xy: tuple[int, int], height: int) -> np.ndarray:
        """Runs in a picture of that height, of which this one is the crop at `origin_xy`."""
        corner = (self.corner_xy[0] + origin_xy[0], self.corner_xy[1] + origin_xy[1])
        return runs_of_block(self.block, corner, height)


class Enlarger:
    """Enlarges masks of one frame; `low_hw` is the size of the model's low-resolution logits."""

    def __init__(self, frame: ImageFrame, low_hw: Size, mask_threshold: float, offset: float) -> None:
        sizes = zip(low_hw, frame.padded_hw, frame.resized_hw, frame.original_hw, strict=True)
        self.rows, self.columns = (Axis.of(*axis) for axis in sizes)
        self.threshold, self.offset = mask_threshold, offset

    @property
    def low_hw(self) -> Size:
        """Rows and columns of the logits that the picture depends on."""
        return (self.rows.low_used, self.columns.low_used)

    def enlarge(self, logits: Tensor, least_stability: float) -> Enlarged | None:
        """A mask from its logits (h, w) of `low_hw`, float32 on the processor; None where it is less stable."""
        hint = self._active(logits)
        if hint is None:
            return None if least_stability > 0 else self._empty(np.float32(0))
        (top, bottom), (left, right) = hint
        rows = self.rows.apply(logits, top, bottom)  # (rows, w)
        block = self.columns.apply(rows.T, left, right).numpy()  # (columns, rows): as run lengths are read
        outer = np.count_nonzero(block > self.threshold - self.offset)
        inner = np.count_nonzero(block > self.threshold + self.offset)
        stability = np.float32(inner) / np.float32(outer) if outer else np.float32(0)
        if least_stability > 0 and not stability >= least_stability:
            return None
        return self._measured(stability, block > self.threshold, (left, top))

    def _active(self, logits: Tensor) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Rows and columns of the picture, from and up to, outside which the mask is empty at every threshold."""
        active = logits.numpy() > self.threshold - self.offset
        rows, columns = np.flatnonzero(active.any(1)), np.flatnonzero(active.any(0))
        if not len(rows):
            return None
        return self.rows.reach(rows[0], rows[-1]), self.columns.reach(columns[0], columns[-1])

    def _measured(self, stability: np.float32, block_wh: np.ndarray, corner_xy: tuple[int, int]) -> Enlarged:
        columns, rows = np.flatnonzero(block_wh.any(1)), np.flatnonzero(block_wh.any(0))
        if not len(rows):
            return self._empty(stability)
        (left, right), (top, bottom) = columns[[0, -1]], rows[[0, -1]]
        box = np.array([left, top, right, bottom]) + np.tile(corner_xy, 2)
        tight = block_wh[left : right + 1, top : bottom + 1]
        return Enlarged(stability, box, tight, (int(box[0]), int(box[1])))

    def _empty(self, stability: np.float32) -> Enlarged:
        return Enlarged(stability, np.zeros(4, dtype=np.int64), np.zeros((0, 0), bool), (0, 0))
