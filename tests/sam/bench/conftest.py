"""A picture for the benchmark's tests."""

import numpy as np
import pytest


@pytest.fixture
def shapes_picture() -> np.ndarray:
    """Two plain shapes on a plain ground: (90, 120, 3) uint8."""
    picture = np.full((90, 120, 3), (200, 205, 190), np.uint8)
    picture[15:60, 20:60] = (180, 40, 50)
    picture[40:80, 75:110] = (30, 80, 160)
    return picture
