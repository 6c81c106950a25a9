"""Folders of pictures with layered masks: `SOURCE/NAME.webp|jpg|jpeg|png` and `SOURCE/NAME.0.png, NAME.1.png ...`.

A layer is an indexed or grey PNG, 8 or 16 bit, as large as the picture: 0 is no segment, 1..N are segments.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .record import PICTURES, Record, opened

LAYER_NAME = re.compile(r"(?P<picture>.+)\.(?P<index>\d+)\.png", re.IGNORECASE)
LAYER_MODES = ("P", "L", "1", "I", "I;16", "I;16B")
"""Pillow's modes of one whole number a pixel."""


@dataclass(frozen=True)
class LayeredRecord(Record):
    """A picture whose layers are files beside it, in order."""

    layer_paths: tuple[Path, ...] = ()

    def layers(self) -> tuple[np.ndarray, ...]:
        return tuple(self._read(path) for path in self.layer_paths)

    def _read(self, path: Path) -> np.ndarray:
        with opened(path) as image:
            if image.mode not in LAYER_MODES:
                raise ValueError(f"{path}: a layer holds one id a pixel (an indexed or grey PNG), this is {image.mode}")
            ids = np.array(image).astype(np.int32)
        self.require_size(ids.shape, path)
        return ids


def find_layered(folder: Path) -> list[LayeredRecord]:
    """Every picture with layers below `folder`; empty where there is none.

    `ValueError` for layers without their picture, in a folder where others have theirs, and for two pictures that
    would share layers.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in folder.rglob("*"):
        if path.suffix.lower() in PICTURES:
            by_folder[path.parent].append(path)
    return [record for paths in by_folder.values() for record in _pair(paths)]


def _pair(paths: Iterable[Path]) -> list[LayeredRecord]:
    """The records of one folder's files."""
    pictures: dict[str, list[Path]] = defaultdict(list)
    layers: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in paths:
        pictures[path.stem].append(path)
        if match := LAYER_NAME.fullmatch(path.name):
            layers[match["picture"]][int(match["index"])] = path
    # NAME.0.png is a layer of NAME, so it is no picture although it would be one by its suffix.
    found = {name: tuple(path for _, path in sorted(layers[name].items())) for name in layers if name in pictures}
    for name, layer_paths in found.items():
        if len(pictures[name]) > 1:
            raise ValueError(f"{layer_paths[0]}: a layer of each of {pictures[name]}; keep one of the pictures")
    if found:
        _require_pictures(pictures, layers)
    return [
        LayeredRecord(pictures[name][0], pictures[name][0].absolute().parent.name, name, layer_paths)
        for name, layer_paths in found.items()
    ]


def _require_pictures(pictures: dict[str, list[Path]], layers: dict[str, dict[int, Path]]) -> None:
    """`ValueError` for a layer whose picture is missing; NAME.2.png with layers of its own is none of NAME's."""
    lost = [path for name in layers if name not in pictures for path in layers[name].values()]
    lost = sorted(path for path in lost if path.stem not in layers)
    if lost:
        kinds = ", ".join(PICTURES)
        raise ValueError(f"{lost[0]}: there is no picture of that name beside it ({kinds}); add it, or remove this")
