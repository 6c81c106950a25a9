"""What every dataset is read as: a picture and layers of segment ids, decoded from their files whenever asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..config import Size

UNKNOWN_ZERO = ("bsds500", "camvid")
"""Sources (by prefix) whose id 0 is unlabelled rather than outside: specks, and the void class."""
PICTURES = (".webp", ".jpg", ".jpeg", ".png")
"""Suffixes of pictures, lower case."""
ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is to be turned."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What its values ask for; 1 is upright. From 5 on, height and width change places."""


@dataclass(frozen=True)
class Record:
    """One picture with its segments; formats differ in `layers` and `categories`.

    `source` is the set it belongs to, by which sets are weighed and reported, and `name` its name therein. A record
    holds paths and annotations, never pixels: keep what you decode.
    """

    image_path: Path
    source: str
    name: str

    @property
    def zero_is_unknown(self) -> bool:
        """Whether id 0 is unlabelled and counts neither way; otherwise it is outside of every segment."""
        return self.source.startswith(UNKNOWN_ZERO)

    @property
    def categories(self) -> Mapping[tuple[int, int], str]:
        """(layer index, segment id) -> category name; empty where the files tell none."""
        return {}

    def image(self) -> np.ndarray:
        """H,W,3 uint8 RGB, upright by its EXIF orientation; `ValueError` names a file that is not a picture."""
        with opened(self.image_path) as file:
            return np.array(_to_rgb(_upright(file)))

    def layers(self) -> tuple[np.ndarray, ...]:
        """H,W int32 segment ids, as large as the picture; 0 is no segment. `ValueError` names a file at fault."""
        raise NotImplementedError

    def image_hw(self) -> Size:
        """Height and width of `image()`, from the file's header."""
        with opened(self.image_path) as file:
            return file.size if _orientation(file) >= 5 else file.size[::-1]  # Pillow says width, height

    def require_size(self, found_hw: Size, path: Path) -> None:
        """`ValueError` with both sizes where what `path` holds does not lie on the picture."""
        image_hw = self.image_hw()
        if tuple(found_hw) != image_hw:
            hint = ", which is the picture before its EXIF orientation" if tuple(found_hw) == image_hw[::-1] else ""
            raise ValueError(
                f"{path}: made for {found_hw[0]} x {found_hw[1]} pixels (height x width){hint}, but {self.image_path} "
                f"has {image_hw[0]} x {image_hw[1]}; masks and picture must have one size"
            )


def group_by_source(items: Iterable[Any]) -> dict[str, list[Any]]:
    """Records, or anything else with a `source`, by it; groups and members keep their order."""
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(item.source, []).append(item)
    return groups


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The picture file, closed afterwards; `ValueError` names a missing, damaged or foreign one."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such picture; put it there, or remove its masks") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # damaged PNGs are Pillow's SyntaxError
        raise ValueError(f"{path}: not a picture that can be read ({error}); replace or remove it") from error


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 where a damaged EXIF block says nothing, as browsers do."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow's readers of EXIF raise whatever they stumble over
        return 1
    return value if value in TURNS else 1


def _upright(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    return image if orientation == 1 else image.transpose(TURNS[orientation])


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip at 255
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    return image.convert("RGBA" if "transparency" in image.info else "RGB").convert("RGB")
