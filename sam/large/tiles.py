"""Where to look for everything: zoom levels of a picture, and overlapping tiles over each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..config import Size
from .views import View


@dataclass(frozen=True)
class Level:
    """The picture at one `scale`, and how it is cut: boxes x0, y0, x1, y1 in the level's pixels, ends excluded."""

    picture_hw: Size
    scale: int
    boxes: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, picture_hw: Size, scale: int, side: int, overlap: int) -> Level:
        """Tiles of at most `side` pixels a side, spread evenly, each sharing at least `overlap` with its neighbours."""
        height, width = (-(-size // scale) for size in picture_hw)
        rows, columns = starts(height, side, overlap), starts(width, side, overlap)
        boxes = ((x, y, min(x + side, width), min(y + side, height)) for y in rows for x in columns)
        return cls(picture_hw, scale, tuple(boxes))

    @property
    def hw(self) -> Size:
        """Height and width of the picture in pixels of the level."""
        return (-(-self.picture_hw[0] // self.scale), -(-self.picture_hw[1] // self.scale))

    def overlapping(self) -> Iterator[tuple[int, int]]:
        """Pairs of tiles that share pixels, each with the smaller number first."""
        lefts, rights, tops, bottoms = (sorted({box[side] for box in self.boxes}) for side in (0, 2, 1, 3))
        for one, (x0, y0, x1, y1) in enumerate(self.boxes):
            columns = range(bisect_right(rights, x0), bisect_left(lefts, x1))
            rows = range(bisect_right(bottoms, y0), bisect_left(tops, y1))
            others = (row * len(lefts) + column for row in rows for column in columns)
            yield from ((one, other) for other in others if other > one)

    def view(self, number: int) -> View:
        """The tile's view of the picture."""
        x0, y0, x1, y1 = (side * self.scale for side in self.boxes[number])
        height, width = self.picture_hw
        return View((x0, y0, min(x1, width) - x0, min(y1, height) - y0), self.scale)


def starts(length: int, side: int, overlap: int) -> list[int]:
    """First pixels of tiles that cover `length` pixels."""
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return np.rint(np.linspace(0, length - side, count)).astype(int).tolist()


def levels(picture_hw: Size, side: int, overlap: int, scales: Sequence[int] | None = None) -> list[Level]:
    """From the coarsest, on which large things are whole, to the finest.

    scales: pixels of the picture per pixel of the level; by default 1, 2, 4 ... until one tile shows the whole picture.
    """
    wanted = sorted(set(scales), reverse=True) if scales is not None else list(doubling(picture_hw, side))[::-1]
    if not wanted or min(wanted) < 1:
        raise ValueError(f"scales {list(scales or [])} must name at least one whole number, none below 1")
    return [Level.of(picture_hw, scale, side, overlap) for scale in wanted]


def doubling(picture_hw: Size, side: int) -> Iterator[int]:
    """1, 2, 4 ..., up to the first at which the longer side of the picture is no longer than `side`."""
    scale = 1
    yield scale
    while -(-max(picture_hw) // scale) > side:
        scale *= 2
        yield scale
