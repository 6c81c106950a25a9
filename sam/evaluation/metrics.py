"""How good an answer is: pure functions on masks and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

BOUNDARY_TOLERANCE = 0.0075
"""How far apart two contours may lie, as a share of the picture's diagonal (BSDS: Martin et al. 2004)."""


def iou(answer: np.ndarray, truth: np.ndarray, known: np.ndarray) -> float:
    """Intersection over union of two H,W bool masks, 0-1; pixels outside of `known` are left out.

    1 where both are empty.
    """
    answer, truth = answer & known, truth & known
    union = np.count_nonzero(answer | truth)
    return np.count_nonzero(answer & truth) / union if union else 1.0


def boundary_f(answer: np.ndarray, truth: np.ndarray, known: np.ndarray) -> float:
    """How well two H,W bool masks agree along their contours, 0-1: the F measure of DAVIS (Perazzi et al. 2016).

    Precision is the share of the answer's contour that lies within `BOUNDARY_TOLERANCE` (at least a pixel) of the true
    one, recall the share of the true contour that close to the answer's; the result is their harmonic mean. DAVIS
    allows 0.8 %. Neither the picture's border nor an edge towards unknown pixels is a contour; two masks without one
    agree.
    """
    tolerance = max(1.0, BOUNDARY_TOLERANCE * float(np.hypot(*truth.shape)))
    answer_rim, true_rim = contour(answer, known), contour(truth, known)
    if not answer_rim.any() or not true_rim.any():
        return float(answer_rim.any() == true_rim.any())
    precision = np.mean(_distance_to(true_rim)[answer_rim] <= tolerance)
    recall = np.mean(_distance_to(answer_rim)[true_rim] <= tolerance)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def contour(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The known pixels of an H,W bool mask beside (left, right, above, below) a known pixel outside; H,W bool."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    beside_outside = cv2.dilate((~mask & known).astype(np.uint8), cross)
    return mask & known & (beside_outside > 0)


def clicks_needed(ious: Sequence[float], quality: float, cap: int) -> int:
    """NoC@quality (Sofiiuk et al. 2022): the number of the first click whose IoU reaches `quality`, else `cap`.

    ious: IoU after the 1st, 2nd ... click.
    """
    return next((clicks for clicks, value in enumerate(ious[:cap], start=1) if value >= quality), cap)


@dataclass(frozen=True)
class Interval:
    """A mean and the range that holds 95 % of the means of resampled pictures."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap_interval(
    values: np.ndarray, pictures: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of `values` (N,) with its 95 % percentile interval (Efron 1979), seeded.

    pictures: which picture each value belongs to. Pictures are resampled, not values: the masks of one picture are
    not independent of each other.
    """
    _, picture_of = np.unique(np.asarray(pictures), return_inverse=True)
    sums, counts = np.bincount(picture_of, weights=values), np.bincount(picture_of)
    shares = np.full(len(sums), 1 / len(sums))
    times_drawn = np.random.default_rng(seed).multinomial(len(sums), shares, size=resamples)
    low, high = np.quantile((times_drawn @ sums) / (times_drawn @ counts), [0.025, 0.975])
    return Interval(float(np.mean(values)), float(low), float(high))


def _distance_to(pixels: np.ndarray) -> np.ndarray:
    """Distance of every pixel to the nearest of an H,W bool set, float32."""
    return cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
