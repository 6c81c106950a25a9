"""Boxes (N, 4) XYXY of outermost pixels: overlap, suppression of duplicates, closeness to a crop's edge."""

from __future__ import annotations

import numpy as np

EDGE_PIXELS = 20
"""A box this close to a crop's edge was probably cut by it."""


def suppress_duplicates(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Non-maximum suppression: indexes of boxes that overlap no better one by more than the threshold, best first.

    boxes (N, 4) of any number type, scores (N,); of equal scores the earlier wins. Sides are x1 - x0 and y1 - y0 and
    the arithmetic is float32, as in the original.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[order]
    alive = np.ones(len(boxes), dtype=bool)
    for index in range(len(boxes)):
        if alive[index]:
            later = index + 1 + np.flatnonzero(alive[index + 1 :])
            alive[later] = ~(box_iou(boxes[index], boxes[later]) > iou_threshold)
    return order[alive]


def box_iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Overlap of one box (4,) with others (N, 4), float32 XYXY: (N,); NaN between boxes without an area."""
    overlap_hw = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    overlap = np.maximum(overlap_hw, 0).prod(1)
    with np.errstate(invalid="ignore"):
        return overlap / (box_area(box) + box_area(boxes) - overlap)


def box_area(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) XYXY -> (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def cut_by_crop(boxes: np.ndarray, crop_box: tuple[int, ...], image_box: tuple[int, ...]) -> np.ndarray:
    """Which boxes (N, 4) lie at an edge of the crop that is no edge of the picture: (N,) bool.

    All three in the picture's pixels; ends of crop and picture are excluded, those of the boxes are not.
    """
    boxes = np.asarray(boxes, dtype=np.int64).reshape(-1, 4)
    near_crop, near_image = (np.abs(boxes - np.asarray(box)) <= EDGE_PIXELS for box in (crop_box, image_box))
    return (near_crop & ~near_image).any(1)


def ends_excluded(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) XYXY of outermost pixels -> XYXY whose ends lie behind them."""
    return np.asarray(boxes) + np.array([0, 0, 1, 1])


def xywh(box_xyxy: np.ndarray) -> list[int]:
    """[x, y, width, height] of XYXY, as numbers for a record."""
    x0, y0, x1, y1 = (int(value) for value in box_xyxy)
    return [x0, y0, x1 - x0, y1 - y0]
