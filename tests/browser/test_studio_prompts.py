"""Prompts as a person moves them: candidates, points, boxes, paint, and what the next click would do."""

import numpy as np
import pytest
from browser_pictures import BOX, CUP, SPOON, TABLE

pytestmark = pytest.mark.browser

CLOSE = 0.97


def drag(page, start, end, steps: int = 4) -> None:
    page.page.mouse.move(*page.screen(*start))
    page.page.mouse.down()
    page.page.mouse.move(*page.screen(*end), steps=steps)
    page.page.mouse.up()


def test_all_four_masks_are_offered_and_the_level_chosen_is_remembered(page, coffee, oracle):
    first = page.click(*CUP)
    logits, _ = oracle.logits(coffee, first.prompts)
    options = page.page.get_by_role("radio")
    assert options.count() == 4
    options.nth(3).click()
    chosen = page.shown()
    assert chosen.index == 3
    assert ((chosen.logits > 0) == (logits[3] > 0)).mean() > 0.97
    page.press("Escape")
    assert page.hover(*TABLE).index == 3
    page.press("Control+z")
    assert page.shown().index == 3
    page.press("Control+z")
    assert page.answer().index == first.index


def test_candidate_chosen_is_what_the_next_click_corrects(page, coffee, oracle):
    page.click(*CUP)
    page.press("c")
    chosen = page.shown()
    refined = page.click(*SPOON)
    np.testing.assert_array_equal(refined.feedback, chosen.logits)
    assert oracle.agreement(coffee, refined) >= CLOSE


def test_pointer_over_a_kept_mask_previews_the_next_click(page):
    kept = page.click(*CUP)
    page.page.mouse.move(*page.screen(*SPOON))
    state = page.wait_for("a preview", lambda state: state["preview"])
    assert len(state["preview"]["prompts"]["clicks"]) == 2
    assert state["mask"]["prompts"] == kept.prompts
    page.leave_picture()
    assert page.state()["preview"] is None


def test_refinement_can_be_switched_off(page):
    page.click(*CUP)
    page.page.get_by_role("switch", name="Clicks refine this mask").click()
    assert page.click(*SPOON).feedback is None


def test_points_are_dragged_and_removed(page, coffee, oracle):
    page.click(*CUP)
    page.click(*SPOON)
    drag(page, SPOON, TABLE)
    moved = page.answer()
    np.testing.assert_allclose([moved.prompts["clicks"][1][axis] for axis in "xy"], TABLE, atol=1)
    assert oracle.agreement(coffee, moved) >= CLOSE
    page.page.mouse.click(*page.screen(*TABLE))
    page.wait_for("one point", lambda state: len(state["prompts"]["clicks"]) == 1)
    page.press("Control+z")
    page.press("Control+z")
    page.press("Control+Shift+z")
    assert page.answer().prompts == moved.prompts


def test_box_is_resized_by_a_corner_and_moved_by_its_frame(page, coffee, oracle):
    page.start_drag(BOX)
    page.page.mouse.up()
    page.answer()
    drag(page, BOX[2:], (540, 380))
    resized = page.answer()
    np.testing.assert_allclose(resized.prompts["box"], [*BOX[:2], 540, 380], atol=1.5)
    assert oracle.agreement(coffee, resized) >= CLOSE
    drag(page, (BOX[0] + 80, BOX[1]), (BOX[0] + 60, BOX[1] - 30))
    np.testing.assert_allclose(page.answer().prompts["box"], [BOX[0] - 20, BOX[1] - 30, 520, 350], atol=1.5)


def test_brush_paints_a_mask_that_the_next_click_is_given(page, coffee, oracle):
    page.press("b")
    drag(page, (200, 150), (350, 150), steps=10)
    painted = page.shown()
    assert page.state()["mask"]["kept"]
    assert painted.logits[64, 115] > 0 and painted.logits[20, 20] < 0
    page.press("e")
    drag(page, (270, 100), (270, 200), steps=10)
    assert page.shown().logits[64, 115] < 0
    erased = page.shown()
    page.press("s")
    asked = page.click(*CUP)
    np.testing.assert_array_equal(asked.feedback, erased.logits)
    expected = oracle.logits(coffee, asked.prompts, asked.feedback)[0][asked.index]
    assert ((asked.logits > 0) == (expected > 0)).mean() > CLOSE


def test_snap_gives_what_was_painted_to_the_model(page):
    page.press("b")
    drag(page, (200, 150), (350, 150), steps=10)
    painted = page.shown()
    page.page.get_by_role("button", name="Snap").click()
    snapped = page.answer()
    np.testing.assert_array_equal(snapped.feedback, painted.logits)
    assert snapped.prompts["box"] is not None
