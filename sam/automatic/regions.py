"""Small holes filled and small islands removed, on runs: connected components without a picture.

Regions are 8-connected, as in `segment_anything.utils.amg.remove_small_regions`, which asks OpenCV for them.
"""

from __future__ import annotations

import numpy as np

from ..config import Size
from .runs import area, gaps, join_touching, split_by_column


def clean(runs: np.ndarray, hw: Size, min_area: int) -> np.ndarray:
    """Fill holes smaller than `min_area` pixels, then remove islands smaller than it, all but the largest.

    runs (N, 2) of a mask in a picture of `hw`. What touches nothing comes back equal.
    """
    return remove_islands(fill_holes(runs, hw, min_area), hw[0], min_area)


def fill_holes(runs: np.ndarray, hw: Size, min_area: int) -> np.ndarray:
    """The mask and every region of its background that is smaller than `min_area`."""
    background = split_by_column(gaps(runs, hw[0] * hw[1]), hw[0])
    region = label(background, hw[0])
    holes = background[region_sizes(background, region)[region] < min_area]
    if not len(holes):
        return runs
    filled = np.concatenate([runs, holes])
    return join_touching(filled[np.argsort(filled[:, 0])])


def remove_islands(runs: np.ndarray, height: int, min_area: int) -> np.ndarray:
    """The regions of at least `min_area` pixels, or where there is none the largest, the first of equals."""
    if area(runs) == 0:
        return runs
    pieces = split_by_column(runs, height)
    region = label(pieces, height)
    sizes = region_sizes(pieces, region)
    keep = sizes >= min_area
    if not keep.any():
        keep[_first_in_reading_order(pieces, region, height, sizes)] = True
    return runs if keep.all() else join_touching(pieces[keep[region]])


def label(runs: np.ndarray, height: int) -> np.ndarray:
    """Number each run's 8-connected region, from 0 in order of appearance: (N,). Runs end with their column."""
    one, other = _neighbours(runs, height)
    labels = np.arange(len(runs))
    while True:
        lowest = np.minimum(labels[one], labels[other])
        merged = labels.copy()
        np.minimum.at(merged, labels[one], lowest)
        np.minimum.at(merged, labels[other], lowest)
        while (merged[merged] != merged).any():
            merged = merged[merged]
        merged = merged[labels]
        if (merged == labels).all():
            return np.unique(labels, return_inverse=True)[1]
        labels = merged


def region_sizes(runs: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Pixels of every region."""
    return np.bincount(region, runs[:, 1] - runs[:, 0]).astype(np.int64)


def _neighbours(runs: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs in adjacent columns that share a row or lie diagonally: two arrays of indexes.

    Moved one column on, a run [start, end) touches those that end after start - 1 and start before end + 1, but not
    across the end of a column.
    """
    start, end, column = runs[:, 0] + height, runs[:, 1] + height, runs[:, 0] // height + 1
    lowest = np.maximum(start - 1, column * height)
    highest = np.minimum(end + 1, (column + 1) * height)
    first = np.searchsorted(runs[:, 1], lowest, side="right")
    after = np.searchsorted(runs[:, 0], highest, side="left")
    touched = np.maximum(after - first, 0)
    one = np.repeat(np.arange(len(runs)), touched)
    step = np.arange(len(one)) - np.repeat(np.cumsum(touched) - touched, touched)
    return one, first[one] + step


def _first_in_reading_order(runs: np.ndarray, region: np.ndarray, height: int, sizes: np.ndarray) -> int:
    """Of the largest regions the one whose topmost, then leftmost pixel comes first."""
    row, column = runs[:, 0] % height, runs[:, 0] // height
    largest = np.flatnonzero(sizes[region] == sizes.max())
    return int(region[largest[np.lexsort((column[largest], row[largest]))[0]]])
