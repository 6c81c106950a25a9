"""What others read: COCO for the whole run, or PNG masks, labelme, run lengths, outlines for every picture."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..checkpoint import whole_file
from ..formats import WRITERS as SESSION_WRITERS
from ..formats import MaskObject, Picture, Session, labelme, png
from ..masks import rle_decode, rle_decompress
from .answers import Answer, Mask, write_json

COCO_FILE = "annotations.json"
SUFFIXES = {"svg": ".svg", "geojson": ".geojson", "cvat": ".cvat.xml", "numpy": ".npz"}
"""Of the formats that `sam.formats` writes as one file for a picture."""
METADATA = ("id", "area", "bbox_x0", "bbox_y0", "bbox_w", "bbox_h", "predicted_iou", "stability_score", "category")


def write_png(answer: Answer, picture: Path, output: Path) -> None:
    """A folder per picture with a black and white PNG per mask, and metadata.csv, as Meta's `amg.py` has it."""
    folder = png_target(answer.name, output)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        for number, mask in enumerate(answer.masks):
            pixels = rle_decode(rle_decompress(mask.segmentation)) * np.uint8(255)
            (part / f"{number}.png").write_bytes(png.encode(pixels))
        (part / "metadata.csv").write_text(_metadata(answer), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_labelme(answer: Answer, picture: Path, output: Path) -> None:
    """A labelme file per picture; masks are kept to the pixel, as shapes of the type `mask`."""
    target = labelme_target(answer.name, output)
    write_json(
        target,
        {
            "version": "5.5.0",
            "flags": {},
            "shapes": [_shape(mask) for mask in answer.masks if mask.area],
            "imagePath": Path(os.path.relpath(picture, target.parent)).as_posix(),
            "imageData": None,
            "imageHeight": answer.hw[0],
            "imageWidth": answer.hw[1],
        },
    )


def write_rle(answer: Answer, picture: Path, output: Path) -> None:
    """A JSON file per picture: its name, its size, and its masks as COCO's run lengths with scores."""
    document = {
        "image": {"file_name": answer.name, "height": answer.hw[0], "width": answer.hw[1]},
        "annotations": [asdict(mask) for mask in answer.masks],
    }
    write_json(json_target(answer.name, output), document)


def session_writer(format: str) -> tuple[Callable[[Answer, Path, Path], None], Callable[[str, Path], Path]]:
    """What writes one file for a picture in one of `sam.formats`, and where; masks without a pixel are left out."""

    def write(answer: Answer, picture: Path, output: Path) -> None:
        path = target(answer.name, output)
        shown = Picture(Path(answer.name).name, answer.hw[1], answer.hw[0])
        (data,) = SESSION_WRITERS[format](Session(shown, tuple(map(_object, filter(_area, answer.masks))))).values()
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(data)

    def target(name: str, output: Path) -> Path:
        return (output / name).with_suffix(SUFFIXES[format])

    return write, target


def _area(mask: Mask) -> int:
    return mask.area


def json_target(name: str, output: Path) -> Path:
    """The file that describes a picture; its own suffix stays, so that a.png and a.jpg do not collide."""
    return output / f"{name}.json"


def labelme_target(name: str, output: Path) -> Path:
    """Where labelme looks for what belongs to a picture: its name with another suffix."""
    return (output / name).with_suffix(".json")


def png_target(name: str, output: Path) -> Path:
    """The folder of a picture's masks."""
    return output / f"{name}.masks"


WRITERS: dict[str, tuple[Callable[[Answer, Path, Path], None], Callable[[str, Path], Path]]] = {
    "png": (write_png, png_target),
    "labelme": (write_labelme, labelme_target),
    "rle": (write_rle, json_target),
    **{format: session_writer(format) for format in SUFFIXES},
}
"""Formats with something for every picture: what writes it, and where. COCO's is written once, by `write_coco`."""


def write_coco(answers: Callable[[], Iterable[Answer]], output: Path) -> Path:
    """One file for the whole dataset; `answers` is called three times, so that they need not be held at once."""
    names = sorted({mask.category for answer in answers() for mask in answer.masks})
    categories = {name: number for number, name in enumerate(names or [""], start=1)}
    path = output / COCO_FILE
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"images": [')
        _write_list(file, (_coco_image(number, answer) for number, answer in enumerate(answers(), start=1)))
        file.write('], "annotations": [')
        _write_list(file, _coco_annotations(answers(), categories))
        listed = [{"id": number, "name": name or "object"} for name, number in categories.items()]
        file.write(f'], "categories": {json.dumps(listed, ensure_ascii=False)}}}\n')
    return path


def _coco_image(number: int, answer: Answer) -> dict[str, Any]:
    return {"id": number, "file_name": answer.name, "height": answer.hw[0], "width": answer.hw[1]}


def _coco_annotations(answers: Iterable[Answer], categories: dict[str, int]) -> Iterable[dict[str, Any]]:
    masks = ((image, mask) for image, answer in enumerate(answers, start=1) for mask in answer.masks)
    for number, (image, mask) in enumerate(masks, start=1):
        scores = {"predicted_iou": mask.predicted_iou}
        if mask.stability_score is not None:
            scores["stability_score"] = mask.stability_score
        yield {
            "id": number,
            "image_id": image,
            "category_id": categories[mask.category],
            "segmentation": mask.segmentation,
            "area": mask.area,
            "bbox": mask.bbox,
            "iscrowd": 0,
            **scores,
        }


def _write_list(file: TextIO, items: Iterable[Any]) -> None:
    for number, item in enumerate(items):
        file.write((",\n" if number else "\n") + json.dumps(item, ensure_ascii=False))


def _metadata(answer: Answer) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(METADATA)
    for number, mask in enumerate(answer.masks):
        table.writerow([number, mask.area, *mask.bbox, mask.predicted_iou, mask.stability_score, mask.category])
    return text.getvalue()


def _shape(mask: Mask) -> dict[str, Any]:
    return {**labelme.bitmap(_object(mask)), "description": f"predicted IoU {mask.predicted_iou:.3f}"}


def _object(mask: Mask) -> MaskObject:
    score = min(max(mask.predicted_iou, 0.0), 1.0)
    return MaskObject(mask.category or "object", rle_decompress(mask.segmentation), score=score)
