"""How long an encode will take: learned from those that were measured."""

from __future__ import annotations

import threading
from collections import deque
from statistics import median

REMEMBERED = 24
RECENT = 5
SIMILAR = 2.0
"""Pictures within this factor in pixels take about as long: what depends on their size is reading and resizing them."""


class EncodeTimes:
    """Seconds per encode, by the picture's size. first_s: what was measured before any picture came."""

    def __init__(self, first_s: float | None = None) -> None:
        self.first_s = first_s
        self._runs: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()

    def learn(self, pixels: int, seconds: float) -> None:
        """An encode of a picture of so many pixels took this long."""
        with self._lock:
            self._runs.append((pixels, seconds))

    def expect(self, pixels: int) -> float | None:
        """The middle of the latest encodes of pictures like this one, of any where there were none like it."""
        with self._lock:
            runs = list(self._runs)
        similar = [seconds for size, seconds in runs if max(size, pixels) <= SIMILAR * min(size, pixels)]
        known = similar or [seconds for _, seconds in runs]
        return median(known[-RECENT:]) if known else self.first_s
