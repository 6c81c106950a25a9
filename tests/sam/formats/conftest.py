"""Sessions with what formats get wrong: holes, islands, overlaps, single pixels, borders, odd labels."""

import numpy as np
import pytest

from sam.formats import MaskObject, Picture, Session
from sam.formats.session import palette_colour
from sam.masks import rle_encode

WIDTH, HEIGHT = 320, 240


def disc(x, y, radius, wave=0.0):
    """A disc, or with `wave` a flower, on the test picture."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    angle = np.arctan2(rows - y, columns - x)
    return np.hypot(rows - y, columns - x) < radius * (1 + wave * np.sin(5 * angle))


def make_masks():
    """Name -> boolean mask."""
    flower = disc(100, 110, 80, 0.2)
    ring = disc(210, 120, 70) & ~disc(215, 118, 40)
    islands = disc(50, 50, 35) | disc(250, 180, 40, 0.1)
    target = disc(160, 120, 100) & ~disc(160, 120, 70) | disc(160, 120, 45)
    border = disc(0, 240, 90) | disc(320, 0, 60)
    box = np.zeros((HEIGHT, WIDTH), bool)
    box[30:190, 20:300] = True
    pixel = np.zeros((HEIGHT, WIDTH), bool)
    pixel[17, 23] = True
    line = np.eye(HEIGHT, WIDTH, dtype=bool) | np.eye(HEIGHT, WIDTH, 1, dtype=bool)
    return {
        "flower": flower, "ring": ring, "islands": islands, "target": target, "border": border, "box": box,
        "pixel": pixel, "line": line, "everything": np.ones((HEIGHT, WIDTH), bool),
    }  # fmt: skip


@pytest.fixture(scope="session")
def masks():
    return make_masks()


@pytest.fixture(scope="session")
def session(masks):
    """Every mask as an object; some share a label, all overlap."""
    labels = ["flower", "ring", "flower", 'Ziel "ä" <&>\' 目标 🎯', "ring", "a: b, c", "pixel", "line", "- no"]
    objects = [
        MaskObject(label, rle_encode(mask), palette_colour(60 + index), index != 4, None if index == 2 else index / 10)
        for index, (label, mask) in enumerate(zip(labels, masks.values(), strict=True))
    ]
    return Session(Picture("IMG 01.small.jpeg", WIDTH, HEIGHT), tuple(objects))
