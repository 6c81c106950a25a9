"""Masks that passed the filters, and which of them stay: suppression in crops and across them, then clean-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..config import Size
from ..masks import rle_compress
from .boxes import box_area, suppress_duplicates, xywh
from .grids import Crop
from .regions import clean
from .runs import area, bounding_box, to_mask, to_rle
from .settings import OutputMode, Settings

Record = dict[str, Any]
"""Meta's: segmentation, area, bbox, predicted_iou, point_coords, stability_score, crop_box."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One mask of one point, in pixels of the whole picture.

    `place`: number of its crop, of its point in the crop's grid, and of its mask among the point's. `runs` as in
    `runs.py`; `box` XYXY of outermost pixels.
    """

    place: tuple[int, int, int]
    crop: Crop
    point_xy: np.ndarray
    predicted_iou: np.float32
    stability: np.float32
    box: np.ndarray
    runs: np.ndarray

    def record(self, image_hw: Size, output_mode: OutputMode) -> Record:
        """The mask as Meta's generator describes it."""
        return {
            "segmentation": segmentation(self.runs, image_hw, output_mode),
            "area": area(self.runs),
            "bbox": xywh(self.box),
            "predicted_iou": float(self.predicted_iou),
            "point_coords": [self.point_xy.tolist()],
            "stability_score": float(self.stability),
            "crop_box": xywh(self.crop.box),
        }


def segmentation(runs: np.ndarray, image_hw: Size, output_mode: OutputMode) -> Any:
    """A boolean (H, W) array, or COCO's run lengths as numbers or as text."""
    if output_mode == "binary_mask":
        return to_mask(runs, image_hw)
    rle = to_rle(runs, image_hw)
    return rle_compress(rle) if output_mode == "coco_rle" else rle


class Selection:
    """Which of the candidates found so far belong to the answer; asked again as more are found.

    The answer depends on the candidates only, not on the order in which they were added.
    """

    def __init__(self, settings: Settings, image_hw: Size) -> None:
        self.settings, self.image_hw = settings, image_hw
        self._by_crop: dict[int, list[Candidate]] = {}
        self._cleaned: dict[tuple[int, int, int], Candidate] = {}

    def add(self, candidates: Sequence[Candidate]) -> None:
        """Take in candidates of any crop."""
        for candidate in candidates:
            self._by_crop.setdefault(candidate.place[0], []).append(candidate)

    def current(self) -> list[Candidate]:
        """The answer in Meta's order: by predicted IoU; with crops the smaller crops' first."""
        chosen: list[Candidate] = []
        for crop in sorted(self._by_crop):
            found = sorted(self._by_crop[crop], key=lambda candidate: candidate.place)
            scores = [candidate.predicted_iou for candidate in found]
            chosen += distinct(found, scores, self.settings.box_nms_thresh)
        if self.settings.crop_n_layers:
            scores = [1 / np.float32(box_area(np.array(candidate.crop.box))) for candidate in chosen]
            chosen = distinct(chosen, scores, self.settings.crop_nms_thresh)
        return self._clean(chosen) if self.settings.min_mask_region_area else chosen

    def _clean(self, candidates: list[Candidate]) -> list[Candidate]:
        """Holes filled, islands removed; of masks that became duplicates the untouched is preferred."""
        cleaned = [self._cleaned_one(candidate) for candidate in candidates]
        untouched = [float(after is before) for after, before in zip(cleaned, candidates, strict=True)]
        return distinct(cleaned, untouched, max(self.settings.box_nms_thresh, self.settings.crop_nms_thresh))

    def _cleaned_one(self, candidate: Candidate) -> Candidate:
        if candidate.place not in self._cleaned:
            runs = clean(candidate.runs, self.image_hw, self.settings.min_mask_region_area)
            changed = runs.shape != candidate.runs.shape or (runs != candidate.runs).any()
            box = bounding_box(runs, self.image_hw[0])
            self._cleaned[candidate.place] = replace(candidate, runs=runs, box=box) if changed else candidate
        return self._cleaned[candidate.place]


def distinct(candidates: Sequence[Candidate], scores: Sequence[float], iou_threshold: float) -> list[Candidate]:
    """The candidates, best first, without those whose box repeats a better one's."""
    boxes = np.array([candidate.box for candidate in candidates])
    return [candidates[index] for index in suppress_duplicates(boxes, np.array(scores), iou_threshold)]
