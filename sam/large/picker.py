"""Which view to encode for a prompt: as large as what the person looks at, or as a box asks for, on a grid.

Views halve from the whole picture down to `LEAST_SIDE` pixels. Those of one size lie on a grid of half their side, so
that prompts close to each other share a view, and with it the encoding, and none lies nearer than a quarter of a side
to its edge unless the picture ends there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..automatic.boxes import ends_excluded
from ..config import Size
from ..masks import Window
from .views import View

LEAST_SIDE = 128
"""Smaller views show the model blurred pixels and too little around."""
AROUND_POINTS, AROUND_BOX = 1.5, 3.0
"""How many times as long as the prompts' extent a view is at least: an object needs what surrounds it.

A box is as large as its object, so it says the view's size by itself; points do not.
"""
Box = tuple[float, float, float, float]


def pick_view(picture_hw: Size, prompt_xyxy: Box, wanted: float, *, detail: int = 1024) -> View:
    """The view for prompts inside a box x0, y0, x1, y1 (a point is a box without a size), in the picture's pixels.

    wanted: how many pixels the view's longer side has at least, from `side_for_points` or `side_for_box`. detail: the
    longest side of a view in its own pixels. `ValueError` for a prompt that lies outside of the picture.
    """
    return next(views_outward(picture_hw, prompt_xyxy, wanted, detail=detail))


def views_outward(picture_hw: Size, prompt_xyxy: Box, wanted: float, *, detail: int = 1024) -> Iterator[View]:
    """The view of `pick_view`, then larger ones around it up to the whole picture."""
    _require_prompt(picture_hw, prompt_xyxy)
    x0, y0, x1, y1 = prompt_xyxy
    for side in sides(picture_hw):
        if side >= wanted or side == max(picture_hw):
            view = _around(picture_hw, ((x0 + x1) / 2, (y0 + y1) / 2), side, detail)
            if view.holds(prompt_xyxy):
                yield view


def side_for_points(picture_hw: Size, around_xyxy: Box, shown: Window | None) -> float:
    """The side of a view for points inside a box when the window `shown` is on the screen; None shows everything."""
    return max(*(shown[2:] if shown else picture_hw), AROUND_POINTS * _extent(around_xyxy))


def side_for_box(box_xyxy: Box) -> float:
    """The side of a view for an object in this box, whatever is on the screen."""
    return AROUND_BOX * _extent(box_xyxy)


def sides(picture_hw: Size) -> list[int]:
    """Sides of views, ascending: powers of two times `LEAST_SIDE`, and last the longer side of the picture."""
    longest, side, found = max(picture_hw), LEAST_SIDE, []
    while side < longest:
        found.append(side)
        side *= 2
    return [*found, longest]


def on_grid(picture_hw: Size, window: Window) -> bool:
    """Whether a window is one that `pick_view` may choose for a picture of this size."""
    side = max(window[2:])
    if side not in sides(picture_hw):
        return False
    step = max(side // 2, 1)
    return all(
        extent == min(side, length) and start in (*range(0, length - extent, step), length - extent)
        for start, extent, length in zip(window[:2], window[2:], picture_hw[::-1], strict=True)
    )


def cut_by_view(box_xyxy: np.ndarray, view: View, picture_hw: Size, margin: int) -> bool:
    """Whether a box of outermost pixels comes within `margin` pixels of an edge of the view inside the picture."""
    ends = ends_excluded(box_xyxy)
    window, picture = np.array(view.box), np.array([0, 0, picture_hw[1], picture_hw[0]])
    return bool(((np.abs(ends - window) <= margin) & (window != picture)).any())


def _around(picture_hw: Size, centre_xy: tuple[float, float], side: int, detail: int) -> View:
    corner, size = [], []
    for centre, length in zip(centre_xy, picture_hw[::-1], strict=True):
        extent, step = min(side, length), max(side // 2, 1)
        start = round((centre - extent / 2) / step) * step
        corner.append(min(max(start, 0), length - extent))
        size.append(extent)
    return View((*corner, *size), max(1, -(-max(size) // detail)))


def _extent(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _require_prompt(picture_hw: Size, box: Box) -> None:
    height, width = picture_hw
    if not (0 <= box[0] <= box[2] <= width and 0 <= box[1] <= box[3] <= height):
        raise ValueError(f"prompts from {box[:2]} to {box[2:]} do not lie inside a picture of {width} x {height}")
