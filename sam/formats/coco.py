"""COCO instance annotations: run lengths, which are exact, or polygons, whose holes are joined to their rim by bridges.

Source: Lin et al. 2014 and https://cocodataset.org/#format-data. Colour and visibility stand in `attributes`, where
CVAT and Datumaro keep theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

from ..masks import RLE, CompressedRLE, rle_area, rle_compress, rle_decompress, rle_window
from ..polygons import keyhole
from .session import Files, MaskObject, Picture, Session, check_mask, class_colour, require_size
from .shapes import object_outline, painted, ring_of
from .text import decode_json, encode_json, entry, number


def write(session: Session, *, polygons: bool = False, tolerance: float | None = None) -> Files:
    """NAME.coco.json; with `polygons` within `tolerance` pixels (`sam.polygons.outline`) instead of run lengths."""
    picture, classes = session.picture, session.classes
    shape = partial(_polygons, tolerance=tolerance) if polygons else _run_lengths
    document = {
        "info": {"description": picture.name, "version": "1.0"},
        "licenses": [],
        "images": [{"id": 1, "file_name": picture.name, "width": picture.width, "height": picture.height}],
        "categories": [{"id": 1 + index, "name": label, "supercategory": ""} for label, index in classes.items()],
        "annotations": [
            _annotation(index, item, classes[item.label], shape(item)) for index, item in enumerate(session.objects)
        ],
    }
    return {f"{picture.stem}.coco.json": encode_json(document)}


def _annotation(index: int, item: MaskObject, kind: int, segmentation: Any) -> dict[str, Any]:
    score = {} if item.score is None else {"score": number(item.score, 4)}
    return {
        "id": 1 + index,
        "image_id": 1,
        "category_id": 1 + kind,
        "segmentation": segmentation,
        "area": rle_area(item.mask),
        "bbox": list(rle_window(item.mask)),
        "iscrowd": 0,
        **score,
        "attributes": {"colour": item.colour, "visible": item.visible},
    }


def _run_lengths(item: MaskObject) -> CompressedRLE:
    return rle_compress(item.mask)


def _polygons(item: MaskObject, tolerance: float | None) -> list[list[float]]:
    rings = [keyhole(polygon) for polygon in object_outline(item, tolerance).polygons]
    return [[number(value) for value in ring.ravel().tolist()] for ring in rings]


def read(data: bytes, picture: Picture | None = None) -> Session:
    """The objects of one picture: the file's only one, or the one that has `picture`'s name.

    `ValueError` names the annotation at fault. Annotations keep their order.
    """
    document = decode_json(data)
    with entry("COCO"):
        image = _image(document["images"], picture)
        found = Picture(image["file_name"], image["width"], image["height"])
        require_size(found, picture)
        classes = _classes(document)
        chosen = [item for item in document["annotations"] if item["image_id"] == image["id"]]
        return Session(picture or found, tuple(_object(item, found, classes) for item in chosen))


def read_all(data: bytes) -> list[Session]:
    """The objects of every picture in a file; `ValueError` as of `read`."""
    document = decode_json(data)
    with entry("COCO"):
        classes, owned = _classes(document), defaultdict(list)
        for item in document["annotations"]:
            owned[item["image_id"]].append(item)
        found = [
            (image["id"], Picture(image["file_name"], image["width"], image["height"])) for image in document["images"]
        ]
        return [Session(picture, tuple(_object(item, picture, classes) for item in owned[id])) for id, picture in found]


def _classes(document: Mapping[str, Any]) -> dict[Any, tuple[str, str]]:
    """Label and colour by category."""
    categories = enumerate(document.get("categories") or [])
    return {item["id"]: (str(item["name"]), class_colour(index)) for index, item in categories}


def _image(images: list[Mapping[str, Any]], picture: Picture | None) -> Mapping[str, Any]:
    if len(images) == 1:
        return images[0]
    for image in images:
        if picture is not None and image["file_name"].replace("\\", "/").split("/")[-1] == picture.name:
            return image
    wanted = f"none is called {picture.name!r}" if picture else "say which one"
    raise ValueError(f"it describes {len(images)} pictures, and {wanted}")


def _object(item: Mapping[str, Any], picture: Picture, classes: Mapping[Any, tuple[str, str]]) -> MaskObject:
    with entry(f"annotation {item.get('id')}"):
        if item["category_id"] not in classes:
            raise ValueError(f"its category {item['category_id']} is not listed")
        (label, colour), more = classes[item["category_id"]], item.get("attributes") or {}
        mask = _mask(item["segmentation"], picture)
        check_mask(mask, picture)
        return MaskObject(label, mask, more.get("colour", colour), more.get("visible", True), item.get("score"))


def _mask(segmentation: Any, picture: Picture) -> RLE:
    if isinstance(segmentation, list):
        if not segmentation:
            raise ValueError("its segmentation is empty")
        return painted([ring_of(ring, picture) for ring in segmentation], picture)
    if isinstance(segmentation["counts"], list):
        return {"size": list(segmentation["size"]), "counts": segmentation["counts"]}
    return rle_decompress(segmentation)
