"""Specks: left out of what is seen, kept and saved alike, unless a person wants them or points at one."""

import cv2
import numpy as np
import pytest
from browser_pictures import CUP, in_view

pytestmark = pytest.mark.browser


def pieces(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1


def switch(page):
    return page.page.get_by_role("switch", name="Leave out specks")


def cut_out(page) -> np.ndarray:
    """Where the cut-out shows the picture rather than the checkerboard's two greys."""
    seen = in_view(page.screenshot(), page.view())
    return (seen.max(-1) - seen.min(-1)) > 12


def test_specks_of_a_mask_are_left_out_until_they_are_wanted(page):
    page.click(*CUP)
    page.page.get_by_role("radio", name="Group").click()
    page.press("o")
    page.press("o")
    page.leave_picture()
    clean = pieces(cut_out(page))
    switch(page).click()
    page.leave_picture()
    assert pieces(cut_out(page)) > 2 * clean
    page.wait_until_stored()
    page.page.reload()
    page.answer()
    assert switch(page).get_attribute("aria-checked") == "false", "the choice is remembered"


def test_kept_object_is_what_was_seen_and_its_specks_come_back_by_its_sliders(page):
    page.click(*CUP)
    page.page.get_by_role("radio", name="Group").click()
    seen = page.page.locator("#sketch .facts dd").first.inner_text()
    page.press("n")
    assert page.page.locator("#object-list .pick").inner_text() == seen
    kept = page.state()["things"][0]["inside"]
    for name in ("Fill holes", "Remove islands"):
        page.page.get_by_role("slider", name=name).fill("0")
    assert page.state()["things"][0]["inside"] != kept
    page.press("Control+z")
    page.press("Control+z")
    assert page.state()["things"][0]["inside"] == kept


def test_model_is_fed_back_its_own_mask_with_all_its_specks(page):
    page.click(*CUP)
    raw = page.shown().logits
    assert pieces(raw > 0) > 3
    np.testing.assert_array_equal(page.click(430, 330).feedback, raw)
