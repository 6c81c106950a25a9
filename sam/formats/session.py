"""What a person made, as plain data: a picture's name and size, and its objects in order, the lowest first.

The page's static/js/export/session.js is the same, and both write the same bytes. `write` and `read` are the format
that loses nothing, not even prompts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..masks import RLE, rle_area
from .text import decode_json, encode_json, entry, number, stem

FORMAT = "segment-anything-session"
VERSION = 1
LONGEST_LABEL = 200
COLOUR = re.compile("#[0-9a-f]{6}")

Files = dict[str, bytes]
"""What an export is: contents by file name; folders with a slash."""


@dataclass(frozen=True)
class Picture:
    """A picture's file name and its size in pixels, upright."""

    name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        if not (_is_whole(self.width) and _is_whole(self.height) and self.width > 0 and self.height > 0):
            raise ValueError(f"a picture of {self.width} x {self.height} has no pixels; give its width and height")
        check_text(self.name, "the picture's name")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), as run lengths have it."""
        return (self.height, self.width)

    @property
    def stem(self) -> str:
        """The name for files that belong to it: no folder, no suffix, nothing that a file system refuses."""
        return stem(self.name)


@dataclass(frozen=True)
class MaskObject:
    """One named mask.

    mask: run lengths of the whole picture. score: predicted IoU, 0 to 1. prompts: whatever the page asked with, kept
    as it is.
    """

    label: str
    mask: RLE
    colour: str = "#ff0000"
    visible: bool = True
    score: float | None = None
    prompts: Any = None

    def __post_init__(self) -> None:
        check_text(self.label, "a label")
        if not isinstance(self.colour, str) or not COLOUR.fullmatch(self.colour):
            raise ValueError(f"the colour {self.colour!r} is none; write it as #ff8800")
        if self.score is not None and not (isinstance(self.score, (int, float)) and 0 <= self.score <= 1):
            raise ValueError(f"the score {self.score!r} does not lie between 0 and 1")
        if not isinstance(self.visible, bool):
            raise ValueError(f"visible is {self.visible!r}; it is true or false")


@dataclass(frozen=True)
class Session:
    """A picture and its objects; `ValueError` names an object that does not lie on the picture or covers nothing."""

    picture: Picture
    objects: tuple[MaskObject, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", tuple(self.objects))
        for index, item in enumerate(self.objects):
            with entry(f"object {index + 1} ({item.label!r})"):
                check_mask(item.mask, self.picture)

    @property
    def labels(self) -> list[str]:
        """Every label once, by first use."""
        return list(self.classes)

    @property
    def classes(self) -> dict[str, int]:
        """Every label's number, from 0 on, by first use."""
        return {label: index for index, label in enumerate(dict.fromkeys(item.label for item in self.objects))}


def check_mask(mask: RLE, picture: Picture) -> None:
    """`ValueError` unless the runs fill a mask of the picture's size and cover a pixel."""
    if list(mask["size"]) != list(picture.size):
        height, width = mask["size"]
        raise ValueError(f"its mask is {width} x {height}, the picture {picture.width} x {picture.height}")
    counts = mask["counts"]
    if not all(_is_whole(count) and count >= 0 for count in counts) or sum(counts) != picture.width * picture.height:
        raise ValueError(f"its run lengths do not cover the picture's {picture.width * picture.height} pixels once")
    if not rle_area(mask):
        raise ValueError("its mask covers no pixel; remove it")


def check_text(text: Any, what: str) -> None:
    """`ValueError` unless `text` can stand in every format: 1 to 200 characters, none of them a control character."""
    if not isinstance(text, str) or not 1 <= len(text) <= LONGEST_LABEL:
        shown = f"{text[:40]!r}" if isinstance(text, str) else repr(text)
        raise ValueError(f"{what} is {shown}; it needs 1 to {LONGEST_LABEL} characters")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") or character in "\ufffe\uffff":
            raise ValueError(f"{what}, {text[:40]!r}, has U+{ord(character):04X}, which files cannot hold; rename it")


def palette_colour(index: int) -> str:
    """Colour `index` of Pascal VOC's palette, 0 to 255: 0 is black, neighbours differ widely."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def class_colour(index: int) -> str:
    """The colour that objects of a class get when they are imported."""
    return palette_colour(1 + index % 254)


def write(session: Session) -> Files:
    """NAME.session.json."""
    picture = {"name": session.picture.name, "width": session.picture.width, "height": session.picture.height}
    objects = [
        {
            "label": item.label,
            "colour": item.colour,
            "visible": item.visible,
            "score": None if item.score is None else number(item.score, 4),
            "prompts": item.prompts,
            "mask": {"size": list(item.mask["size"]), "counts": list(item.mask["counts"])},
        }
        for item in session.objects
    ]
    document = {"format": FORMAT, "version": VERSION, "picture": picture, "objects": objects}
    return {f"{session.picture.stem}.session.json": encode_json(document)}


def read(data: bytes, picture: Picture | None = None) -> Session:
    """The session of a NAME.session.json; `ValueError` names what is wrong with it, or that it is another picture's."""
    document = decode_json(data)
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise ValueError(f"not a session: its 'format' is not {FORMAT!r}")
    if document.get("version") != VERSION:
        raise ValueError(f"a session of version {document.get('version')!r}; this reads version {VERSION}")
    with entry("the session"):
        named = document["picture"]
        found = Picture(named["name"], named["width"], named["height"])
        require_size(found, picture)
        objects = [_object(index, item) for index, item in enumerate(document["objects"])]
    return Session(picture or found, tuple(objects))


def require_size(found: Picture, picture: Picture | None) -> None:
    """`ValueError` with both sizes where masks were made for another picture than the one that is open."""
    if picture is not None and found.size != picture.size:
        raise ValueError(
            f"made for {found.name!r} of {found.width} x {found.height} pixels, but {picture.name!r} has "
            f"{picture.width} x {picture.height}; open the picture that it was made for"
        )


def _object(index: int, item: Mapping[str, Any]) -> MaskObject:
    with entry(f"object {index + 1}"):
        mask: RLE = {"size": list(item["mask"]["size"]), "counts": list(item["mask"]["counts"])}
        return MaskObject(item["label"], mask, item["colour"], item["visible"], item["score"], item["prompts"])


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
