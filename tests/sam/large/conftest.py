"""What tests of large pictures share: the model that has learnt, and a picture with things to find."""

from collections.abc import Callable

import numpy as np
import pytest

from sam import SAM, load_sam

CIRCLES = {"crossing": (280, 280, 70), "left": (110, 120, 45), "right": (660, 400, 50), "small": (600, 110, 22)}
COLOURS = [(230, 180, 40), (30, 80, 160), (40, 120, 60), (90, 20, 120)]


@pytest.fixture(scope="session")
def tiny() -> SAM:
    """The model that comes with the package."""
    return load_sam("tiny")


@pytest.fixture(scope="session")
def places() -> dict[str, tuple[int, int, int]]:
    """x, y and radius of every circle by its name."""
    return CIRCLES


@pytest.fixture(scope="session")
def circle() -> Callable[[str], np.ndarray]:
    """The pixels of one of the circles by its name: (560, 800) bool."""
    return drawn


def drawn(name: str) -> np.ndarray:
    """Where a circle is."""
    rows, columns = np.mgrid[:560, :800]
    x, y, radius = CIRCLES[name]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


@pytest.fixture(scope="session")
def circles() -> np.ndarray:
    """Four circles on a plain ground, one of them where four tiles meet: (560, 800, 3) uint8."""
    picture = np.full((560, 800, 3), (200, 205, 190), np.uint8)
    for name, colour in zip(CIRCLES, COLOURS, strict=True):
        picture[drawn(name)] = colour
    return picture
