"""Between an object's run lengths and what formats hold: outlines, shapes painted onto the picture, layers of ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..masks import RLE, crop_to_rle, rle_crop
from ..polygons import Frame, Outline, draw, fill_even_odd, outline
from .session import MaskObject, Picture

Painter = Callable[[np.ndarray, int, int], np.ndarray]
"""A ring, a width and a height -> the pixels that it covers."""


def object_outline(item: MaskObject, tolerance: float | None = None, frame: Frame = "edges") -> Outline:
    """`sam.polygons.outline` of an object, in the picture's pixels."""
    crop, (x, y, _, _) = rle_crop(item.mask)
    found = outline(crop, tolerance, frame)
    return Outline([[ring + np.array([x, y]) for ring in polygon] for polygon in found.polygons], found.error)


def painted(rings: Sequence[np.ndarray], picture: Picture, painter: Painter = fill_even_odd) -> RLE:
    """The union of rings on the picture. What reaches over its border is cut off; `ValueError` if nothing is left."""
    points = np.concatenate(rings)
    x0, y0 = np.clip(np.floor(points.min(0)), 0, (picture.width, picture.height)).astype(int).tolist()
    x1, y1 = np.clip(np.floor(points.max(0)) + 1, 0, (picture.width, picture.height)).astype(int).tolist()
    crop = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), dtype=bool)
    for ring in rings if crop.size else ():
        crop |= painter(ring - (x0, y0), x1 - x0, y1 - y0)
    if not crop.any():
        reach = f"from {points.min(0).tolist()} to {points.max(0).tolist()}"
        raise ValueError(f"a polygon {reach} covers no pixel of the picture of {picture.width} x {picture.height}")
    return crop_to_rle(crop, x0, y0, picture.size)


def drawn(rings: Sequence[np.ndarray], picture: Picture) -> RLE:
    """As `painted`, the way OpenCV and Pillow draw: fractions dropped, the outline's pixels in."""
    return painted(rings, picture, draw)


def ring_of(values: Any, picture: Picture) -> np.ndarray:
    """Points [[x, y], ...] or numbers [x, y, x, y, ...] of a file as a ring.

    `ValueError` for anything else, and for points further outside than the picture is large.
    """
    ring = np.asarray(values, dtype=np.float64)
    ring = ring.reshape(-1, 2) if ring.ndim == 1 and ring.size % 2 == 0 else ring
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3:
        raise ValueError("a polygon is a list of at least three points x, y")
    low, high = -max(picture.size), 2 * max(picture.size)
    if not ((ring >= low) & (ring <= high)).all():
        size = f"{picture.width} x {picture.height}"
        raise ValueError(f"a polygon has a point far outside of the picture of {size}: {_furthest(ring)}")
    return ring


def _furthest(ring: np.ndarray) -> list[float]:
    distances = np.where(np.isnan(ring), np.inf, np.abs(ring)).max(axis=1)
    return ring[distances.argmax()].tolist()


@dataclass(frozen=True)
class Layers:
    """Objects that may overlap, as pictures of ids: object k is where `ids[layer[k]] == id[k]`; 0 is nothing."""

    ids: list[np.ndarray]
    layer: list[int]
    id: list[int]


def into_layers(objects: Sequence[MaskObject], picture: Picture, most: int) -> Layers:
    """Every object into the first layer where it covers no other, `most` in each: (height, width) uint16, complete."""
    layers, used = [np.zeros(picture.size, np.uint16)], [0]
    places, ids = [], []
    for item in objects:
        crop, (x, y, width, height) = rle_crop(item.mask)
        window = slice(y, y + height), slice(x, x + width)
        free = (index for index, ids_in in enumerate(layers) if used[index] < most and not ids_in[window][crop].any())
        if (index := next(free, len(layers))) == len(layers):
            layers.append(np.zeros(picture.size, np.uint16))
            used.append(0)
        used[index] += 1
        layers[index][window][crop] = used[index]
        places.append(index)
        ids.append(used[index])
    return Layers(layers, places, ids)


def flatten(objects: Sequence[MaskObject], picture: Picture, values: Sequence[int]) -> np.ndarray:
    """One picture of ids, (height, width) uint16: where objects overlap the later one, which lies above, wins."""
    ids = np.zeros(picture.size, np.uint16)
    for item, value in zip(objects, values, strict=True):
        crop, (x, y, width, height) = rle_crop(item.mask)
        ids[y : y + height, x : x + width][crop] = value
    return ids
