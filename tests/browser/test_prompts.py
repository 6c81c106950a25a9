"""Clicks, boxes, undo and clear by mouse and keyboard: each answer is PyTorch's for the same prompts."""

import io

import numpy as np
import pytest
from browser_pictures import BOX, CUP, SPOON, TABLE, expected_in_view, in_view, overlap, picture_mask
from PIL import Image

pytestmark = pytest.mark.browser

CLOSE = 0.97


@pytest.fixture
def page(sam_page, coffee):
    sam_page.show_specks()
    sam_page.open()
    sam_page.open_gallery(coffee)
    return sam_page


def test_click_keeps_its_mask_wherever_the_mouse_goes(page, coffee, oracle):
    hovered = page.hover(*CUP)
    kept = page.click(*CUP)
    assert kept.prompts == hovered.prompts
    np.testing.assert_array_equal(kept.logits, hovered.logits)
    page.point(*TABLE)
    assert page.state()["hover"][0] < CUP[0] - 100
    assert page.answer().prompts == kept.prompts
    assert page.state()["mask"]["kept"]


def test_surroundings_of_a_kept_mask_step_back(page, coffee):
    page.leave_picture()
    bare = page.screenshot()
    kept = page.click(*CUP)
    outside = ~expected_in_view(coffee, kept.logits, page.view())
    before, after = (in_view(shot, page.view())[outside].mean() for shot in (bare, page.screenshot()))
    assert after < 0.7 * before


def test_second_point_is_answered_by_the_single_mask_token_given_the_first_mask(page, coffee, oracle):
    first = page.click(*CUP)
    assert first.index in (1, 2, 3) and first.feedback is None
    second = page.click(*SPOON)
    assert [click["label"] for click in second.prompts["clicks"]] == [1, 1]
    assert second.index == 0
    np.testing.assert_array_equal(second.feedback, first.logits)
    assert oracle.agreement(coffee, second) >= CLOSE
    assert not np.array_equal(second.logits, first.logits)
    without = oracle.logits(coffee, second.prompts)[0][0]
    assert not np.allclose(second.logits, without, atol=0.1), "the fed-back mask changed nothing"


def test_clicks_faster_than_the_decoder_are_answered_one_by_one(page, coffee, oracle):
    """Each corrects the answer before it, so none may be skipped."""
    for x, y in (CUP, SPOON, TABLE):
        page.page.mouse.click(*page.screen(x, y))
    shown = page.answer()
    assert len(shown.prompts["clicks"]) == 3
    assert oracle.agreement(coffee, shown) >= CLOSE
    page.press("Control+z")
    np.testing.assert_array_equal(page.answer().logits, shown.feedback)


@pytest.mark.parametrize(("button", "key"), [("right", None), ("left", "Shift")], ids=["right click", "Shift-click"])
def test_point_can_take_away(page, coffee, oracle, button, key):
    page.click(*CUP)
    shown = page.click(*SPOON, button=button, key=key)
    assert [click["label"] for click in shown.prompts["clicks"]] == [1, 0]
    assert oracle.agreement(coffee, shown) >= CLOSE
    assert page.page.locator("#marks .mark.exclude").count() == 1


def test_exclude_button_swaps_what_the_mouse_buttons_do(page):
    page.click(*CUP)
    page.page.locator("#label-exclude").click()
    page.click(*SPOON)
    shown = page.click(*TABLE, button="right")
    assert [click["label"] for click in shown.prompts["clicks"]] == [1, 0, 1]


def test_undo_goes_back_one_step_at_a_time(page):
    steps = [page.click(*CUP), page.click(*SPOON, button="right"), page.click(*TABLE, button="right")]
    page.press("Control+z")
    assert page.answer().prompts == steps[1].prompts
    page.page.locator("#undo").click()
    again = page.answer()
    assert again.prompts == steps[0].prompts
    np.testing.assert_array_equal(again.logits, steps[0].logits)
    page.press("Control+z")
    assert page.state()["prompts"] == {"clicks": [], "box": None}


def test_escape_clears_and_the_mask_follows_the_mouse_again(page, coffee, oracle):
    page.click(*CUP)
    page.click(*SPOON)
    page.press("Escape")
    assert page.state()["prompts"] == {"clicks": [], "box": None}
    shown = page.hover(*TABLE)
    assert len(shown.prompts["clicks"]) == 1
    assert oracle.agreement(coffee, shown) >= CLOSE


def test_dragged_box_has_pytorchs_mask(page, coffee, oracle):
    drawn = page.start_drag(BOX)
    assert oracle.agreement(coffee, drawn) >= CLOSE, "while it is being drawn"
    page.page.mouse.up()
    kept = page.answer()
    assert kept.prompts["clicks"] == []
    np.testing.assert_allclose(kept.prompts["box"], BOX, atol=1)
    assert kept.index == 0
    assert oracle.agreement(coffee, kept) >= CLOSE
    refined = page.click(*SPOON, button="right")
    assert refined.prompts["box"] == kept.prompts["box"]
    np.testing.assert_array_equal(refined.feedback, kept.logits)
    assert oracle.agreement(coffee, refined) >= CLOSE


def test_keys_alone_can_point_and_click(page, coffee, oracle):
    page.leave_picture()
    for key in ("ArrowLeft", "Shift+ArrowUp", "Enter"):
        page.press(key)
    kept = page.answer()
    width, height = coffee.size
    (click,) = kept.prompts["clicks"]
    assert click["x"] < width / 2 and click["y"] < height / 2 and click["label"] == 1
    assert oracle.agreement(coffee, kept) >= CLOSE


def test_saved_mask_is_pytorchs_at_the_pictures_size(page, coffee):
    kept = page.click(*CUP)
    with page.page.expect_download() as download:
        page.page.locator("#save-mask").click()
    saved = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())).convert("L"))
    assert set(np.unique(saved)) == {0, 255}
    assert overlap(saved > 0, picture_mask(coffee, kept.logits)) > 0.999


def test_saved_cut_out_is_the_picture_where_the_mask_is(page, coffee):
    kept = page.click(*CUP)
    with page.page.expect_download() as download:
        page.page.locator("#save-cutout").click()
    saved = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())))
    inside = saved[..., 3] > 0
    assert overlap(inside, picture_mask(coffee, kept.logits)) > 0.999
    np.testing.assert_allclose(saved[inside][:, :3].astype(int), coffee.pixels[inside], atol=3)
