"""/gradio in the same browser, by mouse and by keyboard alone: masks, objects, everything, files; nobody else asked."""

import io
import re
import time

import numpy as np
import pytest
from browser_page import PATIENCE_MS
from browser_pictures import CUP, overlap, picture_mask
from PIL import Image
from playwright.sync_api import Page, expect

from sam.formats import READERS
from sam.masks import rle_decode

pytestmark = pytest.mark.browser

NAMED = """(([name, within]) => (at) => {
    const words = [at.ariaLabel, at.value, at.alt, at.innerText, at.querySelector?.('img')?.alt];
    return !at.disabled && at.closest(within) !== null && words.some((word) => word?.trim().startsWith(name));
})"""
FETCH = "async (address) => [...new Uint8Array(await (await fetch(address)).arrayBuffer())]"


@pytest.fixture
def browsers_own() -> tuple[str, ...]:
    """Gradio's page has text fields, and Chromium asks its autofill service about any; a page cannot forbid it."""
    return ("content-autofill.googleapis.com",)


def test_by_mouse_from_a_click_to_a_file(context, server, oracle, photographs):
    coffee = photographs["coffee"]
    page = _opened(context, server)
    page.locator("input[type=file]").first.set_input_files(
        {"name": coffee.name, "mimeType": coffee.mime_type, "buffer": coffee.data}
    )
    expect(page.get_by_text("Click what you mean")).to_be_visible()
    image = page.locator(".stage img")
    bare = _pixels(page, image)

    with _another(page, image):
        _click(image, CUP, coffee.size)
    clicks = [{"x": CUP[0], "y": CUP[1], "label": 1}]
    logits, iou = oracle.logits(coffee, {"clicks": clicks, "box": None})
    expected = _at_the_size_of(picture_mask(coffee, logits[1 + iou[1:].argmax()]), bare)
    assert overlap(_tinted(bare, _pixels(page, image)), expected) >= 0.9
    expect(page.locator(".pairs").nth(1)).to_contain_text(re.compile(r"0\.\d\d"))
    scores = [float(text) for text in re.findall(r"0\.\d\d", page.locator(".pairs").nth(1).inner_text())]
    assert scores == pytest.approx(np.clip(iou, 0, 1), abs=0.011)

    with _another(page, image):
        page.get_by_role("radio", name=re.compile("^Single")).check()
    expected = _at_the_size_of(picture_mask(coffee, logits[0]), bare)
    assert overlap(_tinted(bare, _pixels(page, image)), expected) >= 0.9

    page.get_by_label("Label", exact=True).fill("cup")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_label("1. cup")).to_be_checked()

    page.get_by_role("button", name="Take it home").click()
    page.get_by_label("Format").click()
    page.get_by_role("option", name="COCO, run lengths").click()
    page.get_by_role("button", name="Make the file").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile(r"B|coffee")).last.click()
    assert download.value.suggested_filename == "coffee.coco.json"
    session = READERS["coco"](download.value.path().read_bytes())
    assert session.labels == ["cup"]
    assert overlap(rle_decode(session.objects[0].mask), picture_mask(coffee, logits[0])) >= 0.99

    for _ in range(3):
        with _another(page, image):
            page.get_by_role("button", name="Undo").click()
    np.testing.assert_array_equal(_pixels(page, image), bare)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_by_keyboard_alone_a_box_and_everything(context, server):
    page = _opened(context, server)
    _reach(page, "Chelsea the cat", within=".examples")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Click what you mean")).to_be_visible()
    image = page.locator(".stage img")

    _reach(page, "corner")
    page.keyboard.press("Space")
    expect(page.get_by_label("Corner of a box")).to_be_checked()
    _reach(page, "Click without a mouse")
    page.keyboard.press("Enter")
    for x, y, told in ((100, 40, "First corner at (100, 40)"), (420, 290, "The mask covers")):
        for name, value in (("x, from the left", x), ("y, from the top", y)):
            page.get_by_label(name).focus()
            page.keyboard.press("Control+A")
            page.keyboard.type(str(value))
        _reach(page, "Click there")
        page.keyboard.press("Enter")
        expect(page.get_by_text(told)).to_be_visible()
    page.get_by_label("Label", exact=True).focus()
    page.keyboard.type("cat")
    page.keyboard.press("Enter")
    expect(page.get_by_label("1. cat")).to_be_checked()
    expect(image).to_have_attribute("alt", re.compile("1 kept objects"))

    _reach(page, "Everything at once")
    page.keyboard.press("Enter")
    _reach(page, "Find everything")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"\d+ objects? found\."))).to_be_visible()
    expect(page.get_by_label("Keep a find")).to_be_checked()
    _reach(page, "Keep all")
    page.keyboard.press("Enter")
    expect(page.get_by_label(re.compile(r"2\. object 2"))).to_be_checked()


def test_a_search_stops_when_told_and_an_error_is_a_sentence(context, server):
    page = _opened(context, server)
    page.locator(".examples button").first.click()
    expect(page.get_by_text("Click what you mean")).to_be_visible()
    page.get_by_role("button", name="Everything at once").click()
    page.get_by_label("Fine").check()
    page.get_by_role("button", name="Find everything").click()
    expect(page.get_by_text("points asked")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text(re.compile(r"Stopped; \d+ objects? found so far"))).to_be_visible()
    page.get_by_label("Take away", exact=True).check()
    page.locator(".stage img").click()
    expect(page.get_by_text("There is nothing to take away from yet")).to_be_visible()


# ---- helpers


def _opened(context, server) -> Page:
    page = context.new_page()
    page.goto(f"{server.address}gradio/")
    page.locator(".examples button").first.wait_for()
    return page


def _reach(page: Page, name: str, within: str = "body") -> None:
    """Press Tab until the focus is on what has this name, label or value, as somebody without a mouse does."""
    page.locator(within).focus() if within != "body" else page.evaluate("() => document.activeElement.blur()")
    there = f"(wanted) => [...document.querySelectorAll('button, input')].some({NAMED}(wanted))"
    page.wait_for_function(there, arg=[name, within])
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(f"(wanted) => {NAMED}(wanted)(document.activeElement)", [name, within]):
            return
    raise AssertionError(f"80 times Tab do not lead to {name!r}")


def _click(image, at: tuple[int, int], size: tuple[int, int]) -> None:
    image.evaluate("(image) => image.decode()")
    box = image.bounding_box()
    image.click(position={"x": at[0] * box["width"] / size[0], "y": at[1] * box["height"] / size[1]})


def _pixels(page: Page, image) -> np.ndarray:
    """The picture shown, as its file holds it."""
    file = page.evaluate(FETCH, image.get_attribute("src"))
    return np.asarray(Image.open(io.BytesIO(bytes(file))).convert("RGB"), dtype=np.float64)


def _at_the_size_of(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def _tinted(bare: np.ndarray, overlaid: np.ndarray) -> np.ndarray:
    """Where at least a quarter of the mask's colour lies over the picture; the server puts half of it there."""
    towards = np.array([30, 144, 255]) - bare
    return ((overlaid - bare) * towards).sum(-1) / np.maximum((towards**2).sum(-1), 1) > 0.25


class _another:
    """Leaves its block when the page shows another picture than before it."""

    def __init__(self, page: Page, image) -> None:
        self.page, self.image, self.before = page, image, image.get_attribute("src")

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, *_) -> None:
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while kind is None and self.image.get_attribute("src") == self.before:
            assert time.monotonic() < deadline, "the picture did not change"
            self.page.wait_for_timeout(50)
