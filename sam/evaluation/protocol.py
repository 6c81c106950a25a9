"""What is asked of a model: which masks, where the clicks go, and the box; the same for every model and baseline.

Clicks follow the SAM paper (Kirillov et al. 2023, appendix D.1) and RITM (Sofiiuk et al. 2022): every click goes to
the point that is furthest from the rim of what it is about. Coordinates are pixels of the original picture, x before y.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ..datasets import Record

SMALLEST_SHARE = 0.0025
"""Masks smaller than this share of their picture are not asked for."""


@dataclass(frozen=True, eq=False)
class Target:
    """One mask to find: `mask` and `known` are H,W bool, `layer` and `segment` say where in the record it lies."""

    layer: int
    segment: int
    mask: np.ndarray
    known: np.ndarray


def draw_targets(record: Record, masks: int, rng: np.random.Generator) -> Iterator[Target]:
    """Up to `masks` segments of at least `SMALLEST_SHARE` of the picture, in random order."""
    layers = record.layers()
    choices = [(index, segment) for index, layer in enumerate(layers) for segment in _large_segments(layer)]
    for choice in rng.permutation(len(choices))[:masks]:
        yield target_at(record, layers, *choices[choice])


def target_at(record: Record, layers: tuple[np.ndarray, ...], layer: int, segment: int) -> Target:
    """The mask of `segment` in one of the record's H,W `layers`."""
    ids = layers[layer]
    known = ids > 0 if record.zero_is_unknown else np.ones(ids.shape, dtype=bool)
    return Target(layer, segment, ids == segment, known)


def first_click(mask: np.ndarray) -> np.ndarray:
    """Where somebody clicks who wants this H,W mask: its deepest point, x, y."""
    return deepest_point(mask)


def corrective_click(answer: np.ndarray, target: Target) -> tuple[np.ndarray, int] | None:
    """The click that helps most after an H,W bool `answer`: x, y and its label; None where nothing is wrong.

    It lies at the deepest point over both error regions; the label is 1 where the answer missed the mask and 0 where
    it has too much. Unknown pixels are no errors.
    """
    missed, extra = target.mask & ~answer & target.known, answer & ~target.mask & target.known
    if not missed.any() and not extra.any():
        return None
    x, y = deepest_point(missed, extra)
    return np.array([x, y]), int(missed[int(y), int(x)])


def deepest_point(*regions: np.ndarray) -> np.ndarray:
    """x, y of the pixel furthest from the rim of any of the H,W bool regions, the picture's border counted as outside.

    The first such pixel in reading order, as float64. The distances are exact (Felzenszwalb and Huttenlocher 2012).
    """
    depth = np.max([_depth(region) for region in regions], axis=0)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return np.array([column, row], dtype=np.float64)


def bounding_box(mask: np.ndarray) -> np.ndarray:
    """[xmin, ymin, xmax + 1, ymax + 1] of an H,W mask that is not empty, float64."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def _depth(region: np.ndarray) -> np.ndarray:
    padded = np.pad(region, 1).astype(np.uint8)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]


def _large_segments(ids: np.ndarray) -> list[int]:
    pixels = np.bincount(ids.ravel())
    pixels[0] = 0  # no segment
    return np.flatnonzero(pixels >= max(1, SMALLEST_SHARE * ids.size)).tolist()
