"""Filters on finished records: plain functions that take records and return those that stay, in their order.

Records are Meta's with any segmentation; masks are compared by pixels, through their runs. Chain them:
`by_score(by_area(records, least=500), least=0.9)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..config import Size
from ..masks import rle_decompress, rle_encode
from .candidates import Record
from .runs import from_rle


def by_area(records: Sequence[Record], least: float = 0, most: float = float("inf")) -> list[Record]:
    """Those of `least` to `most` pixels, both included."""
    _require_order("area", least, most)
    return [record for record in records if least <= record["area"] <= most]


def by_score(records: Sequence[Record], least: float, key: str = "predicted_iou") -> list[Record]:
    """Those whose `predicted_iou`, or `stability_score`, is at least so much."""
    if key not in ("predicted_iou", "stability_score"):
        raise ValueError(f"key {key!r} is no score; use predicted_iou or stability_score")
    return [record for record in records if record[key] >= least]


def by_box(records: Sequence[Record], box_xyxy: Sequence[float], least_share: float = 1.0) -> list[Record]:
    """Those with at least this share of their own box inside `box_xyxy`, 1 for wholly inside."""
    x0, y0, x1, y1 = box_xyxy
    _require_order("box x", x0, x1)
    _require_order("box y", y0, y1)
    if not 0 < least_share <= 1:
        raise ValueError(f"least_share {least_share} must lie in (0, 1]")

    def share(record: Record) -> float:
        left, top, width, height = record["bbox"]  # of outermost pixels: one more pixel is covered
        inside_w = min(left + width + 1, x1) - max(left, x0)
        inside_h = min(top + height + 1, y1) - max(top, y0)
        return max(inside_w, 0) * max(inside_h, 0) / ((width + 1) * (height + 1))

    return [record for record in records if share(record) >= least_share]


def away_from_border(records: Sequence[Record], image_hw: Size, margin: int = 1) -> list[Record]:
    """Those that keep `margin` pixels free between themselves and the picture's border: whole things, not cut off."""
    if margin < 0:
        raise ValueError(f"margin {margin} must be at least 0")
    height, width = image_hw
    return [
        record
        for record in records
        if min(record["bbox"][:2]) >= margin
        and record["bbox"][0] + record["bbox"][2] < width - margin
        and record["bbox"][1] + record["bbox"][3] < height - margin
    ]


def without_duplicates(records: Sequence[Record], most_iou: float = 0.9) -> list[Record]:
    """Those that share no more than `most_iou` of their pixels with an earlier one that stays."""
    if not 0 <= most_iou <= 1:
        raise ValueError(f"most_iou {most_iou} must lie in [0, 1]")
    runs = [runs_of(record) for record in records]
    gone: set[int] = set()
    for first, second in combinations(range(len(records)), 2):
        if not {first, second} & gone and _may_overlap(records[first], records[second], most_iou):
            shared = overlap(runs[first], runs[second])
            union = records[first]["area"] + records[second]["area"] - shared
            if union and shared / union > most_iou:
                gone.add(second)
    return [record for index, record in enumerate(records) if index not in gone]


def runs_of(record: Record) -> np.ndarray:
    """Runs of a record's mask, whichever form it has."""
    mask: Any = record["segmentation"]
    if not isinstance(mask, dict):
        return from_rle(rle_encode(mask))
    return from_rle(rle_decompress(mask) if isinstance(mask["counts"], str | bytes) else mask)


def overlap(runs: np.ndarray, others: np.ndarray) -> int:
    """Pixels that two masks of one picture share."""
    if not len(runs) or not len(others):
        return 0
    return int((_covered(others, runs[:, 1]) - _covered(others, runs[:, 0])).sum())


def _covered(runs: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How many mask pixels lie before each place."""
    lengths = runs[:, 1] - runs[:, 0]
    before = np.concatenate([[0], np.cumsum(lengths)])
    index = np.searchsorted(runs[:, 0], places, side="right")
    inside = np.minimum(places - runs[index - 1, 0], lengths[index - 1])
    return np.where(index > 0, before[index - 1] + inside, 0)


def _may_overlap(one: Record, other: Record, iou: float) -> bool:
    """Whether the areas alone allow such an overlap: a cheap question before the dear one."""
    return min(one["area"], other["area"]) > iou * max(one["area"], other["area"]) or iou == 0


def _require_order(what: str, low: float, high: float) -> None:
    if not low <= high:
        raise ValueError(f"{what} from {low} to {high} is empty; the first must not be larger")
