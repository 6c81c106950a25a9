"""LabelMe's JSON: polygons, those of one object under one `group_id`, and exact bitmaps for objects with holes.

Source: https://github.com/wkentaro/labelme, `shape_to_mask`: points are drawn by Pillow, which drops fractions and
takes the outline's pixels in, so the points lie in a mask's outermost pixels.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

from ..masks import RLE, crop_to_rle, rle_crop, rle_decode, rle_encode
from . import png
from .session import Files, MaskObject, Picture, Session, class_colour, require_size
from .shapes import drawn, object_outline, ring_of
from .text import decode_json, encode_json, entry, number

VERSION = "5.5.0"
"""Of LabelMe, whose files look like this since 5.3; it reads no file without one."""


def write(session: Session, *, tolerance: float | None = None) -> Files:
    """NAME.json, to lie beside the picture."""
    groups = count(1)
    document = {
        "version": VERSION,
        "flags": {},
        "shapes": [shape for item in session.objects for shape in _shapes(item, next(groups), tolerance)],
        "imagePath": session.picture.name,
        "imageData": None,
        "imageHeight": session.picture.height,
        "imageWidth": session.picture.width,
    }
    return {f"{session.picture.stem}.json": encode_json(document)}


def _shapes(item: MaskObject, group: int, tolerance: float | None) -> list[dict[str, Any]]:
    polygons = object_outline(item, tolerance, "pixels").polygons
    if any(len(polygon) > 1 for polygon in polygons):
        return [bitmap(item, group)]
    return [_shape(item, group, "polygon", _points(polygon[0])) for polygon in polygons]


def _shape(
    item: MaskObject, group: int | None, kind: str, points: list[Any], mask: str | None = None
) -> dict[str, Any]:
    return {
        "label": item.label,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
    }


def _points(ring: np.ndarray) -> list[list[float]]:
    """At least three points, as LabelMe wants them: a single pixel is its centre three times."""
    points = [[number(x), number(y)] for x, y in ring.tolist()]
    return points + points[-1:] * (3 - len(points))


def bitmap(item: MaskObject, group: int | None = None) -> dict[str, Any]:
    """A shape that is exact to the pixel."""
    crop, (x, y, width, height) = rle_crop(item.mask)
    text = base64.b64encode(png.encode(crop.astype(np.uint8) * 255)).decode()
    return _shape(item, group, "mask", [[x, y], [x + width - 1, y + height - 1]], text)


def read(data: bytes, picture: Picture | None = None) -> Session:
    """The objects of a LabelMe file: shapes of one label and group are one. `ValueError` names the shape at fault."""
    document = decode_json(data)
    with entry("LabelMe"):
        found = Picture(document["imagePath"], document["imageWidth"], document["imageHeight"])
        require_size(found, picture)
        masks: dict[Any, RLE] = {}
        for index, shape in enumerate(document["shapes"]):
            with entry(f"shape {index + 1}"):
                group = index if shape.get("group_id") is None else ("group", shape["group_id"])
                key, mask = (shape["label"], group), _mask(shape, found)
                masks[key] = _union(masks[key], mask) if key in masks else mask
        classes = {label: index for index, label in enumerate(dict.fromkeys(label for label, _ in masks))}
        objects = [MaskObject(label, mask, class_colour(classes[label])) for (label, _), mask in masks.items()]
    return Session(picture or found, tuple(objects))


def _union(one: RLE, other: RLE) -> RLE:
    return rle_encode(rle_decode(one) | rle_decode(other))


def _mask(shape: Mapping[str, Any], picture: Picture) -> RLE:
    kind, points = shape.get("shape_type", "polygon"), shape["points"]
    if kind == "mask":
        return _placed(shape, picture)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return drawn([ring_of([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], picture)], picture)
    if kind in ("polygon", "oriented_rectangle"):
        return drawn([ring_of(points, picture)], picture)
    raise ValueError(f"a {kind!r} covers no area; only polygons, rectangles and masks become objects")


def _placed(shape: Mapping[str, Any], picture: Picture) -> RLE:
    (x, y), _ = shape["points"]
    crop = png.decode(base64.b64decode(shape["mask"], validate=True)) > 0
    return crop_to_rle(crop, int(x), int(y), picture.size)
