"""Suppression of duplicates among boxes that keep coming, at a cost that follows what is new, not what is there.

Two boxes that overlap by more than the threshold are rivals. Rivals have sides of similar length, so boxes lie in grids
by their size, and a new one is compared only with those around it. Of rivals the better stays; when a box goes, those
that only it had suppressed come back, and so on outward. After every addition exactly those stay that
`automatic.boxes.suppress_duplicates` would leave of all of them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from ..automatic.boxes import box_iou

LEAST_RATIO = 2.0**-40
"""Shares below this are none: of a box to a box in any picture that can be read."""
ROUNDING = 1e-3
"""So much smaller, in powers of two, a rival may be than the threshold says: IoU is float32."""


class Suppression:
    """Which of the boxes added so far stay: `stays`, by their numbers, which count from 0 in the order of adding."""

    def __init__(self, iou_threshold: float) -> None:
        if not iou_threshold >= 0:
            raise ValueError(f"iou_threshold {iou_threshold} must be at least 0: no boxes overlap by less")
        self.stays: list[bool] = []
        self._threshold = iou_threshold
        self._near = BoxIndex(iou_threshold)
        self._ranks: list[Any] = []
        self._rivals: list[list[int]] = []

    def add(self, boxes: np.ndarray, ranks: Sequence[Any]) -> tuple[list[int], list[int]]:
        """Take in boxes (N, 4) XYXY of whole numbers; of rivals the one of smaller rank stays, no two ranks are equal.

        Returns the numbers of boxes that stay from now on, and of those that no longer do.
        """
        first = len(self.stays)
        for box, rank in zip(np.asarray(boxes, dtype=np.int64).reshape(-1, 4), ranks, strict=True):
            self._meet(box, rank)
        changed = self._settle(range(first, len(self.stays)))
        come = [number for number in changed if self.stays[number]]
        return come, [number for number in changed if not self.stays[number]]

    def _meet(self, box: np.ndarray, rank: Any) -> None:
        """Number a box and find its rivals."""
        number = len(self.stays)
        near = self._near.around(box)
        others = self._near.boxes(near)
        rivals = [near[index] for index in np.flatnonzero(box_iou(box.astype(np.float32), others) > self._threshold)]
        for rival in rivals:
            self._rivals[rival].append(number)
        self._near.add(box)
        self._rivals.append(rivals)
        self._ranks.append(rank)
        self.stays.append(False)

    def _settle(self, fresh: Sequence[int]) -> list[int]:
        """Decide, the best first, about new boxes and whatever hangs on a decision that changed: numbers that did."""
        queue = [(self._ranks[number], number) for number in fresh]
        heapq.heapify(queue)
        changed, decided = [], -1
        while queue:
            rank, number = heapq.heappop(queue)
            if number == decided:  # asked by several
                continue
            decided = number
            stays = not any(self.stays[rival] for rival in self._rivals[number] if self._ranks[rival] < rank)
            if stays != self.stays[number]:
                self.stays[number] = stays
                changed.append(number)
                for rival in self._rivals[number]:
                    if self._ranks[rival] > rank:
                        heapq.heappush(queue, (self._ranks[rival], rival))
        return changed


class BoxIndex:
    """Finds boxes that may overlap a given one by more than a share of both.

    A box whose longer side is at most 2**n, and no power less, lies in the grid of that side, in the cell of its first
    corner; so it ends in the next cell at the latest.
    """

    def __init__(self, share: float) -> None:
        self._reach = math.ceil(ROUNDING - math.log2(max(share, LEAST_RATIO)))
        self._boxes: list[np.ndarray] = []
        self._grids: dict[int, dict[tuple[int, int], list[int]]] = {}

    def add(self, box: np.ndarray) -> None:
        """Number a box, counting from 0."""
        power = _power(box)
        cell = (int(box[0]) >> power, int(box[1]) >> power)
        self._grids.setdefault(power, {}).setdefault(cell, []).append(len(self._boxes))
        self._boxes.append(box)

    def boxes(self, numbers: Sequence[int]) -> np.ndarray:
        """Boxes by their numbers: (N, 4) float32."""
        return np.array([self._boxes[number] for number in numbers], dtype=np.float32).reshape(-1, 4)

    def around(self, box: np.ndarray) -> list[int]:
        """Numbers of boxes that may overlap this one so far; others cannot."""
        x0, y0, x1, y1 = box.tolist()
        power, found = _power(box), []
        for size, cells in self._grids.items():
            if abs(size - power) <= self._reach:
                columns, rows = (range((low >> size) - 1, (high >> size) + 1) for low, high in ((x0, x1), (y0, y1)))
                # Where fewer cells are occupied than the box reaches, all of these.
                inside = cells if len(cells) < len(columns) * len(rows) else product(columns, rows)
                for cell in inside:
                    found += cells.get(cell, ())
        return found


def _power(box: np.ndarray) -> int:
    """The least n of which 2**n is no shorter than the box's longer side."""
    return max(int((box[2:] - box[:2]).max()) - 1, 0).bit_length()
