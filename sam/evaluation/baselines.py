"""Answers that need no model, to the same clicks and boxes: what a model must beat to be worth its time."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

WAND_TOLERANCES = (4, 6, 8, 10, 13, 16, 20, 25, 32)
"""Colour differences (CIE76, in Lab) that the magic wand is tried with; the best of a source is reported."""
DISC_RADII = (0.06, 0.09, 0.12, 0.16, 0.2)
"""Radii of the disc around a click, as shares of the picture's long side; the best of a source is reported."""
FAMILIES = {"wand": WAND_TOLERANCES, "disc": DISC_RADII}
"""Baselines with a setting, which is chosen over all masks of a source, in their favour."""
GRABCUT_LONG_SIDE = 512
GRABCUT_ITERATIONS = 5


def click_baselines(lab: np.ndarray, click_xy: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Every setting's name, as `setting_name` gives it, and H,W bool mask; `lab` is `lab_image`'s."""
    for tolerance, mask in zip(WAND_TOLERANCES, magic_wand(lab, click_xy), strict=True):
        yield setting_name("wand", tolerance), mask
    for radius in DISC_RADII:
        yield setting_name("disc", radius), disc(click_xy, radius, lab.shape[:2])


def box_baselines(image: np.ndarray, box_xyxy: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and H,W bool mask of each; `image` is H,W,3 uint8 RGB."""
    hw = image.shape[:2]
    yield "GrabCut", grab_cut(image, box_xyxy)
    yield "ellipse", inscribed_ellipse(box_xyxy, hw)
    yield "rectangle", rectangle(box_xyxy, hw)


def setting_name(family: str, setting: float) -> str:
    """What one setting of a family is called among the scores of a mask."""
    return f"{family} {setting:g}"


def lab_image(image: np.ndarray) -> np.ndarray:
    """H,W,3 uint8 RGB to float32 CIE Lab, L in 0-100, after the median filter that serves wands best."""
    return cv2.cvtColor(cv2.medianBlur(image, 5).astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def magic_wand(lab: np.ndarray, click_xy: np.ndarray) -> Iterator[np.ndarray]:
    """Flood fill from a click: for each of `WAND_TOLERANCES` the connected pixels of about the clicked colour.

    A pixel joins when it differs by at most the tolerance from the clicked pixel, not from its neighbour.
    """
    seed = tuple(int(v) for v in click_xy)
    difference = np.linalg.norm(lab - lab[seed[1], seed[0]], axis=-1).astype(np.float32)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8)
    for tolerance in WAND_TOLERANCES:
        filled = np.zeros((lab.shape[0] + 2, lab.shape[1] + 2), np.uint8)  # cv2 wants a rim of one pixel
        cv2.floodFill(difference, filled, seed, 0, 0, tolerance, flags)
        yield filled[1:-1, 1:-1] == 1


def grab_cut(image: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    """GrabCut (Rother et al. 2004) started from a box: H,W,3 uint8 RGB to H,W bool.

    Runs `GRABCUT_ITERATIONS` on the picture reduced to `GRABCUT_LONG_SIDE`, for its time grows with the pixels. A box
    without anything around it, which leaves no background to learn, is its own answer.
    """
    height, width = image.shape[:2]
    scale = min(1.0, GRABCUT_LONG_SIDE / max(height, width))
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    x0, y0, x1, y1 = _covered_pixels(box_xyxy * scale, small.shape[:2])
    if (x1 - x0) * (y1 - y0) == small.shape[0] * small.shape[1]:
        return rectangle(box_xyxy, (height, width))
    labels = np.zeros(small.shape[:2], np.uint8)
    cv2.setRNGSeed(0)  # its colour clusters start at random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, labels, (x0, y0, x1 - x0, y1 - y0), *models, GRABCUT_ITERATIONS, cv2.GC_INIT_WITH_RECT)
    foreground = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    return cv2.resize(foreground, (width, height), interpolation=cv2.INTER_NEAREST) == 1


def inscribed_ellipse(box_xyxy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """The ellipse that touches the box's four sides, H,W bool."""
    x0, y0, x1, y1 = box_xyxy
    return _ellipse(((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2), hw)


def rectangle(box_xyxy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """The box itself, H,W bool."""
    x0, y0, x1, y1 = _covered_pixels(box_xyxy, hw)
    mask = np.zeros(hw, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def disc(centre_xy: np.ndarray, radius: float, hw: tuple[int, int]) -> np.ndarray:
    """A disc around a click; `radius` is a share of the picture's long side. H,W bool."""
    return _ellipse(centre_xy + 0.5, (radius * max(hw),) * 2, hw)


def _ellipse(centre_xy: tuple[float, float], radii_xy: tuple[float, float], hw: tuple[int, int]) -> np.ndarray:
    y, x = np.ogrid[: hw[0], : hw[1]]
    return ((x + 0.5 - centre_xy[0]) / radii_xy[0]) ** 2 + ((y + 0.5 - centre_xy[1]) / radii_xy[1]) ** 2 <= 1


def _covered_pixels(box_xyxy: np.ndarray, hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box in whole pixels, rounded outward and kept inside the picture."""
    x0, y0 = np.maximum(np.floor(box_xyxy[:2]), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(box_xyxy[2:]), hw[::-1]).astype(int)
    return int(x0), int(y0), int(x1), int(y1)
