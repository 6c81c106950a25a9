"""`TiledMaskGenerator`: everything mode for pictures of any size, all at once or as the work goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..automatic.boxes import ends_excluded, suppress_duplicates, xywh
from ..automatic.candidates import Candidate, Record, Selection, segmentation
from ..automatic.generator import Update
from ..automatic.grids import Crop, point_grids
from ..automatic.regions import clean
from ..automatic.runs import area
from ..automatic.search import search
from ..automatic.settings import OutputMode, Settings
from ..config import Size
from ..model import SAM
from .runs import enlarged, inside, placed
from .seams import Found, cut_sides, join
from .sources import ArraySource, Source
from .tiles import Level, levels

SMALLEST_SHARE = 1 / 32
"""What is shorter than this share of a tile is left to the next finer level, which shows it twice as large."""


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

    @property
    def rank(self) -> tuple[int, float, Any]:
        """Which of two duplicates is better: the more finely seen, then the one of better predicted quality."""
        return (self.level.scale, -self.found.mean("predicted_iou"), self.found.places)

    def record(self, output_mode: OutputMode) -> Record:
        """The thing as Meta's generator describes it, in pixels of the picture."""
        runs = enlarged(self.found.runs, self.level.hw[0], self.level.scale, self.level.picture_hw)
        tiles = np.array([self.level.view(candidate.place[0]).box for candidate in self.found.candidates])
        points = [self.level.scale * candidate.point_xy for candidate in self.found.candidates]
        return {
            "segmentation": segmentation(runs, self.level.picture_hw, output_mode),
            "area": area(runs),
            "bbox": xywh(self.box),
            "predicted_iou": self.found.mean("predicted_iou"),
            "point_coords": [point.tolist() for point in points],
            "stability_score": self.found.mean("stability"),
            "crop_box": xywh(np.concatenate([tiles[:, :2].min(0), tiles[:, 2:].max(0)])),
        }


class TiledMaskGenerator:
    """Finds all objects of a picture of any size: tiles at several zoom levels, joined where tiles cut them.

    settings: those of `SamAutomaticMaskGenerator`, for every tile: the grid, thresholds, `min_mask_region_area` in
    pixels of the picture, `crop_nms_thresh` for duplicates among tiles and levels. `crop_n_layers` plays no part, for
    levels take its place. `binary_mask` is allowed, and is a bitmap of the whole picture for every mask.
    tile: side of a tile in pixels of its level. overlap: the share of a tile that its neighbour sees too, from 0.1 up
    to 0.5; the more, the surer are seams. scales: pixels of the picture per pixel of a level; by default 1, 2, 4 ...
    until one tile shows the whole picture. Raises `ValueError` that names the parameter.

    Memory: a tile's pixels, what the model needs for one tile, and the runs of the masks that are found.
    """

    def __init__(
        self,
        model: SAM,
        settings: Settings | None = None,
        *,
        tile: int = 1024,
        overlap: float = 0.25,
        scales: Sequence[int] | None = None,
    ) -> None:
        settings = settings or Settings(output_mode="coco_rle")
        if tile < 64:
            raise ValueError(f"tile {tile} must be at least 64 pixels")
        if not 0.1 <= overlap <= 0.5:
            raise ValueError(f"overlap {overlap} must lie in [0.1, 0.5]: seams are joined where tiles overlap")
        self.model, self.settings = model, settings
        self.tile, self.overlap, self.scales = tile, int(tile * overlap), scales
        self._in_tile = replace(settings, crop_n_layers=0, min_mask_region_area=0)

    @classmethod
    def preset(cls, model: SAM, name: str, **changes: Any) -> TiledMaskGenerator:
        """A generator for `few`, `balanced` or `fine` (see `automatic.PRESETS`) with run lengths as text."""
        return cls(model, Settings.preset(name, model.config.model_id, **{"output_mode": "coco_rle", **changes}))

    def generate(self, picture: Source | np.ndarray) -> list[Record]:
        """All masks, best first: records as `SamAutomaticMaskGenerator` has them, in pixels of the whole picture.

        A mask that was joined names a point for each of its pieces, and in `crop_box` the box around their tiles.
        The same picture and settings give the same records in the same order.
        """
        things: list[Thing] = []
        for step in self._steps(as_source(picture), lambda: False):
            things = step.things
        return [thing.record(self.settings.output_mode) for thing in best_first(things)]

    def generate_iter(
        self, picture: Source | np.ndarray, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Update]:
        """The same, an update per tile, the coarsest level first; the last one's answer is `generate`'s.

        A level's pieces are joined when its last tile is done; until then only what its tiles show whole is added.
        Finer levels retract what they show better. `cancelled` is asked before every batch that goes through the
        decoder; when it says so the updates end. Leaving the loop cancels too.
        """
        numbers: dict[Any, int] = {}
        shown: set[int] = set()
        for step in self._steps(as_source(picture), cancelled):
            current = {numbers.setdefault(thing.key, len(numbers)): thing for thing in best_first(step.things)}
            added = {
                number: thing.record(self.settings.output_mode)
                for number, thing in current.items()
                if number not in shown
            }
            yield Update(added, tuple(sorted(shown - current.keys())), tuple(current), step.done, step.total)
            shown = set(current)

    def _steps(self, source: Source, cancelled: Callable[[], bool]) -> Iterator[Step]:
        planned = levels(source.hw, self.tile, self.overlap, self.scales)
        points = len(point_grids(self._in_tile)[0])
        done, total = 0, points * sum(len(level.boxes) for level in planned)
        finished: list[Thing] = []
        for level in planned:
            candidates: list[Candidate] = []
            smallest = self.tile * SMALLEST_SHARE if level is not planned[-1] else 0
            for number in range(len(level.boxes)):
                found = self._tile(source, level, number, cancelled)
                if found is None:
                    return
                candidates += found
                done += points
                last = number == len(level.boxes) - 1
                things = self._joined(candidates, level) if last else _provisional(candidates, level)
                things = [thing for thing in things if np.ptp(thing.found.box.reshape(2, 2), axis=0).max() >= smallest]
                current = distinct(finished + things, self.settings.crop_nms_thresh)
                yield Step(current, done, total)
            finished = current

    def _tile(self, source: Source, level: Level, number: int, cancelled: Callable[[], bool]) -> list[Candidate] | None:
        """The tile's distinct masks in the level's pixels; None when cancelled."""
        if cancelled():
            return None
        image = level.view(number).look(source)
        selection, step = Selection(self._in_tile, image.shape[:2]), None
        for step in search(self.model, image, self._in_tile, cancelled=cancelled):
            selection.add(step.found)
        if step is None or step.done < step.total:
            return None
        corner, crop = level.boxes[number][:2], Crop(level.boxes[number], level.scale)
        return [_moved(candidate, number, crop, corner, image.shape[0], level) for candidate in selection.current()]

    def _joined(self, candidates: Sequence[Candidate], level: Level) -> list[Thing]:
        least = -(-self.settings.min_mask_region_area // level.scale**2)
        return [Thing.of(_cleaned(found, level.hw, least), level) for found in join(candidates, level)]


@dataclass(frozen=True, eq=False)
class Step:
    """The answer after a tile, and how many of the points of all tiles are `done`."""

    things: list[Thing]
    done: int
    total: int


def as_source(picture: Source | np.ndarray) -> Source:
    """An array (H, W, 3) uint8 as a source; sources as they are."""
    return ArraySource(picture) if isinstance(picture, np.ndarray) else picture


def best_first(things: Sequence[Thing]) -> list[Thing]:
    """By predicted quality, then by what is more finely seen."""
    return sorted(things, key=lambda thing: (-thing.found.mean("predicted_iou"), thing.rank))


def distinct(things: Sequence[Thing], iou_threshold: float) -> list[Thing]:
    """Without those whose box repeats that of one more finely seen, or as finely and better."""
    ranked = sorted(things, key=lambda thing: thing.rank)
    boxes = np.array([thing.box for thing in ranked])
    return [ranked[index] for index in suppress_duplicates(boxes, -np.arange(len(ranked)), iou_threshold)]


def _provisional(candidates: Sequence[Candidate], level: Level) -> list[Thing]:
    """What tiles show whole, before the level is done."""
    return [Thing.of(Found.whole(item), level) for item in candidates if not cut_sides(item, level).any()]


def _moved(
    candidate: Candidate, tile: int, crop: Crop, corner: tuple[int, int], height: int, level: Level
) -> Candidate:
    """A tile's candidate in the level's pixels."""
    return replace(
        candidate,
        place=(tile, *candidate.place[1:]),
        crop=crop,
        point_xy=candidate.point_xy + corner,
        box=candidate.box + np.tile(corner, 2),
        runs=placed(candidate.runs, height, corner, level.hw[0]),
    )


def _cleaned(found: Found, level_hw: Size, least: int) -> Found:
    """Holes filled and islands removed, in a window around the mask so wide that what surrounds it is no hole."""
    if least <= 1 or not len(found.runs):
        return found
    margin = 1 + math.isqrt(least)
    x0, y0 = np.maximum(found.box[:2] - margin, 0).tolist()
    x1, y1 = np.minimum(found.box[2:] + 1 + margin, level_hw[::-1]).tolist()
    part = clean(inside(found.runs, level_hw[0], (x0, y0, x1 - x0, y1 - y0)), (y1 - y0, x1 - x0), least)
    return found.cleaned(placed(part, y1 - y0, (x0, y0), level_hw[0]), level_hw[0])
