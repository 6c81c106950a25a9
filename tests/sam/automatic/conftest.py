"""What tests of everything mode share: a model that has learnt, for random weights find nothing, and things to find."""

import numpy as np
import pytest

from sam import SAM, load_sam


@pytest.fixture(scope="session")
def tiny() -> SAM:
    """The model that comes with the package."""
    return load_sam("tiny")


@pytest.fixture(scope="session")
def shapes() -> np.ndarray:
    """Four plain shapes on a plain ground, one of them within another: (120, 160, 3) uint8."""
    rows, columns = np.mgrid[:120, :160]
    picture = np.full((120, 160, 3), (200, 205, 190), np.uint8)
    picture[15:60, 20:70] = (180, 40, 50)
    picture[25:45, 30:50] = (240, 220, 60)
    picture[(rows - 80) ** 2 + (columns - 115) ** 2 < 30**2] = (30, 80, 160)
    picture[90:110, 15:60] = (40, 120, 60)
    return picture
