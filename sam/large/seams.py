"""Seams: what tiles of one level cut is joined where tiles overlap and their masks agree.

Two pieces are one thing when they agree where both tiles see: intersection over union there of at least `AGREEMENT`.
Each piece has at most one partner in each other tile, the one it agrees with most, of equals the smallest. What some
tile shows whole needs no joining, so its pieces elsewhere go. Joined pieces must leave no side cut: a thing that a
neighbour did not see is left to a coarser level, where it is smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..automatic.boxes import EDGE_PIXELS, ends_excluded
from ..automatic.candidates import Candidate
from ..automatic.filters import overlap
from ..automatic.runs import area, bounding_box
from ..masks import Window
from .runs import inside, union
from .tiles import Level

AGREEMENT = 0.6
ALIKE = 0.1
"""Pairs whose agreement differs by less are told apart by size, smaller first: parts find parts before wholes do."""
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Found:
    """One thing of a level, in the level's pixels: its `candidates`, one or as many as tiles it was cut into."""

    candidates: tuple[Candidate, ...]
    runs: np.ndarray
    box: np.ndarray

    @classmethod
    def whole(cls, candidate: Candidate) -> Found:
        """What a tile shows whole."""
        return cls((candidate,), candidate.runs, candidate.box)

    @classmethod
    def joined(cls, pieces: Sequence[Candidate], height: int) -> Found:
        """The union of pieces, in the order of their tiles."""
        runs = union([piece.runs for piece in pieces])
        return cls(tuple(pieces), runs, bounding_box(runs, height))

    @property
    def places(self) -> tuple[tuple[int, int, int], ...]:
        """What tells this from everything else of its level."""
        return tuple(candidate.place for candidate in self.candidates)

    def mean(self, score: str) -> float:
        """`predicted_iou` or `stability`, weighted by the pieces' areas."""
        weights = [area(candidate.runs) for candidate in self.candidates]
        return float(np.average([getattr(candidate, score) for candidate in self.candidates], weights=weights))

    def cleaned(self, runs: np.ndarray, height: int) -> Found:
        """The same with other runs."""
        return replace(self, runs=runs, box=bounding_box(runs, height))


def cut_sides(candidate: Candidate, level: Level) -> np.ndarray:
    """Which of left, top, right, bottom of the mask lie at an edge of its tile that is no edge of the picture: (4,)."""
    ends = ends_excluded(candidate.box)
    tile, picture = np.asarray(candidate.crop.box), np.array([0, 0, level.hw[1], level.hw[0]])
    return (np.abs(ends - tile) <= EDGE_PIXELS) & (tile != picture)


def join(candidates: Sequence[Candidate], level: Level) -> list[Found]:
    """Everything of a level: what tiles show whole, then what is joined; `candidates` in any order.

    A candidate's `place` begins with its tile's number, its `crop` is the tile, its runs and box are the level's.
    """
    ordered = sorted(candidates, key=lambda candidate: candidate.place)
    cut = [cut_sides(candidate, level) for candidate in ordered]
    whole = [Found.whole(candidate) for candidate, sides in zip(ordered, cut, strict=True) if not sides.any()]
    groups = _connected(len(ordered), _partners(ordered, cut, level))
    cut_through = [group for group in groups if all(cut[index].any() for index in group)]
    pieces = [[ordered[index] for index in group] for group in cut_through if _complete(group, ordered, cut)]
    return whole + [Found.joined(group, level.hw[0]) for group in pieces]


def _partners(candidates: Sequence[Candidate], cut: Sequence[np.ndarray], level: Level) -> Iterator[tuple[int, int]]:
    """Pairs of indexes that are one thing: per pair of tiles those that agree most, each at most once."""
    by_tile: dict[int, list[int]] = {}
    for index, candidate in enumerate(candidates):
        by_tile.setdefault(candidate.place[0], []).append(index)
    for one, other in level.overlapping():
        if one in by_tile and other in by_tile:
            shared = common(level.boxes[one], level.boxes[other])
            yield from _matched(by_tile[one], by_tile[other], shared, candidates, cut, level.hw[0])


def _matched(
    ones: Sequence[int],
    others: Sequence[int],
    shared: Window,
    candidates: Sequence[Candidate],
    cut: Sequence[np.ndarray],
    height: int,
) -> Iterator[tuple[int, int]]:
    ones, others = ([index for index in each if _reaches(candidates[index], shared)] for each in (ones, others))
    seen = {index: inside(candidates[index].runs, height, shared) for index in (*ones, *others)}
    pairs = []
    for one in ones:
        for other in others:
            if (cut[one].any() or cut[other].any()) and (iou := _iou(seen[one], seen[other])) >= AGREEMENT:
                size = area(candidates[one].runs) + area(candidates[other].runs)
                pairs.append((-round(iou / ALIKE), size, one, other))
    taken: set[int] = set()
    for _, _, one, other in sorted(pairs):
        if not taken & {one, other}:
            taken |= {one, other}
            yield one, other


def _reaches(candidate: Candidate, window: Window) -> bool:
    x0, y0, x1, y1 = candidate.box
    x, y, width, height = window
    return bool(x0 < x + width and y0 < y + height and x1 >= x and y1 >= y)


def common(one: Box, other: Box) -> Window:
    """What two overlapping boxes x0, y0, x1, y1 share, as a window."""
    x0, y0, x1, y1 = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1 - x0, y1 - y0)


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    if not len(one) or not len(other):
        return 0.0
    both = overlap(one, other)
    return both / (area(one) + area(other) - both)


def _connected(count: int, pairs: Iterator[tuple[int, int]]) -> list[list[int]]:
    """Groups of indexes that pairs connect, each in order, by their first."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for index in range(count):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def _complete(group: Sequence[int], candidates: Sequence[Candidate], cut: Sequence[np.ndarray]) -> bool:
    """Whether each side at which a piece is cut is gone on with by a piece of a tile that reaches further."""
    boxes = np.array([candidates[index].crop.box for index in group])
    for box, sides in zip(boxes, (cut[index] for index in group), strict=True):
        further = np.concatenate([boxes[:, :2] < box[:2], boxes[:, 2:] > box[2:]], axis=1)
        meets = np.concatenate([boxes[:, 2:] > box[:2], boxes[:, :2] < box[2:]], axis=1)
        if not (further & meets).any(0)[sides].all():
            return False
    return True
