"""Pictures of answers: a tinted mask, the true outline, and the prompt, with Pillow alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels; the last two lie outside."""
Click = tuple[float, float, int]
"""x, y and label: 1 foreground, 0 background."""

TINT = (235, 30, 170)
TINT_STRENGTH = 0.5
OUTLINE = (255, 225, 0)
FOREGROUND, BACKGROUND = (20, 200, 60), (230, 40, 40)
INK, PAPER = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Scene:
    """What one drawing shows, in the picture's pixels.

    image H,W,3 uint8 RGB; answer H,W bool; truth H,W bool, where it is known; box (4,) XYXY.
    """

    image: np.ndarray
    answer: np.ndarray
    truth: np.ndarray | None = None
    clicks: tuple[Click, ...] = ()
    box: np.ndarray | None = None


def draw_scene(scene: Scene, window: Box, scale: float) -> Image.Image:
    """The part of the picture inside `window`, enlarged `scale` times, with answer, truth and prompt over it."""
    size = (max(1, round((window[2] - window[0]) * scale)), max(1, round((window[3] - window[1]) * scale)))
    picture = Image.fromarray(scene.image).resize(size, Image.Resampling.LANCZOS, box=window)
    answer = _mask_image(scene.answer, window, size)
    tinted = Image.blend(picture, Image.new("RGB", size, TINT), TINT_STRENGTH)
    picture = Image.composite(tinted, picture, answer)
    if scene.truth is not None:
        picture.paste(OUTLINE, mask=_rim(_mask_image(scene.truth, window, size)))
    _draw_prompt(ImageDraw.Draw(picture), scene, window, scale)
    return picture


def window_around(*masks: np.ndarray, margin: float = 0.35) -> Box:
    """A window with everything that any of the H,W masks covers and a margin, inside the picture."""
    covered = np.any(masks, axis=0)
    height, width = covered.shape
    if not covered.any():
        return (0, 0, width, height)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    room = margin * max(np.ptp(rows) + 1, np.ptp(columns) + 1)
    left, top = max(0, int(columns[0] - room)), max(0, int(rows[0] - room))
    return (left, top, min(width, int(columns[-1] + 1 + room)), min(height, int(rows[-1] + 1 + room)))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def _mask_image(mask: np.ndarray, window: Box, size: tuple[int, int]) -> Image.Image:
    """An H,W mask as a picture of 0 and 255, smooth where it was enlarged."""
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return grey.resize(size, Image.Resampling.BILINEAR, box=window).point(lambda value: 255 * (value >= 128))


def _rim(mask: Image.Image) -> Image.Image:
    """The line around a mask, one pixel to either side of its edge."""
    return ImageChops.subtract(mask.filter(ImageFilter.MaxFilter(3)), mask.filter(ImageFilter.MinFilter(3)))


def _draw_prompt(canvas: ImageDraw.ImageDraw, scene: Scene, window: Box, scale: float) -> None:
    corner = np.array(window[:2])
    if scene.box is not None:
        x0, y0, x1, y1 = ((scene.box.reshape(2, 2) - corner) * scale).ravel()
        canvas.rectangle((x0, y0, x1 - 1, y1 - 1), outline=PAPER, width=3)
        canvas.rectangle((x0 + 1, y0 + 1, x1 - 2, y1 - 2), outline=FOREGROUND, width=1)
    for *point, label in scene.clicks:
        x, y = (np.array(point) + 0.5 - corner) * scale
        canvas.ellipse((x - 6, y - 6, x + 6, y + 6), fill=FOREGROUND if label else BACKGROUND, outline=PAPER, width=2)
