"""Pointer, picture and mask lie on each other to one low-resolution pixel, whatever the shape of the picture.

The pictures carry coloured squares. Where the screen shows a square, the pointer goes; what the page then asks must be
the square's place in the picture, which only the test knows.
"""

import itertools
import math

import numpy as np
import pytest
from browser_pictures import FRAME, GRID, Picture, drawn_mask, expected_in_view, in_view, overlap
from PIL import Image

pytestmark = pytest.mark.browser

CLOSE, DRAWN = 0.97, 0.9
NEIGHBOURS = list(itertools.product((-1, 0, 1), repeat=2))
COLOURS = {
    "top left": (255, 0, 0),
    "top right": (0, 255, 0),
    "bottom left": (255, 0, 255),
    "bottom right": (0, 255, 255),
}
CORNERS = {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1), "bottom right": (1, 1)}
ORIENTATION_TAG, QUARTER_TURN = 274, 6
SHAPES = [(300, 300), (720, 240), (240, 720), (640, 360), (40, 30)]


def test_pointer_picture_and_mask_agree_whatever_the_shape(sam_page, oracle):
    sam_page.open()
    for width, height in SHAPES:
        _check(sam_page, oracle, Picture.encoded(f"{width} x {height}.png", marked_picture(width, height)))
        close = sam_page.page.locator("#strip .card-close")
        close.dispatch_event("click")  # pictures that are open beside it take room on the screen
        sam_page.wait_for("no picture", lambda state: not state["pictures"])


@pytest.mark.parametrize("context_options", [{"device_scale_factor": 2}], ids=["two device pixels"])
def test_pointer_picture_and_mask_agree_on_fine_screens(sam_page, oracle, context_options):
    sam_page.open()
    _check(sam_page, oracle, Picture.encoded("marked.png", marked_picture(500, 330)), ratio=2)


def test_picture_with_exif_orientation_is_shown_and_segmented_upright(sam_page, oracle):
    upright = marked_picture(300, 440)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = QUARTER_TURN
    picture = Picture.encoded("turned.jpg", np.rot90(upright), exif=exif, quality=95, subsampling=0)
    assert picture.size == (300, 440)
    sam_page.open()
    _check(sam_page, oracle, picture)


def test_picture_of_40_megapixels_works(sam_page, oracle):
    sam_page.open()
    _check(sam_page, oracle, Picture.encoded("large.jpg", marked_picture(8000, 5000), quality=90, subsampling=0))


def marked_picture(width: int, height: int) -> np.ndarray:
    """A bright ellipse on a dark gradient, and a square of an odd number of pixels near each corner."""
    rows, columns = np.ogrid[:height, :width]
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[...] = (40 + 50 * columns / width + 30 * rows / height)[..., None]
    across, down = (columns - width * 0.5) / (width * 0.3), (rows - height * 0.5) / (height * 0.3)
    pixels[across**2 + down**2 < 1] = (225, 200, 160)
    for name, (x, y) in squares(width, height).items():
        reach = _reach(width, height)
        pixels[y - reach : y + reach + 1, x - reach : x + reach + 1] = COLOURS[name]
    return pixels


def squares(width: int, height: int) -> dict[str, tuple[int, int]]:
    """The middle pixel of each square."""
    inset = 2 * _reach(width, height) + 1
    return {
        name: (inset + right * (width - 1 - 2 * inset), inset + low * (height - 1 - 2 * inset))
        for name, (right, low) in CORNERS.items()
    }


def _reach(width: int, height: int) -> int:
    return max(1, max(width, height) // 80)


def _check(page, oracle, picture: Picture, ratio: int = 1) -> None:
    page.upload_and_wait(picture)
    page.leave_picture()
    bare = page.screenshot()
    for name, pixel in squares(*picture.size).items():
        page.point_on_screen(*_seen_at(bare, COLOURS[name], page.view(), ratio))
        (asked,) = page.answer().prompts["clicks"]
        off = _grid_position(picture, asked["x"], asked["y"]) - _grid_centre(picture, pixel)
        assert np.abs(off).max() <= 1, f"{name}: {off} low-resolution pixels off"
    shown = page.hover(picture.size[0] * 0.4, picture.size[1] * 0.5)
    assert oracle.agreement(picture, shown) >= CLOSE
    _check_drawn(picture, shown, bare, page, ratio)


def _is_colour(screenshot: np.ndarray, colour: tuple[int, int, int], view, ratio: int) -> np.ndarray:
    return np.abs(in_view(screenshot, view, ratio) - colour).max(-1) < 60


def _seen_at(screenshot: np.ndarray, colour: tuple[int, int, int], view, ratio: int) -> tuple[float, float]:
    """Centre of a colour's pixels on the screen, in CSS pixels."""
    rows, columns = np.nonzero(_is_colour(screenshot, colour, view, ratio))
    return round(view.x * ratio + columns.mean() + 0.5) / ratio, round(view.y * ratio + rows.mean() + 0.5) / ratio


def _grid_position(picture: Picture, x: float, y: float) -> np.ndarray:
    """Where a prompt lands in the low-resolution grid: scaled to the frame, and the decoder's half pixel."""
    return (picture.frame.points_to_model([x, y]) + 0.5) * GRID / FRAME


def _grid_centre(picture: Picture, pixel: tuple[int, int]) -> np.ndarray:
    """Where the middle of a picture's pixel lies in the low-resolution grid."""
    return picture.frame.points_to_model(np.array(pixel) + 0.5) * GRID / FRAME


def _check_drawn(picture: Picture, shown, bare: np.ndarray, page, ratio: int) -> None:
    """The mask drawn fits the one that PyTorch enlarges, and fits it best where it is, not one cell beside."""
    view = page.view()
    expected = expected_in_view(picture, shown.logits, view, ratio)
    drawn = drawn_mask(bare, page.screenshot(), view, ratio)
    cell = math.ceil(max(view.width, view.height) * ratio * FRAME / max(picture.frame.resized_hw) / GRID)
    fits = {(x, y): overlap(drawn, np.roll(expected, (y * cell, x * cell), (0, 1))) for x, y in NEIGHBOURS}
    here = fits.pop((0, 0))
    assert here >= DRAWN
    assert here > max(fits.values()), (here, fits)
