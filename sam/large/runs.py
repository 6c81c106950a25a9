"""Masks as runs that move between views and the picture; see `sam.automatic.runs` for what runs are.

A frame is a picture of a given height: runs count its pixels column by column. Everything here costs runs, and for
enlarging the columns that the mask covers, never pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..automatic.runs import join_touching, split_by_column
from ..config import Size
from ..masks import Window


def inside(runs: np.ndarray, height: int, window: Window) -> np.ndarray:
    """The part of a mask in a window, as runs of a frame of the window's size."""
    x, y, wide, tall = window
    reach = (runs[:, 1] > x * height) & (runs[:, 0] < (x + wide) * height)
    pieces = split_by_column(runs[reach], height)
    columns = pieces[:, 0] // height
    rows = np.clip(pieces - columns[:, None] * height, y, y + tall) - y
    kept = (columns >= x) & (columns < x + wide) & (rows[:, 0] < rows[:, 1])
    return join_touching((columns[kept] - x)[:, None] * tall + rows[kept])


def placed(runs: np.ndarray, height: int, corner_xy: tuple[int, int], frame_height: int) -> np.ndarray:
    """A mask of a frame of `height` as part of a frame of `frame_height`, its corner at `corner_xy`."""
    pieces = split_by_column(runs, height)
    columns = pieces[:, :1] // height
    moved = (columns + corner_xy[0]) * frame_height + pieces - columns * height + corner_xy[1]
    return join_touching(moved)


def enlarged(runs: np.ndarray, height: int, scale: int, hw: Size) -> np.ndarray:
    """A mask of a frame that shows each `scale` x `scale` pixels of a picture of `hw` as one, in that picture."""
    if scale == 1:
        return runs
    pieces = split_by_column(runs, height)
    columns = pieces[:, 0] // height
    rows = np.minimum((pieces - columns[:, None] * height) * scale, hw[0])
    wide = np.repeat(columns * scale, scale).reshape(-1, scale) + np.arange(scale)
    everywhere = wide[..., None] * hw[0] + rows[:, None]  # (pieces, scale, 2)
    found = everywhere[wide < hw[1]]
    return join_touching(found[np.argsort(found[:, 0], kind="stable")])


def union(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Pixels in any of the masks of one frame."""
    runs = np.concatenate(masks)
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    if not len(runs):
        return runs
    reach = np.maximum.accumulate(runs[:, 1])
    first = np.append(True, runs[1:, 0] > reach[:-1])
    return np.stack([runs[first, 0], reach[np.append(first[1:], True)]], axis=1)
