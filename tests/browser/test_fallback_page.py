"""/gradio in the same browser: upload, click, see the mask, clear; nobody else is asked."""

import io
import time

import numpy as np
import pytest
from browser_page import PATIENCE_MS
from browser_pictures import overlap, picture_mask
from PIL import Image

pytestmark = pytest.mark.browser

CUP = (300, 180)


def test_click_overlays_pytorchs_mask_and_clear_takes_it_away(context, server, oracle, photographs):
    coffee = photographs["coffee"]
    page = context.new_page()
    page.goto(f"{server.address}gradio/")
    page.locator("input[type=file]").set_input_files(
        {"name": coffee.name, "mimeType": coffee.mime_type, "buffer": coffee.data}
    )
    image = page.locator(".image-container img, [data-testid=image] img").first
    image.wait_for()
    bare = _pixels(page, image)
    assert bare.shape == coffee.pixels.shape

    box = image.bounding_box()
    where = {"x": CUP[0] * box["width"] / coffee.size[0], "y": CUP[1] * box["height"] / coffee.size[1]}
    before = image.get_attribute("src")
    image.click(position=where)
    _wait_for_another(page, image, before)
    clicks = [{"x": CUP[0] + 0.5, "y": CUP[1] + 0.5, "label": 1}]
    logits, iou = oracle.logits(coffee, {"clicks": clicks, "box": None})
    expected = picture_mask(coffee, logits[1 + iou[1:].argmax()])
    assert overlap(_tinted(bare, _pixels(page, image)), expected) >= 0.9

    before = image.get_attribute("src")
    page.get_by_role("button", name="Clear the clicks").click()
    _wait_for_another(page, image, before)
    np.testing.assert_array_equal(_pixels(page, image), bare)


def _pixels(page, image) -> np.ndarray:
    """The picture shown, as its file holds it."""
    file = page.request.get(image.get_attribute("src")).body()
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), dtype=np.float64)


def _tinted(bare: np.ndarray, overlaid: np.ndarray) -> np.ndarray:
    """Where at least a quarter of the mask's colour lies over the picture; the server puts half of it there."""
    towards = np.array([30, 144, 255]) - bare
    return ((overlaid - bare) * towards).sum(-1) / np.maximum((towards**2).sum(-1), 1) > 0.25


def _wait_for_another(page, image, before: str) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while image.get_attribute("src") == before:
        assert time.monotonic() < deadline, "the picture did not change"
        page.wait_for_timeout(50)
