"""What to ask of each picture: boxes or points from a CSV file, or boxes from a COCO file."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Mode = Literal["everything", "boxes", "points"]
BOX_COLUMNS, POINT_COLUMNS = ("file", "x0", "y0", "x1", "y1"), ("file", "x", "y")


@dataclass(frozen=True)
class Prompt:
    """One object to find, in pixels of the upright picture: a `box` XYXY, or `points` x, y, label (1 in, 0 out)."""

    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float, int], ...] = ()
    category: str = ""


Prompts = Mapping[str, Sequence[Prompt]]
"""By the picture's name."""


def read_prompts(path: Path, mode: Mode) -> Prompts:
    """Prompts of a file: `.json` is COCO's boxes; CSV has a heading and, for boxes, the columns file, x0, y0, x1, y1.

    For points the columns are file, x, y and, if wanted, label (1 without it) and object: rows of a picture with the
    same object belong together, without it each row is an object of its own. A column category names what is found.
    `ValueError` names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: prompts cannot be read ({error})") from error
    if path.suffix.lower() == ".json":
        if mode != "boxes":
            raise ValueError(f"{path}: a COCO file has boxes; ask with --mode boxes, or give points as CSV")
        return _coco_boxes(path, text)
    return _csv_boxes(path, text) if mode == "boxes" else _csv_points(path, text)


def _coco_boxes(path: Path, text: str) -> Prompts:
    try:
        document = json.loads(text)
        names = {image["id"]: image["file_name"] for image in document["images"]}
        categories = {entry["id"]: str(entry["name"]) for entry in document.get("categories", [])}
        found = defaultdict(list)
        for annotation in document["annotations"]:
            x, y, width, height = map(float, annotation["bbox"])
            box = (x, y, x + width, y + height)
            category = categories.get(annotation.get("category_id"), "")
            found[names[annotation["image_id"]]].append(Prompt(box, category=category))
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not COCO annotations with boxes ({type(error).__name__}: {error})") from error


def _csv_boxes(path: Path, text: str) -> Prompts:
    found = defaultdict(list)
    for line, row in _rows(path, text, BOX_COLUMNS):
        x0, y0, x1, y1 = (_number(path, line, row, column) for column in BOX_COLUMNS[1:])
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"{path}, line {line}: the box {x0:g}, {y0:g}, {x1:g}, {y1:g} is empty; x0 < x1, y0 < y1")
        found[row["file"]].append(Prompt((x0, y0, x1, y1), category=row.get("category") or ""))
    return found


def _csv_points(path: Path, text: str) -> Prompts:
    objects: dict[tuple[str, str], list[tuple[float, float, int]]] = defaultdict(list)
    categories: dict[tuple[str, str], str] = {}
    for line, row in _rows(path, text, POINT_COLUMNS):
        label = row.get("label") or "1"
        if label not in ("0", "1"):
            raise ValueError(f"{path}, line {line}: label {label!r} must be 1 (in the object) or 0 (outside)")
        key = (row["file"], row.get("object") or f"line {line}")
        objects[key].append((_number(path, line, row, "x"), _number(path, line, row, "y"), int(label)))
        categories[key] = row.get("category") or categories.get(key, "")
    found = defaultdict(list)
    for key, points in objects.items():
        found[key[0]].append(Prompt(points=tuple(points), category=categories[key]))
    return found


def _rows(path: Path, text: str, columns: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    missing = [column for column in columns if column not in (reader.fieldnames or [])]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; the first line must name {', '.join(columns)}")
    return [(reader.line_num, row) for row in reader]


def _number(path: Path, line: int, row: dict[str, Any], column: str) -> float:
    try:
        return float(row[column])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}, line {line}: {column} is {row[column]!r}, not a number") from error
