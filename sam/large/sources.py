"""Pictures read by windows: an array, or a file of which only a stated number of bytes may lie in memory.

Files go through libvips (`pip install ".[large]"`): it reads windows of tiled TIFFs as they are; other formats, which
can be read from top to bottom only, are decoded once, into memory or, above the limit, into a temporary file. Without
libvips, Pillow decodes what fits.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ..config import Size
from ..datasets.record import Record, opened
from ..masks import Window
from ..predictor import require_picture

LIMIT_BYTES = 256 * 2**20
"""How much of a decoded picture may lie in memory, unless the caller says otherwise."""
CHANNELS = 3


class Source(Protocol):
    """A picture of `hw` (height, width) whose pixels are read by windows. Several threads may read."""

    @property
    def hw(self) -> Size:
        """Height and width in pixels."""
        ...

    def read(self, window: Window) -> np.ndarray:
        """The pixels of a window that lies inside: (height, width, 3) uint8 RGB."""
        ...


class ArraySource:
    """A picture in memory, or a `numpy.memmap`: (H, W, 3) uint8 RGB; `ValueError` for anything else."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels if isinstance(pixels, np.memmap) else require_picture(pixels)
        require_picture(self._pixels[:1, :1])

    @property
    def hw(self) -> Size:
        """Height and width in pixels."""
        return self._pixels.shape[:2]

    def read(self, window: Window) -> np.ndarray:
        """A view of the array."""
        x, y, width, height = require_inside(window, self.hw)
        return self._pixels[y : y + height, x : x + width]


class RawFile:
    """Decoded pixels in a file, row by row, three bytes each: only what is asked for is read."""

    def __init__(self, file: BinaryIO, hw: Size) -> None:
        self.hw = hw
        self._file, self._lock = file, threading.Lock()

    def read(self, window: Window) -> np.ndarray:
        """The window's pixels, read from the file."""
        x, y, width, height = require_inside(window, self.hw)
        pixels = np.empty((height, width, CHANNELS), np.uint8)
        together = height if width == self.hw[1] else 1  # whole rows lie one after the other
        with self._lock:
            for row in range(0, height, together):
                self._file.seek(((y + row) * self.hw[1] + x) * CHANNELS)
                self._file.readinto(pixels[row : row + together])
        return pixels


class WindowedFile:
    """A file that libvips reads by windows."""

    def __init__(self, image: Any) -> None:
        self.hw = (image.height, image.width)
        self._image = image

    def read(self, window: Window) -> np.ndarray:
        """The window's pixels; `ValueError` where the file is damaged."""
        x, y, width, height = require_inside(window, self.hw)
        with _as_value_error(self._image.filename):
            data = self._image.crop(x, y, width, height).write_to_memory()
        return np.frombuffer(data, np.uint8).reshape(height, width, CHANNELS)


@contextmanager
def open_picture(path: str | Path, limit_bytes: int = LIMIT_BYTES) -> Iterator[Source]:
    """The picture of a file, upright, first page, as a `Source` until the block ends.

    limit_bytes: how much of its pixels may lie in memory. `ValueError` names a file that cannot be read, or is too
    large for Pillow where libvips is missing; `OSError` when the disk is too full for a temporary file. (Progressive
    JPEGs are the exception: their decoder holds the whole picture.)
    """
    path = Path(path)
    if limit_bytes < 1:
        raise ValueError(f"limit_bytes {limit_bytes} must be positive")
    vips = _vips()
    if vips is None:
        yield _with_pillow(path, limit_bytes)
        return
    with _as_value_error(path):
        image = _upright_rgb(vips.Image.new_from_file(str(path), fail_on="error"))
        windowed = "tile-width" in image.get_fields()
        size, pixels = (image.height, image.width), image.height * image.width
    if windowed:
        yield WindowedFile(image)
    elif pixels * CHANNELS <= limit_bytes:
        with _as_value_error(path):
            data = image.write_to_memory()
        yield ArraySource(np.frombuffer(data, np.uint8).reshape(*size, CHANNELS))
    else:
        with tempfile.NamedTemporaryFile(prefix="picture-", suffix=".raw") as file:
            _decode_into(file, vips, path)
            yield RawFile(file, size)


def picture_hw(path: str | Path) -> Size:
    """Height and width of an upright picture, from the file's header; `ValueError` names a file that is none."""
    vips = _vips()
    if vips is None:
        return Record(Path(path), "", str(path)).image_hw()
    with _as_value_error(path):
        image = vips.Image.new_from_file(str(path))
    turned = "orientation" in image.get_fields() and image.get("orientation") >= 5
    return (image.width, image.height) if turned else (image.height, image.width)


def require_inside(window: Window, hw: Size) -> Window:
    """The window; `ValueError` unless it is not empty and lies in a picture of `hw`."""
    x, y, width, height = window
    if min(x, y) < 0 or min(width, height) < 1 or x + width > hw[1] or y + height > hw[0]:
        raise ValueError(
            f"a window of {width} x {height} at {x}, {y} does not lie inside a picture of {hw[1]} x {hw[0]}"
        )
    return window


def _vips() -> Any:
    try:
        import pyvips
    except (ImportError, OSError):  # pyvips without the library raises OSError
        return None
    return pyvips


def _upright_rgb(image: Any) -> Any:
    image = image.autorot()
    if image.interpretation not in ("srgb", "rgb"):
        image = image.colourspace("srgb")
    image = image.extract_band(0, n=CHANNELS) if image.bands >= CHANNELS else image.extract_band(0).bandjoin([0, 0])
    return image.cast("uchar")


def _decode_into(file: BinaryIO, vips: Any, path: Path) -> None:
    """Write the pixels from top to bottom; a picture that is to be turned is first decoded beside it, on disk."""
    with _as_value_error(path):
        image = vips.Image.new_from_file(str(path), access="sequential", fail_on="error")
        turned = "orientation" in image.get_fields() and image.get("orientation") > 1
        image = _upright_rgb(vips.Image.new_from_file(str(path), fail_on="error") if turned else image)
        region = vips.Region.new(image)  # one for all strips, so that the decoder goes on where it was
        rows = max(1, STRIP_BYTES // (image.width * CHANNELS))
        for top in range(0, image.height, rows):
            file.write(region.fetch(0, top, image.width, min(rows, image.height - top)))
    file.flush()


STRIP_BYTES = 16 * 2**20
"""Pixels that are decoded, or shrunk, together."""


def _with_pillow(path: Path, limit_bytes: int) -> ArraySource:
    with opened(path) as image:
        width, height = image.size
    needed = width * height * CHANNELS
    if needed > limit_bytes:
        raise ValueError(
            f"{path}: {width} x {height} pixels take {needed / 2**20:.0f} MiB, the limit is {limit_bytes / 2**20:.0f}; "
            "install libvips to read it piece by piece (pip install 'sam-in-the-browser[large]'), or raise the limit"
        )
    return ArraySource(Record(path, "", path.name).image())


@contextmanager
def _as_value_error(path: Any) -> Iterator[None]:
    """libvips' errors as `ValueError` with the file's name and the first line of what it says."""
    vips = _vips()
    try:
        yield
    except vips.Error as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path}: not a picture that can be read ({reason}); replace or remove it") from error
