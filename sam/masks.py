"""Arithmetic on masks: pure functions on arrays. Run lengths are COCO's, uncompressed and column by column."""

from __future__ import annotations

from typing import TypedDict

import numpy as np


class RLE(TypedDict):
    """COCO's uncompressed run lengths: `size` [height, width], `counts` of zeros and ones in turn, zeros first."""

    size: list[int]
    counts: list[int]


def rle_encode(mask: np.ndarray) -> RLE:
    """Run lengths of a boolean H,W mask, read column by column."""
    height, width = mask.shape
    pixels = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    first_is_mask = bool(pixels.size and pixels[0])
    bounds = [*([0] if first_is_mask else []), 0, *changes.tolist(), pixels.size]
    return {"size": [height, width], "counts": np.diff(bounds).tolist()}


def rle_decode(rle: RLE) -> np.ndarray:
    """The boolean H,W mask that `rle_encode` was given; `ValueError` if the runs do not fill it."""
    height, width = rle["size"]
    counts = np.asarray(rle["counts"], dtype=np.int64)
    if counts.sum() != height * width or (counts < 0).any():
        raise ValueError(f"the counts cover {counts.sum()} pixels, the size {height} x {width} needs {height * width}")
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return pixels.reshape(height, width, order="F")


def mask_to_box(mask: np.ndarray) -> np.ndarray:
    """Smallest box around a boolean H,W mask: XYXY of its outermost pixels, inclusive; zeros for an empty mask."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not columns.size:
        return np.zeros(4, dtype=np.int64)
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.int64)


def stability_score(logits: np.ndarray, mask_threshold: float = 0.0, offset: float = 1.0) -> np.ndarray:
    """IoU of the masks at thresholds `offset` above and below: logits (..., H, W) -> (...), 0 where both are empty."""
    inner = (logits > mask_threshold + offset).sum((-2, -1))
    outer = (logits > mask_threshold - offset).sum((-2, -1))
    return inner / np.maximum(outer, 1)
