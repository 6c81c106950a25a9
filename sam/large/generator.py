"""`TiledMaskGenerator`: everything mode for pictures of any size, all at once or as the work goes on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np

from ..automatic.candidates import Candidate, Record, Selection
from ..automatic.generator import Update
from ..automatic.grids import Crop, point_grids
from ..automatic.search import search
from ..automatic.settings import Settings
from ..model import SAM
from .merging import Change, Merging, Thing
from .runs import placed
from .sources import ArraySource, Source
from .tiles import Level, levels

SMALLEST_SHARE = 1 / 32
"""What is shorter than this share of a tile is left to the next finer level, which shows it twice as large."""


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
        kept: dict[Any, Thing] = {}
        for step in self._steps(as_source(picture), lambda: False):
            for thing in step.change.dropped:
                del kept[thing.key]
            kept |= {thing.key: thing for thing in step.change.added}
        return [thing.record(self.settings.output_mode) for thing in sorted(kept.values(), key=attrgetter("standing"))]

    def generate_iter(
        self, picture: Source | np.ndarray, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Update]:
        """The same, an update per tile, the coarsest level first; the last one's answer is `generate`'s.

        A level's pieces are joined when its last tile is done; until then only what its tiles show whole is added.
        Finer levels retract what they show better. `cancelled` is asked before every batch that goes through the
        decoder; when it says so the updates end. Leaving the loop cancels too.
        """
        numbers: dict[Any, int] = {}
        order = Order()
        for step in self._steps(as_source(picture), cancelled):
            retracted = [numbers[thing.key] for thing in step.change.dropped]
            for thing in step.change.dropped:
                order.remove(thing)
            added = {numbers.setdefault(thing.key, len(numbers)): thing for thing in step.change.added}
            for number, thing in added.items():
                order.add(thing, number)
            records = {number: thing.record(self.settings.output_mode) for number, thing in added.items()}
            yield Update(records, tuple(sorted(retracted)), tuple(order.numbers), step.done, step.total)

    def _steps(self, source: Source, cancelled: Callable[[], bool]) -> Iterator[Step]:
        planned = levels(source.hw, self.tile, self.overlap, self.scales)
        points = len(point_grids(self._in_tile)[0])
        done, total = 0, points * sum(len(level.boxes) for level in planned)
        finished: list[Thing] = []
        for level in planned:
            smallest = self.tile * SMALLEST_SHARE if level is not planned[-1] else 0
            merging = Merging(level, finished, self.settings, smallest)
            for number in range(len(level.boxes)):
                found = self._tile(source, level, number, cancelled)
                if found is None:
                    return
                done += points
                yield Step(merging.add(found), done, total)
            finished = merging.things

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


@dataclass(frozen=True, eq=False)
class Step:
    """What a tile changed in the answer, and how many of the points of all tiles are `done`."""

    change: Change
    done: int
    total: int


class Order:
    """Numbers of things in the order of the answer, kept as things come and go."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._standings: list[Any] = []

    def add(self, thing: Thing, number: int) -> None:
        """Put a thing's number where it stands."""
        place = bisect_left(self._standings, thing.standing)
        self._standings.insert(place, thing.standing)
        self.numbers.insert(place, number)

    def remove(self, thing: Thing) -> None:
        """Take it out again."""
        place = bisect_left(self._standings, thing.standing)
        del self._standings[place], self.numbers[place]


def as_source(picture: Source | np.ndarray) -> Source:
    """An array (H, W, 3) uint8 as a source; sources as they are."""
    return ArraySource(picture) if isinstance(picture, np.ndarray) else picture


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
