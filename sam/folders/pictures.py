"""Which pictures: files and folders become a sorted list, each with the name that its results get."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.record import Record
from ..large.sources import picture_hw

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, order=True)
class Picture:
    """A file, and its `name`: the path below the folder that was given, with forward slashes."""

    name: str
    path: Path

    def content_hash(self) -> str:
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def megapixels(self) -> float:
        """Millions of pixels, from the file's header; 0 for a file that is no picture, which `pixels` reports."""
        try:
            height, width = picture_hw(self.path)
        except ValueError:
            return 0.0
        return height * width / 1e6

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright; `ValueError` names a file that is no picture."""
        if not self.path.stat().st_size:
            raise ValueError(f"{self.path}: the file is empty (0 bytes); replace or remove it")
        return Record(self.path, "", self.name).image()


def find_pictures(paths: Sequence[str | Path]) -> list[Picture]:
    """All pictures among files and below folders, sorted by name.

    Hidden files and folders are left out. `ValueError` for a path that is not there, for no picture at all, and for
    two pictures of one name.
    """
    found: dict[str, Picture] = {}
    for path in map(Path, paths):
        for picture in _pictures(path):
            other = found.setdefault(picture.name, picture)
            if other.path.absolute() != picture.path.absolute():
                raise ValueError(f"{other.path} and {picture.path} would both be called {picture.name}; run them apart")
    if not found:
        given = ", ".join(map(str, paths)) or "no path"
        raise ValueError(f"no picture in {given}; looked for files that end in {', '.join(SUFFIXES)}")
    return sorted(found.values())


def _pictures(path: Path) -> Iterator[Picture]:
    if path.is_file():
        yield Picture(path.name, path)
    elif path.is_dir():
        for file in path.rglob("*"):
            name = file.relative_to(path)
            if file.suffix.lower() in SUFFIXES and file.is_file() and not any(p.startswith(".") for p in name.parts):
                yield Picture(name.as_posix(), file)
    else:
        raise ValueError(f"{path}: no such file or folder")
