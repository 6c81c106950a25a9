"""Merging: what tiles find becomes the answer, tile by tile, each compared with its neighbourhood only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..automatic.boxes import ends_excluded, xywh
from ..automatic.candidates import Candidate, Record, segmentation
from ..automatic.regions import clean
from ..automatic.runs import area
from ..automatic.settings import OutputMode, Settings
from ..config import Size
from .runs import enlarged, inside, placed
from .seams import Found, cut_sides, join
from .suppression import Suppression
from .tiles import Level


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing of the answer: where it was found, and its box in the picture, XYXY of outermost pixels."""

    found: Found
    level: Level
    box: np.ndarray

    @classmethod
    def of(cls, found: Found, level: Level) -> Thing:
        """With the level's pixels turned into the picture's."""
        last = np.array(level.picture_hw[::-1] * 2) - 1
        ends = ends_excluded(found.box) * level.scale - np.array([0, 0, 1, 1])
        return cls(found, level, np.minimum(ends, last))

    @property
    def key(self) -> tuple[int, Any]:
        """What tells it from every other."""
        return (self.level.scale, self.found.places)

    @cached_property
    def quality(self) -> float:
        """The model's prediction of its own quality."""
        return self.found.mean("predicted_iou")

    @property
    def rank(self) -> tuple[int, float, Any]:
        """Which of two duplicates is better, the smaller: the more finely seen, then that of better quality."""
        return (self.level.scale, -self.quality, self.found.places)

    @property
    def standing(self) -> tuple[float, Any]:
        """Where it stands in the answer, by predicted quality, then by what is more finely seen."""
        return (-self.quality, self.rank)

    def record(self, output_mode: OutputMode) -> Record:
        """The thing as Meta's generator describes it, in pixels of the picture."""
        runs = enlarged(self.found.runs, self.level.hw[0], self.level.scale, self.level.picture_hw)
        tiles = np.array([self.level.view(candidate.place[0]).box for candidate in self.found.candidates])
        points = [self.level.scale * candidate.point_xy for candidate in self.found.candidates]
        return {
            "segmentation": segmentation(runs, self.level.picture_hw, output_mode),
            "area": area(runs),
            "bbox": xywh(self.box),
            "predicted_iou": self.quality,
            "point_coords": [point.tolist() for point in points],
            "stability_score": self.found.mean("stability"),
            "crop_box": xywh(np.concatenate([tiles[:, :2].min(0), tiles[:, 2:].max(0)])),
        }


@dataclass(frozen=True, eq=False)
class Change:
    """Things that belong to the answer from now on, and those that no longer do."""

    added: list[Thing]
    dropped: list[Thing]


class Merging:
    """One level's tiles on top of what coarser levels left, `finished`; `things` is the answer so far.

    settings: `crop_nms_thresh` for duplicates, of which the more finely seen stays, or of two as finely seen the
    better; `min_mask_region_area` in pixels of the picture. smallest: the least longer side of a thing, in pixels of
    the level.
    """

    def __init__(self, level: Level, finished: Sequence[Thing], settings: Settings, smallest: float = 0) -> None:
        self.level, self._smallest = level, smallest
        self._least_area = -(-settings.min_mask_region_area // level.scale**2)
        self._tiles: list[Sequence[Candidate]] = []
        self._things: list[Thing] = []
        self._suppression = Suppression(settings.crop_nms_thresh)
        self._take(finished)

    @property
    def things(self) -> list[Thing]:
        """The answer as it stands, in no order that matters."""
        return [thing for thing, stays in zip(self._things, self._suppression.stays, strict=True) if stays]

    def add(self, candidates: Sequence[Candidate]) -> Change:
        """Take in the next tile's distinct masks, in the level's pixels.

        What the tile shows whole counts at once; what tiles cut is joined with the level's last tile.
        """
        self._tiles.append(candidates)
        found = [Found.whole(item) for item in candidates if not cut_sides(item, self.level).any()]
        if len(self._tiles) == len(self.level.boxes):
            level_found = join([item for tile in self._tiles for item in tile], self.level)
            found += [one for one in level_found if len(one.candidates) > 1]
        return self._take([thing for thing in map(self._thing, found) if thing is not None])

    def _thing(self, found: Found) -> Thing | None:
        """In pixels of the picture and cleaned; None for what is too small for the level."""
        found = _cleaned(found, self.level.hw, self._least_area)
        return Thing.of(found, self.level) if np.ptp(found.box.reshape(2, 2), axis=0).max() >= self._smallest else None

    def _take(self, things: Sequence[Thing]) -> Change:
        self._things += things
        come, gone = self._suppression.add(np.array([thing.box for thing in things]), [thing.rank for thing in things])
        return Change([self._things[number] for number in come], [self._things[number] for number in gone])


def _cleaned(found: Found, level_hw: Size, least: int) -> Found:
    """Holes filled and islands removed, in a window around the mask so wide that what surrounds it is no hole."""
    if least <= 1 or not len(found.runs):
        return found
    margin = 1 + math.isqrt(least)
    x0, y0 = np.maximum(found.box[:2] - margin, 0).tolist()
    x1, y1 = np.minimum(found.box[2:] + 1 + margin, level_hw[::-1]).tolist()
    part = clean(inside(found.runs, level_hw[0], (x0, y0, x1 - x0, y1 - y0)), (y1 - y0, x1 - x0), least)
    return found.cleaned(placed(part, y1 - y0, (x0, y0), level_hw[0]), level_hw[0])
