"""Masks that may overlap, placed into layers: what COCO and SA-1B have in common.

The annotations are COCO's: polygons, or a run-length encoding with plain or compressed counts (Lin et al. 2014 and
`pycocotools.mask`). pycocotools comes with the `train` extra and is imported when a mask is decoded.
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
from .record import Record

Rle = dict[str, Any]
"""`size` (height, width) and `counts`, compressed."""


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
        layers, order = place_masks([self._rle(instance.segmentation, hw) for instance in instances], hw)
        return layers, {place: instances[index].category for place, index in order.items()}

    def _rle(self, segmentation: Any, hw: Size) -> Rle:
        try:
            rle = to_rle(segmentation, hw)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{self.json_path}: a segmentation of {self.image_path.name} is invalid: {error}"
            ) from error
        self.require_size(rle["size"], self.json_path)
        return rle


def to_rle(segmentation: Any, hw: Size) -> Rle:
    """COCO's polygons ([[x, y, x, y, ...], ...]) or run lengths of a picture of `hw` as compressed run lengths.

    Polygons of fewer than three points cover nothing and are left out. `ValueError` says what is malformed.
    """
    coco_mask = require_pycocotools()
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if len(_require_polygon(polygon)) >= 6]
        return coco_mask.merge(coco_mask.frPyObjects(polygons or [[0.0] * 6], *hw))
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError("neither a list of polygons nor run lengths with 'size' and 'counts'")
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    if isinstance(counts, list):
        if sum(counts) != height * width or min(counts, default=0) < 0:
            raise ValueError(f"run lengths over {sum(counts)} pixels, size {height} x {width} has {height * width}")
        return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": counts.encode() if isinstance(counts, str) else counts}


def place_masks(rles: Sequence[Rle], hw: Size) -> tuple[tuple[np.ndarray, ...], dict[tuple[int, int], int]]:
    """Place masks of a picture of `hw` into layers, big ones first, each into the first layer where it is free.

    Returns H,W int32 layers, in which every mask is complete, and (layer index, segment id) -> index in `rles`.
    Empty masks are left out.
    """
    coco_mask = require_pycocotools()
    areas = coco_mask.area(list(rles)) if rles else np.zeros(0)
    layers, places = [np.zeros(hw, np.int32)], {}
    for index in np.argsort(-areas.astype(np.int64), kind="stable"):
        mask = coco_mask.decode(rles[index]).astype(bool)
        if mask.any():
            layer = _free_layer(layers, mask)
            segment = int(layers[layer].max()) + 1
            layers[layer][mask] = segment
            places[layer, segment] = int(index)
    return tuple(layers), places


def _free_layer(layers: list[np.ndarray], mask: np.ndarray) -> int:
    """Index of the first layer with nothing under `mask`, a new one where there is none."""
    for index, layer in enumerate(layers):
        if not layer[mask].any():
            return index
    layers.append(np.zeros_like(layers[0]))
    return len(layers) - 1


def _require_polygon(polygon: Any) -> list[float]:
    if not isinstance(polygon, list) or len(polygon) % 2 or not np.isfinite(np.asarray(polygon, float)).all():
        raise ValueError("a polygon must be a list of numbers x, y, x, y, ...")
    return polygon


def require_pycocotools() -> ModuleType:
    """`pycocotools.mask`; `ImportError` says how to install it."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError("COCO and SA-1B need pycocotools: pip install 'sam-in-the-browser[train]'") from error
    return mask
