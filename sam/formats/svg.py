"""SVG paths: one for each object, holes and parts included, smooth within a tolerance, or exact along the pixels.

Source: https://www.w3.org/TR/SVG2/paths.html. Each path states its error in pixels as `data-error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..curves import fit_ring, flatten_curves
from ..masks import mask_iou, rle_crop
from ..polygons import LEAST_IOU, TOLERANCES, fill, trace
from .session import Files, MaskObject, Session
from .text import attribute, content, number


@dataclass(frozen=True)
class Path:
    """The `d` of a path, its error in pixels, and its number of points, handles not counted."""

    d: str
    error: float
    points: int


def write(session: Session, *, tolerance: float | None = None) -> Files:
    """NAME.svg of the picture's size; `tolerance` as in `object_path`. Objects that are not visible are hidden."""
    picture = session.picture
    size = f'width="{picture.width}" height="{picture.height}" viewBox="0 0 {picture.width} {picture.height}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<svg xmlns="http://www.w3.org/2000/svg" {size}>']
    lines.append(f"<title>{content(picture.name)}</title>")
    lines += [_element(index, item, object_path(item, tolerance)) for index, item in enumerate(session.objects)]
    return {f"{picture.stem}.svg": "\n".join([*lines, "</svg>", ""]).encode()}


def _element(index: int, item: MaskObject, path: Path) -> str:
    hidden = "" if item.visible else ' display="none"'
    label, error = attribute(item.label), number(path.error, 3)
    return (
        f'<path id="object-{index + 1}" data-label={label} data-error="{error}" fill="{item.colour}" '
        f'fill-rule="evenodd"{hidden} d="{path.d}"><title>{content(item.label)}</title></path>'
    )


def object_path(item: MaskObject, tolerance: float | None = None) -> Path:
    """An object's path within `tolerance` pixels, 0 for straight lines along the pixels; by default the largest of
    `sam.polygons.TOLERANCES` that leaves an IoU of `LEAST_IOU`. `ValueError` for a negative tolerance."""
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ValueError(f"the tolerance is {tolerance} pixels; give 0 or more, or none to have it chosen")
    crop, (x, y, width, height) = rle_crop(item.mask)
    rings = trace(crop)
    for allowed in TOLERANCES if tolerance is None else (tolerance,):
        if allowed == 0:
            break
        fitted = [fit_ring(ring, allowed) for ring in rings]
        covered = fill([flatten_curves(curves) for curves, _ in fitted], width, height) > 0
        if tolerance is not None or mask_iou(covered, crop) >= LEAST_IOU:
            curves = [found + np.array([x, y]) for found, _ in fitted]
            error = max(error for _, error in fitted)
            return Path("".join(map(_curved, curves)), error, sum(map(len, curves)))
    return Path("".join(_straight(ring + np.array([x, y])) for ring in rings), 0.0, sum(map(len, rings)))


def _straight(ring: np.ndarray) -> str:
    """Along the pixels every line is level or upright."""
    points = ring.tolist()
    turns = (f"H{x}" if y == before else f"V{y}" for (_, before), (x, y) in pairwise(points))
    return f"M{points[0][0]} {points[0][1]}{''.join(turns)}Z"


def _curved(curves: np.ndarray) -> str:
    first = " ".join(str(number(value)) for value in curves[0, 0].tolist())
    parts = (" ".join(str(number(value)) for value in curve[1:].ravel().tolist()) for curve in curves)
    return f"M{first}{''.join('C' + part for part in parts)}Z"
