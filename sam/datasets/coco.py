"""COCO instance annotations: one JSON file with `images`, `annotations` and `categories` for many pictures.

Annotations with `iscrowd` (a group, not one thing) and annotations without segmentation are left out, and so are
pictures without any that remain. Source: Lin et al. 2014, and https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import Size
from .instances import Annotations, Instance, InstanceRecord


@dataclass(frozen=True)
class CocoRecord(InstanceRecord):
    """A picture and what one file for many pictures says of it."""

    annotated: Annotations = field(compare=False)

    def annotations(self) -> Annotations:
        return self.annotated


def is_coco(document: Any) -> bool:
    """Whether parsed JSON has the two lists that make it COCO's."""
    return isinstance(document, dict) and all(isinstance(document.get(key), list) for key in ("images", "annotations"))


def coco_records(json_path: Path, document: dict[str, Any], images: Path | None = None) -> list[CocoRecord]:
    """The records of one parsed file; their pictures lie in `images`, or where `picture_folders` looks.

    They keep the parsed annotations in memory. `ValueError` names the file, and a picture that is not there or that
    annotations name without its being listed; sizes and masks are checked when layers are decoded.
    """
    try:
        instances = _instances(document)
        entries = {entry["id"]: entry for entry in document["images"]}
        unknown = sorted(map(str, instances.keys() - entries.keys()))
        if unknown:
            raise ValueError(f"annotations name images that it does not list, e.g. image_id {unknown[0]}; remove them")
        return [_record(json_path, entry, instances[key], images) for key, entry in entries.items() if key in instances]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{json_path}: not complete COCO annotations ({type(error).__name__}: {error})") from error
    except ValueError as error:
        raise ValueError(f"{json_path}: {error}") from error


def picture_folders(json_path: Path, images: Path | None = None) -> list[Path]:
    """Where the pictures may lie: `images`, or beside the file, in `images/`, or in COCO's own `../SPLIT/`."""
    if images is not None:
        return [images]
    beside, above = json_path.parent, json_path.parent.parent
    return [beside, beside / "images", above / json_path.stem.rpartition("_")[2], above / "images"]


def _instances(document: dict[str, Any]) -> dict[Any, list[Instance]]:
    """Usable annotations by the picture's id."""
    names = {category["id"]: str(category["name"]) for category in document.get("categories") or []}
    by_picture = defaultdict(list)
    for annotation in document["annotations"]:
        if annotation.get("segmentation") and not annotation.get("iscrowd"):
            name = names.get(annotation.get("category_id"), "")
            by_picture[annotation["image_id"]].append(Instance(annotation["segmentation"], name))
    return by_picture


def _record(json_path: Path, entry: dict[str, Any], instances: list[Instance], images: Path | None) -> CocoRecord:
    folders = picture_folders(json_path, images)
    folder = next((folder for folder in folders if (folder / entry["file_name"]).is_file()), None)
    if folder is None:
        looked = ", ".join(map(str, folders))
        raise ValueError(f"its picture {entry['file_name']} is in none of {looked}; say where (images=, --images)")
    source = (folder.absolute().parent if folder.name == "images" else folder.absolute()).name
    name = Path(entry["file_name"]).with_suffix("").as_posix()
    annotated = Annotations(tuple(instances), stated_hw(entry))
    return CocoRecord(folder / entry["file_name"], source, name, json_path, annotated)


def stated_hw(entry: dict[str, Any]) -> Size | None:
    """(height, width) of an `images` entry, None where it has none."""
    return (int(entry["height"]), int(entry["width"])) if {"height", "width"} <= entry.keys() else None
