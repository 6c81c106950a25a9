"""Closer views: zoomed in, the mask under the pointer is finer, lies where it should, and goes on doing so."""

import cv2
import numpy as np
import pytest
from browser_pictures import overlap, picture_mask
from PIL import Image

from sam.formats import READERS
from sam.masks import rle_decode

pytestmark = pytest.mark.browser

BADGE, FACE, SUIT, SKY = (171, 385), (225, 120), (110, 330), (120, 40)
"""Of the astronaut: a patch on the chest, what lies far off, what is larger than a view."""


@pytest.fixture
def picture(photographs):
    return photographs["astronaut"]


@pytest.fixture
def page(sam_page, picture):
    sam_page.show_specks()
    sam_page.open()
    sam_page.open_gallery(picture)
    return sam_page


def zoom_to(page, x: float, y: float) -> list[int]:
    """Turn the wheel at a point until a closer view of it is there: its window."""
    page.point(x, y)
    page.page.mouse.wheel(0, -800)
    return page.wait_for("a closer view", lambda state: state["picture"]["views"])["picture"]["views"][0]


def hover_closely(page, x: float, y: float):
    """The mask of a closer view that answers a point."""
    page.hover(x, y)
    page.wait_for("a closer mask", lambda state: state["mask"] and state["mask"]["window"])
    return page.answer()


def facts(page) -> str:
    return page.page.locator("#facts").inner_text()


def saved_mask(page) -> np.ndarray:
    """The mask of the one object, as it is saved."""
    page.page.locator("#take-home-button").click()
    page.page.locator("#take-home").wait_for()
    for box in page.page.locator("#take-home input[name=format]").all():
        box.set_checked(box.get_attribute("value") == "session")
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Save", exact=True).click()
    (item,) = READERS["zip"](download.value.path().read_bytes()).objects
    return rle_decode(item.mask)


def test_zoomed_in_the_mask_under_the_pointer_is_of_the_view_around_it(page, oracle, picture):
    assert "Close-up" not in facts(page)
    window = zoom_to(page, *BADGE)
    x, y, width, height = window
    assert (width, height) == (256, 256) and x < BADGE[0] < x + width and y < BADGE[1] < y + height
    shown = hover_closely(page, *BADGE)
    assert shown.window == window
    assert oracle.agreement(picture, shown) >= 0.97
    assert "Close-up" in facts(page)


def test_what_is_kept_lies_where_it_was_clicked_at_every_zoom(page, picture):
    zoom_to(page, *BADGE)
    hover_closely(page, *BADGE)
    kept = page.click(*BADGE)
    assert kept.window
    expected = picture_mask(picture, kept.logits, kept.window)
    ys, xs = np.nonzero(expected)
    assert xs.min() <= BADGE[0] <= xs.max() and ys.min() <= BADGE[1] <= ys.max()
    page.press("n")
    page.wait_for("an object", lambda state: len(state["things"]) == 1)
    page.press("f")
    page.leave_picture()
    page.wait_for("all of it", lambda state: state["mask"] is None)
    masked = page.screenshot()
    page.page.locator("#objects").get_by_role("button", name="Hide Object 1").click()
    drawn = np.abs(page.screenshot() - masked).max(-1) > 12
    view = page.view()
    here = drawn[round(view.y) : round(view.y + view.height), round(view.x) : round(view.x + view.width)]
    wanted = np.array(Image.fromarray(expected).resize(here.shape[::-1]))
    grown = cv2.dilate(wanted.astype(np.uint8), np.ones((13, 13))) > 0  # its outline is thick
    assert (here & ~grown).sum() < 0.02 * here.sum(), "drawn beside the object"
    assert overlap(here, wanted) > 0.7


def test_what_is_saved_is_the_mask_of_the_view_in_the_picture(page, picture):
    zoom_to(page, *BADGE)
    hover_closely(page, *BADGE)
    kept = page.click(*BADGE)
    page.press("n")
    page.wait_for("an object", lambda state: len(state["things"]) == 1)
    saved = saved_mask(page)
    assert (saved != picture_mask(picture, kept.logits, kept.window)).mean() < 1e-4


def test_an_object_of_a_view_and_one_of_all_of_the_picture_are_merged(page, picture):
    zoom_to(page, *BADGE)
    hover_closely(page, *BADGE)
    badge = page.click(*BADGE)
    page.press("n")
    page.press("f")
    page.press("Escape")
    face = page.click(*FACE)
    assert badge.window and face.window is None
    page.press("n")
    page.wait_for("two objects", lambda state: len(state["things"]) == 2)
    page.press("Control+a")
    page.page.get_by_role("button", name="Merge").click()
    page.wait_for("one object", lambda state: len(state["things"]) == 1)
    both = picture_mask(picture, badge.logits, badge.window) | picture_mask(picture, face.logits)
    assert overlap(saved_mask(page), both) > 0.97
    page.press("Control+z")
    assert len(page.wait_for("both again", lambda state: len(state["things"]) == 2)["things"]) == 2


def test_paint_in_a_view_is_finer_and_is_redrawn_by_the_model_there(page, oracle, picture):
    window = zoom_to(page, *BADGE)
    page.press("b")
    page.page.mouse.move(*page.screen(BADGE[0] - 15, BADGE[1]))
    page.page.mouse.down()
    page.page.mouse.move(*page.screen(BADGE[0] + 15, BADGE[1]), steps=6)
    page.page.mouse.up()
    page.wait_for("paint", lambda state: state["mask"] and state["mask"]["kept"])
    painted = page.shown()
    assert painted.window == window
    ys, xs = np.nonzero(picture_mask(picture, painted.logits, window))
    assert abs(xs.mean() - BADGE[0]) < 2 and abs(ys.mean() - BADGE[1]) < 2
    page.page.get_by_role("button", name="Snap").click()
    page.wait_for("the model's mask", lambda state: state["mask"] and state["mask"]["prompts"]["box"])
    snapped = page.shown()
    assert snapped.window == window and np.array_equal(snapped.feedback, painted.logits)
    assert oracle.agreement(picture, snapped) >= 0.95


def test_a_picture_that_is_zoomed_into_has_its_own_colours(page, picture):
    page.point(*SKY)
    page.page.mouse.wheel(0, -800)
    page.wait_for("a closer look", lambda state: state["scale"] > 4)
    page.leave_picture()
    page.wait_for("no mask", lambda state: state["mask"] is None)
    (x, y), shot = page.screen(*SKY), page.screenshot()
    seen = shot[round(y) - 20 : round(y) + 20, round(x) - 20 : round(x) + 20].mean((0, 1))
    around = picture.pixels[SKY[1] - 5 : SKY[1] + 5, SKY[0] - 5 : SKY[0] + 5].mean((0, 1))
    np.testing.assert_allclose(seen, around, atol=6)


def test_zooming_out_all_of_the_picture_answers_at_once(page, oracle, picture):
    zoom_to(page, *BADGE)
    hover_closely(page, *BADGE)
    page.press("f")
    shown = page.hover(BADGE[0] + 2, BADGE[1])
    page.wait_for("all of the picture", lambda state: state["mask"] and state["mask"]["window"] is None)
    assert oracle.agreement(picture, page.answer()) >= 0.97
    assert shown.prompts["clicks"][0]["x"] == pytest.approx(BADGE[0] + 2, abs=1)


def test_more_clicks_stay_in_the_view_and_correct_its_mask(page, oracle, picture):
    zoom_to(page, *BADGE)
    hover_closely(page, *BADGE)
    first = page.click(*BADGE)
    page.press("f")
    second = page.click(BADGE[0] + 12, BADGE[1] + 4, key="Shift")
    assert second.window == first.window and np.array_equal(second.feedback, first.logits)
    assert oracle.agreement(picture, second) >= 0.95


def test_a_click_beyond_the_view_takes_its_mask_along(page, oracle, picture):
    zoom_to(page, *BADGE)
    hover_closely(page, *BADGE)
    first = page.click(*BADGE)
    page.press("f")
    second = page.click(*SKY)
    assert second.window is None and second.feedback is not None
    there = picture_mask(picture, first.logits, first.window)
    assert overlap(picture_mask(picture, second.feedback), there) > 0.8
    assert oracle.agreement(picture, second) >= 0.95


def test_a_mask_that_the_view_cuts_is_answered_by_all_of_the_picture(page, oracle, picture):
    window = zoom_to(page, *SUIT)
    logits, iou = oracle.logits(
        picture, {"clicks": [{"x": SUIT[0], "y": SUIT[1], "label": 1}], "box": None}, None, window
    )
    assert touches_an_inner_edge(logits[1 + int(np.argmax(iou[1:]))], window, picture.size), "no suit to be cut"
    page.hover(*SUIT)
    page.wait_for("all of the picture", lambda state: state["mask"] and state["mask"]["window"] is None)
    page.wait_for("a view that was asked", lambda state: state["cut"])
    shown = page.click(*SUIT)
    assert shown.window is None
    assert oracle.agreement(picture, shown) >= 0.97


def test_where_the_pointer_rests_a_small_thing_on_a_large_one_is_found(page, oracle, picture):
    zoom_to(page, *BADGE)
    page.hover(*SUIT)
    page.wait_for("a mask that the view cuts", lambda state: state["cut"] and state["mask"]["window"] is None)
    shown = hover_closely(page, *BADGE)
    assert oracle.agreement(picture, shown) >= 0.97


def touches_an_inner_edge(logits: np.ndarray, window: list[int], size: tuple[int, int]) -> bool:
    inside, (x, y, width, height) = logits > 0, window
    edges = [
        (x > 0, inside[:, :2]),
        (y > 0, inside[:2]),
        (x + width < size[0], inside[:, -2:]),
        (y + height < size[1], inside[-2:]),
    ]
    return any(is_inner and cells.any() for is_inner, cells in edges)


def test_what_is_kept_in_a_view_survives_a_reload_and_is_edited_there(page):
    zoom_to(page, *BADGE)
    hover_closely(page, *BADGE)
    kept = page.click(*BADGE)
    page.press("n")
    page.wait_for("an object", lambda state: len(state["things"]) == 1)
    (before,) = page.state()["things"]
    page.wait_until_stored()
    page.page.reload()
    page.wait_for("the object", lambda state: state["things"] and state["picture"]["phase"]["status"] == "ready")
    (after,) = page.state()["things"]
    assert (after["inside"], after["frame"]) == (before["inside"], before["frame"])
    page.page.locator("#objects").get_by_role("button", name="Edit Object 1").click()
    again = page.answer()
    assert again.window == kept.window
    assert overlap(again.logits > 0, kept.logits > 0) > 0.97


def test_a_browser_without_webgl_draws_the_mask_of_a_view(sam_page, picture):
    sam_page.show_specks()
    sam_page.open(tier="wasm", renderer="2d")
    sam_page.open_gallery(picture)
    zoom_to(sam_page, *BADGE)
    shown = hover_closely(sam_page, *BADGE)
    masked = sam_page.screenshot()
    sam_page.leave_picture()
    seen = np.abs(sam_page.screenshot() - masked).max(-1) > 12
    expected, view = picture_mask(picture, shown.logits, shown.window), sam_page.view()
    rows, columns = np.nonzero(seen)
    scale = view.width / picture.size[0]
    inside = expected[((rows - view.y) / scale).astype(int), ((columns - view.x) / scale).astype(int)]
    assert len(rows) > 500 and inside.mean() > 0.9


def test_on_the_server_tier_views_are_decoded_there(sam_page, oracle, picture):
    sam_page.show_specks()
    sam_page.open(tier="server")
    sam_page.open_gallery(picture)
    zoom_to(sam_page, *BADGE)
    shown = hover_closely(sam_page, *BADGE)
    assert oracle.agreement(picture, shown) >= 0.97
