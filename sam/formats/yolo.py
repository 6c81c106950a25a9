"""YOLO segmentation: one line for each object, a class and one polygon in parts of the picture; and its dataset's YAML.

The format knows neither holes nor parts: they are joined by bridges, as Ultralytics' own converter does. Its readers
scale points, drop or round fractions and draw with OpenCV, so points lie in a mask's outermost pixels.
Source: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from ..masks import RLE
from ..polygons import keyhole
from .session import Files, MaskObject, Picture, Session, class_colour
from .shapes import drawn, object_outline, ring_of
from .text import entry, fixed

DECIMALS = 6


def write(session: Session, *, tolerance: float | None = None, labels: Sequence[str] | None = None) -> Files:
    """labels/NAME.txt and data.yaml; the picture's place is images/. `labels`: of all pictures of a dataset."""
    labels = session.labels if labels is None else labels
    classes = {label: index for index, label in enumerate(labels)}
    lines = [f"{classes[item.label]} {_polygon(item, session.picture, tolerance)}\n" for item in session.objects]
    names = "".join(f"  {index}: {json.dumps(label, ensure_ascii=False)}\n" for index, label in enumerate(labels))
    yaml = f"path: .\ntrain: images\nval: images\nnames:{'' if labels else ' {}'}\n{names}"
    return {f"labels/{session.picture.stem}.txt": "".join(lines).encode(), "data.yaml": yaml.encode()}


def _polygon(item: MaskObject, picture: Picture, tolerance: float | None) -> str:
    rings = [ring for polygon in object_outline(item, tolerance, "pixels").polygons for ring in polygon]
    ring = keyhole(rings)
    ring = np.concatenate([ring, *[ring[-1:]] * (3 - len(ring))])
    return " ".join(f"{fixed(x / picture.width, DECIMALS)} {fixed(y / picture.height, DECIMALS)}" for x, y in ring)


def read(data: bytes, picture: Picture, names: Sequence[str] = ()) -> Session:
    """The objects of one picture's label file; `names` by class (`read_names`). Lines of five numbers are boxes.

    `ValueError` names the line at fault.
    """
    objects = []
    for index, line in enumerate(_text(data).split("\n")):
        if line.strip():
            with entry(f"line {index + 1}"):
                kind, mask = _line(line.split(), picture)
                label = names[kind] if kind < len(names) else f"class {kind}"
                objects.append(MaskObject(label, mask, class_colour(kind)))
    return Session(picture, tuple(objects))


def _line(words: list[str], picture: Picture) -> tuple[int, RLE]:
    if not words[0].isdecimal():
        raise ValueError(f"it starts with {words[0]!r} instead of a class's number")
    values = np.array([float(word) for word in words[1:]])
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise ValueError(f"{len(values)} numbers after the class; a polygon has 3 pairs or more, a box 4 numbers")
    if not ((values >= -0.001) & (values <= 1.001)).all():
        raise ValueError("a number outside of 0 to 1; coordinates are parts of the picture's width and height")
    if len(values) == 4:
        (x, y), (width, height) = values[:2], values[2:] / 2 - 1e-6
        values = np.array([x - width, y - height, x + width, y - height, x + width, y + height, x - width, y + height])
    return int(words[0]), drawn([ring_of(values.reshape(-1, 2) * (picture.width, picture.height), picture)], picture)


def read_names(data: bytes) -> list[str]:
    """The class names of a data.yaml: `names` as a list or as numbered lines. `ValueError` if there are none."""
    text = _text(data)
    match = re.search(r"^names:[ \t]*(?P<line>\[.*?\])?", text, re.MULTILINE | re.DOTALL)
    if match is None:
        raise ValueError("the YAML has no 'names'; it lists the classes")
    if match["line"]:
        return [_plain(name) for name in re.findall(r"\"(?:\\.|[^\"])*\"|'[^']*'|[^,\[\]\s][^,\[\]]*", match["line"])]
    found = {}
    for line in text[match.end() :].split("\n")[1:]:
        item = re.fullmatch(r"\s*(?:(?P<number>\d+):|-)\s+(?P<name>.+?)\s*", line)
        if item is None:
            break
        found[int(item["number"] or len(found))] = _plain(item["name"])
    return [found.get(index, f"class {index}") for index in range(max(found, default=-1) + 1)]


def _plain(name: str) -> str:
    """A YAML scalar without its quotes."""
    name = name.strip()
    return json.loads(name) if name.startswith('"') else name.strip("'")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start}); save it as UTF-8") from error
