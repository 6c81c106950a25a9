"""Masks as runs: pure functions between runs, COCO's run lengths, and masks.

Runs are (N, 2) int64: start and end of each run of mask pixels, column by column in a picture of a known size, in
order and never touching. Everything here costs runs, not pixels.
"""

from __future__ import annotations

import numpy as np

from ..config import Size
from ..masks import RLE, rle_decode, rle_runs, runs_window


def runs_of_block(block_wh: np.ndarray, corner_xy: tuple[int, int], height: int) -> np.ndarray:
    """Runs of a mask that is given where it may be: `block_wh` bool, columns first, its corner in the picture.

    height: of the whole picture, the length of a column.
    """
    columns, rows = block_wh.shape
    padded = np.zeros(1 + columns * (rows + 1), dtype=bool)  # background before the first column and after each
    padded[1:].reshape(columns, rows + 1)[:, :rows] = block_wh
    column, row = np.divmod(np.flatnonzero(padded[1:] != padded[:-1]), rows + 1)
    places = (column + corner_xy[0]) * height + row + corner_xy[1]
    return join_touching(places.reshape(-1, 2))  # starts and ends take turns


def join_touching(runs: np.ndarray) -> np.ndarray:
    """Runs in order, where one may begin at the end of another, as one: what a column hands on to the next."""
    if not len(runs):
        return runs
    apart = runs[1:, 0] != runs[:-1, 1]
    return np.stack([runs[np.append(True, apart), 0], runs[np.append(apart, True), 1]], axis=1)


def split_by_column(runs: np.ndarray, height: int) -> np.ndarray:
    """The same pixels in runs that end with their column."""
    starts, ends = runs.T
    first, last = starts // height, (ends - 1) // height
    pieces = last - first + 1
    owner = np.repeat(np.arange(len(runs)), pieces)
    column = first[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.stack(
        [np.maximum(starts[owner], column * height), np.minimum(ends[owner], (column + 1) * height)], axis=1
    )


def gaps(runs: np.ndarray, pixels: int) -> np.ndarray:
    """Runs of the background in a picture of so many pixels."""
    bounds = np.concatenate([[0], runs.ravel(), [pixels]]).reshape(-1, 2)
    return bounds[bounds[:, 0] < bounds[:, 1]]


def area(runs: np.ndarray) -> int:
    """Pixels of the mask."""
    return int((runs[:, 1] - runs[:, 0]).sum())


def bounding_box(runs: np.ndarray, height: int) -> np.ndarray:
    """XYXY of the outermost pixels, int64; zeros for no runs."""
    x, y, width, tall = runs_window(runs, height)
    return np.array([x, y, x + max(width - 1, 0), y + max(tall - 1, 0)], dtype=np.int64)


def to_rle(runs: np.ndarray, hw: Size) -> RLE:
    """COCO's uncompressed run lengths."""
    bounds = np.concatenate([[0], runs.ravel(), [hw[0] * hw[1]]])
    counts = np.diff(bounds).tolist()
    if len(runs) and counts[-1] == 0:
        counts.pop()
    return {"size": [int(hw[0]), int(hw[1])], "counts": counts}


def from_rle(rle: RLE) -> np.ndarray:
    """Runs of COCO's uncompressed run lengths."""
    return join_touching(rle_runs(rle))


def to_mask(runs: np.ndarray, hw: Size) -> np.ndarray:
    """Boolean (H, W) mask, in row-major order."""
    return np.ascontiguousarray(rle_decode(to_rle(runs, hw)))
