"""Masks that may overlap, placed into layers: what COCO and SA-1B have in common.

The annotations are COCO's: polygons, or run lengths, plain or compressed (Lin et al. 2014 and `pycocotools.mask`).
Polygons are drawn by pycocotools, which comes with the `train` extra and is imported at the first polygon. Run
lengths are read here, because pycocotools answers damaged ones with masks of uninitialised memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..config import Size
from ..masks import decompress_counts
from .record import Record


@dataclass(frozen=True)
class RunLengths:
    """A mask of `hw` as the lengths of its runs, down the columns, the first of them background (int64, 1-d).

    `ValueError` with both numbers when the runs do not fill the mask.
    """

    hw: Size
    counts: np.ndarray

    def __post_init__(self) -> None:
        height, width = self.hw
        if self.counts.sum() != height * width or (self.counts < 0).any():
            raise ValueError(f"run lengths of {self.counts.sum()} pixels, but {height} x {width} are {height * width}")

    @property
    def area(self) -> int:
        """Pixels of mask."""
        return int(self.counts[1::2].sum())

    def mask(self) -> np.ndarray:
        """H,W bool."""
        runs = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        return runs.reshape(self.hw[::-1]).T  # column by column


@dataclass(frozen=True)
class Instance:
    """One annotated mask: its `segmentation` as in the file, and its category's name, empty where unknown."""

    segmentation: Any
    category: str = ""


@dataclass(frozen=True)
class Annotations:
    """The masks of one picture, and its (height, width) where the file states it."""

    instances: tuple[Instance, ...]
    stated_hw: Size | None = None


@dataclass(frozen=True)
class InstanceRecord(Record):
    """A picture and its annotated masks; `json_path` is where they stand."""

    json_path: Path

    def annotations(self) -> Annotations:
        """What the file says of this picture; `ValueError` names it where it is malformed."""
        raise NotImplementedError

    def layers(self) -> tuple[np.ndarray, ...]:
        return self._placed()[0]

    @cached_property
    def categories(self) -> Mapping[tuple[int, int], str]:
        """Which segment is what is known once the masks are placed: the first use decodes them."""
        return {place: name for place, name in self._placed()[1].items() if name}

    def _placed(self) -> tuple[tuple[np.ndarray, ...], dict[tuple[int, int], str]]:
        """Layers, and every placed segment's category."""
        annotations, hw = self.annotations(), self.image_hw()
        if annotations.stated_hw is not None:
            self.require_size(annotations.stated_hw, self.json_path)
        instances = annotations.instances
        layers, places = place_masks([self._runs(instance.segmentation, hw) for instance in instances], hw)
        return layers, {place: instances[index].category for place, index in places.items()}

    def _runs(self, segmentation: Any, hw: Size) -> RunLengths:
        try:
            runs = to_runs(segmentation, hw)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.json_path}: a mask of {self.image_path.name} is invalid: {error}") from error
        self.require_size(runs.hw, self.json_path)
        return runs


def to_runs(segmentation: Any, hw: Size) -> RunLengths:
    """The run lengths of COCO's polygons [[x, y, x, y, ...], ...], on a picture of `hw`, or of its `size` and `counts`.

    Polygons of fewer than three points cover nothing and are left out. `ValueError` says what is malformed.
    """
    if isinstance(segmentation, list):
        return _draw_polygons(segmentation, hw)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError("neither a list of polygons nor run lengths with 'size' and 'counts'")
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    counts = np.asarray(counts, np.int64) if isinstance(counts, list) else decompress_counts(counts)
    return RunLengths((int(height), int(width)), counts)


def _draw_polygons(polygons: list[Any], hw: Size) -> RunLengths:
    coco_mask = require_pycocotools()
    drawn = [polygon for polygon in polygons if len(_require_polygon(polygon, hw)) >= 6]
    if not drawn:
        return RunLengths(hw, np.array([hw[0] * hw[1]]))
    return RunLengths(hw, decompress_counts(coco_mask.merge(coco_mask.frPyObjects(drawn, *hw))["counts"]))


def _require_polygon(polygon: Any, hw: Size) -> list[float]:
    """The polygon; `ValueError` unless it is pairs of numbers on or near the picture (memory grows with its sides)."""
    if not isinstance(polygon, list) or len(polygon) % 2:
        raise ValueError("a polygon must be a list of numbers x, y, x, y, ...")
    furthest = np.abs(np.asarray(polygon, float)).max(initial=0)
    if not furthest <= 10 * max(hw):
        raise ValueError(f"a polygon reaches {furthest}, the picture's longer side is {max(hw)}")
    return polygon


def place_masks(masks: Sequence[RunLengths], hw: Size) -> tuple[tuple[np.ndarray, ...], dict[tuple[int, int], int]]:
    """Place masks of a picture of `hw` into layers, big ones first, each into the first layer where it is free.

    Returns H,W int32 layers, in which every mask is complete, and (layer index, segment id) -> index in `masks`.
    Empty masks are left out; there is one layer at least.
    """
    layers, places = [np.zeros(hw, np.int32)], {}
    order = sorted(range(len(masks)), key=lambda index: -masks[index].area)
    for index in order:
        mask = masks[index].mask()
        if masks[index].area:
            window = _window(mask)
            layer = _free_layer(layers, mask, window)
            segment = 1 + sum(place[0] == layer for place in places)
            layers[layer][window][mask[window]] = segment
            places[layer, segment] = index
    return tuple(layers), places


def _free_layer(layers: list[np.ndarray], mask: np.ndarray, window: tuple[slice, slice]) -> int:
    """Index of the first layer with nothing under `mask`, a new one where there is none."""
    for index, layer in enumerate(layers):
        if not layer[window][mask[window]].any():
            return index
    layers.append(np.zeros_like(layers[0]))
    return len(layers) - 1


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that a mask touches, so that small masks cost little."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def require_pycocotools() -> ModuleType:
    """`pycocotools.mask`; `ImportError` says how to install it."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError("COCO's polygons need pycocotools: pip install 'sam-in-the-browser[train]'") from error
    return mask
