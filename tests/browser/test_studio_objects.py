"""Objects, as a person makes them: kept, named, edited, combined, tidied, ordered, undone."""

import numpy as np
import pytest
from browser_pictures import CUP, SPOON, TABLE

pytestmark = pytest.mark.browser

WHOLE = (60, 30, 560, 390)


@pytest.fixture
def two(page):
    """A page with two painted squares that overlap: their masks are the test's, not the model's."""
    for left in (100, 200):
        page.press("Escape")
        page.lasso([(left, 100), (left + 200, 100), (left + 200, 300), (left, 300)])
        page.press("n")
    page.wait_for("two objects", lambda state: len(state["things"]) == 2)
    return page


def areas(page) -> dict[str, int]:
    return {thing["label"]: thing["inside"] for thing in page.state()["things"]}


def row(page, label):
    return page.page.locator("#object-list li").filter(has=page.page.get_by_label(f"Label of {label}", exact=True))


def test_mask_is_kept_named_and_edited_later_from_its_prompts(page):
    kept = page.click(*CUP)
    page.page.get_by_role("button", name="Keep").click()
    assert page.state()["prompts"] == {"clicks": [], "box": None}
    name = page.page.get_by_role("combobox", name="Label of Object 1")
    name.click()
    page.page.keyboard.type("cup")
    page.press("Enter")
    assert list(areas(page)) == ["cup"]
    page.page.get_by_role("button", name="Edit cup").click()
    again = page.answer()
    assert again.prompts == kept.prompts
    np.testing.assert_array_equal(again.logits, kept.logits)
    page.click(*SPOON)
    page.page.get_by_role("button", name="Done").click()
    state = page.state()
    assert [thing["label"] for thing in state["things"]] == ["cup"] and state["editing"] is None


def test_label_set_has_keys_and_offers_what_it_knows(page):
    page.click(*CUP)
    page.page.get_by_role("combobox", name="Label of the next object").click()
    page.page.keyboard.type("crockery")
    page.press("Enter")
    page.press("n")
    page.click(*TABLE)
    page.press("n")
    page.press("1")
    assert [thing["label"] for thing in page.state()["things"]] == ["crockery", "crockery"]
    field = page.page.get_by_role("combobox", name="Label of the next object")
    field.click()
    page.page.keyboard.type("x")
    page.press("Enter")
    field.click()
    page.page.keyboard.type("cro")
    page.press("ArrowDown")
    page.press("Enter")
    assert field.inner_text() == "crockery"


@pytest.mark.parametrize(("name", "expected"), [("Merge", 3), ("Subtract", 1), ("Intersect", 1)])
def test_objects_are_combined(two, name, expected):
    (square,) = set(np.round([area / 1e3 for area in areas(two).values()]))
    row(two, "Object 1").locator(".pick").click()
    row(two, "Object 2").locator(".pick").click(modifiers=["Shift"])
    two.page.get_by_role("button", name=name).click()
    assert areas(two)["Object 1"] / 1e3 == pytest.approx(square * expected / 2, rel=0.08)
    two.press("Control+z")
    assert len(set(np.round([area / 1e3 for area in areas(two).values()]))) == 1


def test_sliders_grow_live_and_are_one_step_to_undo(two):
    before = areas(two)["Object 2"]
    slider = two.page.get_by_role("slider", name="Grow or shrink")
    slider.focus()
    for _ in range(20):
        two.press("ArrowRight")
    assert areas(two)["Object 2"] > before
    slider.fill("-60")
    assert areas(two)["Object 2"] < before
    slider.fill("0")
    assert areas(two)["Object 2"] == before


def test_upper_object_has_the_pixels_where_two_overlap(two):
    """The overlap wears the colour of the object on top; brought forward, the other one's."""

    def overlap_colour():
        x, y = two.screen(250, 200)
        return two.screenshot()[round(y), round(x)]

    two.press("s")
    two.leave_picture()
    upper = overlap_colour()
    row(two, "Object 1").locator(".pick").click()
    two.page.get_by_role("button", name="Bring Object 1 forward").click()
    two.leave_picture()
    assert np.abs(upper - overlap_colour()).max() > 30
    assert [thing["label"] for thing in two.state()["things"]] == ["Object 1", "Object 2"]


def test_hidden_object_is_not_drawn_and_a_locked_one_stays(two):
    two.press("s")
    row(two, "Object 2").locator(".pick").click()
    two.leave_picture()
    shown = two.screenshot()
    two.page.get_by_role("button", name="Hide Object 2").click()
    two.leave_picture()
    x, y = (round(at) for at in two.screen(350, 200))
    assert np.abs(shown[y, x] - two.screenshot()[y, x]).max() > 20
    two.page.get_by_role("button", name="Lock Object 2").click()
    two.press("Control+a")
    two.press("Delete")
    assert list(areas(two)) == ["Object 2"]
    two.press("Control+z")
    assert sorted(areas(two)) == ["Object 1", "Object 2"]
