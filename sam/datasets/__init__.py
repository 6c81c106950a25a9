"""Pictures with masks, whatever their layout: layered folders, COCO JSON and SA-1B all become `Record`s.

>>> for record in find_records("pictures"):
...     image, layers = record.image(), record.layers()
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from .coco import CocoRecord, coco_records, is_coco
from .layered import LayeredRecord, find_layered
from .record import PICTURES, UNKNOWN_ZERO, Record, group_by_source
from .sa1b import Sa1bRecord, read_json, sa1b_record

__all__ = [
    "UNKNOWN_ZERO",
    "CocoRecord",
    "Format",
    "LayeredRecord",
    "Record",
    "Sa1bRecord",
    "find_records",
    "group_by_source",
]

Format = Literal["layered", "coco", "sa1b"]
LAYOUTS = (
    "NAME.webp|jpg|jpeg|png with NAME.0.png, NAME.1.png ... (layered), "
    "a JSON file with 'images' and 'annotations' and its pictures beside it or in images/ (coco), "
    "NAME.jpg with NAME.json (sa1b)"
)


def find_records(folder: str | Path, format: Format | None = None, *, images: str | Path | None = None) -> list[Record]:
    """All pictures with masks below `folder`, sorted by path.

    folder: may also be one COCO JSON file. format: only this one; by default each file tells its own, so a folder may
    mix them. images: where COCO's pictures lie, if not beside their JSON. Raises `ValueError` when there is no
    picture with masks, naming the layouts that are understood, and for files that contradict themselves.
    """
    folder, images = Path(folder), None if images is None else Path(images)
    if format not in (None, *get_args(Format)):
        raise ValueError(f"format {format!r} is unknown; use one of {', '.join(get_args(Format))}")
    records: list[Record] = []
    if format in (None, "layered") and folder.is_dir():
        records += find_layered(folder)
    if format != "layered":
        layered = {record.image_path for record in records}
        records += (record for record in _from_json(folder, format, images) if record.image_path not in layered)
    if not records:
        raise ValueError(f"no picture with masks in {folder}; expected {LAYOUTS}")
    return sorted(records, key=lambda record: record.image_path)


def _from_json(folder: Path, format: Format | None, images: Path | None) -> Iterator[Record]:
    """A JSON file beside a picture of its name is SA-1B's, any other may be COCO's."""
    for path in sorted(folder.rglob("*.json")) if folder.is_dir() else [folder]:
        picture = next((p for suffix in PICTURES if (p := path.with_suffix(suffix)).exists()), None)
        if picture is not None and format != "coco":
            yield sa1b_record(path, picture)
        elif picture is None and format != "sa1b":
            document = read_json(path)
            if is_coco(document):
                yield from coco_records(path, document, images)
            elif path == folder:
                raise ValueError(f"{path}: COCO annotations are an object with the lists 'images' and 'annotations'")
