"""Merging of many tiles' masks, without a model: by neighbourhoods, against comparing all of them after every tile."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..automatic.boxes import suppress_duplicates
from ..automatic.candidates import Candidate
from ..automatic.grids import Crop
from ..automatic.runs import bounding_box
from ..automatic.settings import Settings
from ..large.merging import Merging, Thing
from ..large.tiles import Level

TILE, OVERLAP = 1024, 256
RADIUS = (12, 160)
"""Smallest and largest disc, in pixels; small ones are more."""
MOST_PLAIN = 100
"""Tiles that are also merged the plain way, which takes minutes beyond."""


@dataclass(frozen=True)
class MergingResult:
    """One size: seconds of the processor, with every tile's things compared with all before, None where too many."""

    tiles: int
    masks: int
    things: int
    seconds: float
    plain: float | None
    megabytes: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def merge_tiles(sizes: Sequence[int], things_per_tile: int) -> list[MergingResult]:
    """Measure square levels of about so many tiles each; `RuntimeError` if both ways do not leave the same."""
    return [_measured(square_level(tiles), things_per_tile) for tiles in sizes]


def merging_as_markdown(results: Sequence[MergingResult]) -> str:
    """A table; in brackets how many times as fast as the plain way."""
    lines = [
        "**merging, synthetic masks**\n",
        "| tiles | masks | things | s | ms per tile | all again, s | peak, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        plain = "" if result.plain is None else f"{result.plain:.2f} ({result.plain / result.seconds:.1f}x)"
        each = 1000 * result.seconds / result.tiles
        cells = [result.tiles, result.masks, result.things, f"{result.seconds:.2f}", f"{each:.1f}", plain]
        lines.append(f"| {' | '.join(map(str, cells))} | {result.megabytes:.0f} |")
    return "\n".join(lines) + "\n"


def square_level(tiles: int) -> Level:
    """A level of at most so many tiles, in rows of as many."""
    side = TILE + (math.isqrt(tiles) - 1) * (TILE - OVERLAP)
    return Level.of((side, side), 1, TILE, OVERLAP)


def synthetic_tiles(level: Level, per_tile: int, seed: int = 0) -> list[list[Candidate]]:
    """What every tile sees of discs that lie all over the level: about so many each, duplicates among them."""
    rng = np.random.default_rng(seed)
    count = round(per_tile * level.hw[0] * level.hw[1] / (TILE + 2 * np.mean(RADIUS)) ** 2)
    radii = RADIUS[0] * (RADIUS[1] / RADIUS[0]) ** rng.random(count)
    discs = np.stack([rng.uniform(0, level.hw[1], count), rng.uniform(0, level.hw[0], count), radii], axis=1)
    found = []
    for number, (x0, y0, x1, y1) in enumerate(level.boxes):
        x, y, r = discs.T
        seen = np.flatnonzero((x + r > x0 + 1) & (x - r < x1 - 1) & (y + r > y0 + 1) & (y - r < y1 - 1))
        masks = ((int(disc), _disc(*(discs[disc] + rng.normal(0, 0.5, 3)), level, number)) for disc in seen)
        found.append([_candidate(disc, runs, level, number, rng) for disc, runs in masks if len(runs)])
    return found


def _measured(level: Level, per_tile: int) -> MergingResult:
    found, settings = synthetic_tiles(level, per_tile), Settings()
    start = time.process_time()
    merging = Merging(level, [], settings)
    for candidates in found:
        merging.add(candidates)
    things = merging.things
    seconds, plain = time.process_time() - start, None
    if len(found) <= MOST_PLAIN:
        start = time.process_time()
        others = _all_again(level, found, settings)
        plain = time.process_time() - start
        if {thing.key for thing in things} != {thing.key for thing in others}:
            raise RuntimeError(f"{len(things)} things by neighbourhoods, {len(others)} by comparing all with all")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return MergingResult(len(found), sum(map(len, found)), len(things), seconds, plain, peak)


def _all_again(level: Level, found: Sequence[Sequence[Candidate]], settings: Settings) -> list[Thing]:
    """The plain way: after every tile all things so far are compared with one another."""
    patient = Merging(level, [], Settings(crop_nms_thresh=1.0))  # joins, and lets duplicates be
    things: list[Thing] = []
    kept = things
    for candidates in found:
        things = sorted(things + patient.add(candidates).added, key=lambda thing: thing.rank)
        boxes = np.array([thing.box for thing in things])
        order = suppress_duplicates(boxes, -np.arange(len(things)), settings.crop_nms_thresh)
        kept = [things[index] for index in order]
    return kept


def _disc(x: float, y: float, radius: float, level: Level, tile: int) -> np.ndarray:
    """Runs of the part of a disc that a tile sees."""
    x0, y0, x1, y1 = level.boxes[tile]
    columns = np.arange(max(x0, math.ceil(x - radius)), min(x1, math.floor(x + radius) + 1))
    half = np.sqrt(np.maximum(radius**2 - (columns - x) ** 2, 0))
    first, last = np.maximum(np.ceil(y - half), y0), np.minimum(np.floor(y + half) + 1, y1)
    runs = (columns[:, None] * level.hw[0] + np.stack([first, last], axis=1)).astype(np.int64)
    return runs[first < last]


def _candidate(disc: int, runs: np.ndarray, level: Level, tile: int, rng: np.random.Generator) -> Candidate:
    box = bounding_box(runs, level.hw[0])
    iou, crop = np.float32(rng.uniform(0.88, 1)), Crop(level.boxes[tile], 0)
    return Candidate((tile, disc, 0), crop, box[:2], iou, iou, box, runs)
