"""Pixels of the desk: the preview with masks tinted, their edges traced, and the prompts as they stand."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from demo.gradio_app.desk import PALETTE, Desk
from demo.pictures import PictureLimits, read_picture
from demo.schemas import Sketch

PREVIEW_SIDE = 1280
MASK_RGB = (30, 144, 255)
CLICK_RGB = {1: (0, 200, 80), 0: (230, 40, 60)}
_WHITE = (255, 255, 255)
_TINT, _FAINT = 0.5, 0.35
_QUALITY = 88


@dataclass(frozen=True)
class Layer:
    """A mask to draw: where and what, in which colour, and how much of it covers the picture."""

    sketch: Sketch
    rgb: tuple[int, int, int]
    share: float


def preview(data: bytes, limits: PictureLimits) -> np.ndarray:
    """The picture in a file, upright RGB, its longer side PREVIEW_SIDE pixels: Gradio's page enlarges nothing."""
    return np.asarray(ImageOps.contain(Image.fromarray(read_picture(data, limits)), (PREVIEW_SIDE, PREVIEW_SIDE)))


def draw(desk: Desk, found: Iterable[Sketch] = ()) -> bytes:
    """The desk as a JPEG file of the preview's size; what was found lies below what was kept."""
    pixels = desk.picture.preview.copy()
    for layer in _layers(desk, found):
        _tint(pixels, layer)
    scale_x, scale_y = desk.picture.scale_xy
    if desk.box is not None:
        x0, y0, x1, y1 = desk.box
        _draw_box(pixels, x0 / scale_x, y0 / scale_y, x1 / scale_x, y1 / scale_y)
    for click in desk.clicks:
        _draw_disc(pixels, click.x / scale_x, click.y / scale_y, CLICK_RGB[click.label])
    if desk.corner is not None:
        _draw_disc(pixels, desk.corner[0] / scale_x, desk.corner[1] / scale_y, MASK_RGB)
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY, subsampling=0)
        return file.getvalue()


def _layers(desk: Desk, found: Iterable[Sketch]) -> list[Layer]:
    layers = [Layer(sketch, _rgb(PALETTE[at % len(PALETTE)]), _FAINT) for at, sketch in enumerate(found)]
    layers += [Layer(thing.drawn.sketch, _rgb(thing.colour), _TINT) for thing in desk.things if thing.shown]
    if desk.answer is not None:
        layers.append(Layer(desk.answer.drawn.sketch, MASK_RGB, _TINT))
    return layers


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _tint(pixels: np.ndarray, layer: Layer) -> None:
    """Mix the colour into the mask's pixels, and cover its edge."""
    mask, (height, width) = layer.sketch.pixels, layer.sketch.pixels.shape
    window = pixels[layer.sketch.y : layer.sketch.y + height, layer.sketch.x : layer.sketch.x + width]
    window[mask] = ((1 - layer.share) * window[mask] + layer.share * np.array(layer.rgb)).astype(np.uint8)
    window[mask & ~_inside(mask)] = layer.rgb


def _inside(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask whose four neighbours belong to it."""
    around = np.pad(mask, 1)
    return around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]


def _draw_box(pixels: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> None:
    thick = max(2, _radius(pixels) // 4)
    height, width = pixels.shape[:2]
    left, right = (min(max(round(x), 0), width - thick) for x in (x0, x1))
    top, bottom = (min(max(round(y), 0), height - thick) for y in (y0, y1))
    for row in (top, bottom):
        pixels[row : row + thick, left : right + thick] = MASK_RGB
    for column in (left, right):
        pixels[top : bottom + thick, column : column + thick] = MASK_RGB


def _draw_disc(pixels: np.ndarray, x: float, y: float, rgb: tuple[int, int, int]) -> None:
    """A disc with a white rim, seen on any picture."""
    rows, columns = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    distance, radius = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2, _radius(pixels)
    pixels[distance <= (radius + max(1, radius / 4)) ** 2] = _WHITE
    pixels[distance <= radius**2] = rgb


def _radius(pixels: np.ndarray) -> int:
    return max(3, min(pixels.shape[:2]) // 80)
