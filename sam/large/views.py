"""Views: a window of the picture, looked at pixel by pixel or more coarsely, and the way back to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..config import Size
from ..masks import Window
from .sources import CHANNELS, STRIP_BYTES, Source, require_inside


@dataclass(frozen=True)
class View:
    """A window in the picture's pixels of which each `scale` x `scale` pixels are seen as one, their average.

    Where the window's sides are no multiples of it, the last row and column average fewer pixels.
    """

    window: Window
    scale: int = 1

    def __post_init__(self) -> None:
        if self.scale < 1 or int(self.scale) != self.scale:
            raise ValueError(f"scale {self.scale} must be a whole number of at least 1")

    @property
    def hw(self) -> Size:
        """Height and width in pixels of the view."""
        return (-(-self.window[3] // self.scale), -(-self.window[2] // self.scale))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The window as x0, y0, x1, y1, ends excluded."""
        x, y, width, height = self.window
        return (x, y, x + width, y + height)

    def holds(self, box_xyxy: tuple[float, float, float, float]) -> bool:
        """Whether a box in the picture's pixels lies in the window."""
        x0, y0, x1, y1 = self.box
        return x0 <= box_xyxy[0] and y0 <= box_xyxy[1] and box_xyxy[2] <= x1 and box_xyxy[3] <= y1

    def look(self, source: Source) -> np.ndarray:
        """What is seen: (h, w, 3) uint8. Reads strips, so that a coarse view needs no more memory than a fine one."""
        x, y, width, height = require_inside(self.window, source.hw)
        if self.scale == 1:
            return source.read(self.window)
        seen = np.empty((*self.hw, CHANNELS), np.uint8)
        rows = max(1, STRIP_BYTES // (width * CHANNELS * self.scale))
        for top in range(0, self.hw[0], rows):
            first = top * self.scale
            pixels = source.read((x, y + first, width, min(rows * self.scale, height - first)))
            seen[top : top + rows] = np.asarray(Image.fromarray(pixels).reduce(self.scale))
        return seen

    def from_picture(self, points_xy: np.ndarray) -> np.ndarray:
        """Pixels of the picture -> pixels of the view; (..., 2) to float64."""
        return (np.asarray(points_xy, dtype=np.float64) - self.window[:2]) / self.scale
