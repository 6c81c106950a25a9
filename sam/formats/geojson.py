"""GeoJSON in pixels: one feature for each object, polygons with holes as QuPath and shapely read them.

Source: RFC 7946. x runs right and y down, as pixels do; `classification` is QuPath's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .session import Files, MaskObject, Session
from .shapes import object_outline
from .text import encode_json, number


def write(session: Session, *, tolerance: float | None = None) -> Files:
    """NAME.geojson; `tolerance` in pixels as in `sam.polygons.outline`."""
    features = [_feature(index, item, tolerance) for index, item in enumerate(session.objects)]
    document = {"type": "FeatureCollection", "features": features}
    return {f"{session.picture.stem}.geojson": encode_json(document)}


def _feature(index: int, item: MaskObject, tolerance: float | None) -> dict[str, Any]:
    found = object_outline(item, tolerance)
    polygons = [[_closed(ring) for ring in polygon] for polygon in found.polygons]
    many = len(polygons) > 1
    return {
        "type": "Feature",
        "id": index + 1,
        "geometry": {"type": "MultiPolygon" if many else "Polygon", "coordinates": polygons if many else polygons[0]},
        "properties": {
            "objectType": "annotation",
            "name": item.label,
            "classification": {"name": item.label, "color": [int(item.colour[at : at + 2], 16) for at in (1, 3, 5)]},
            "visible": item.visible,
            "score": None if item.score is None else number(item.score, 4),
            "error": number(found.error, 3),
        },
    }


def _closed(ring: np.ndarray) -> list[list[float]]:
    points = [[number(x), number(y)] for x, y in ring.tolist()]
    return [*points, points[0]]
