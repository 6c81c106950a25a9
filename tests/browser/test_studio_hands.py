"""The studio by hand: what mouse, pen, finger and keys do beyond a plain click, as a person does and sees it."""

import io
import time

import numpy as np
import pillow_heif
import pytest
from browser_page import PHONE
from browser_pictures import CUP, SPOON, TABLE, Picture, in_view
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

BESIDE_CUP = (CUP[0] + 20, CUP[1])
"""On the cup as well, and so far from where it was clicked that a click there is no second one of two."""


def presses(page, *keys: str) -> None:
    for key in keys:
        page.press(key)


def keep(page, *places) -> None:
    for place in places:
        page.click(*place)
        page.press("n")


def labels(page) -> list[str]:
    return page.page.get_by_role("combobox", name="Label of Object").all_inner_texts()


def said(page) -> str:
    return page.page.locator("#status").inner_text()


def click_twice(page, x: float, y: float) -> None:
    """As fast as a person does, however long the page and this process take."""
    mouse, (x, y), now = page.page.context.new_cdp_session(page.page), page.screen(x, y), time.time()
    for count in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            now += 0.05
            event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": count, "timestamp": now}
            mouse.send("Input.dispatchMouseEvent", event)


# ---- keys alone -------------------------------------------------------------------------------------


def test_keys_alone_draw_a_box_and_move_its_corner(page):
    page.leave_picture()
    presses(page, "ArrowLeft", "m", *["Shift+ArrowRight"] * 3, *["Shift+ArrowDown"] * 2, "m")
    drawn = page.answer().prompts["box"]
    assert drawn[2] - drawn[0] == pytest.approx(144, abs=2) and drawn[3] - drawn[1] == pytest.approx(96, abs=2)
    presses(page, "j", "m", "Shift+ArrowLeft", "m")
    moved = page.answer().prompts["box"]
    assert moved[0] == pytest.approx(drawn[0] - 48, abs=2) and moved[1:] == pytest.approx(drawn[1:], abs=2)
    page.press("Control+z")
    assert page.answer().prompts["box"] == drawn


def test_keys_alone_move_and_remove_a_point(page):
    page.leave_picture()
    presses(page, "ArrowLeft", "Enter")
    (before,) = page.answer().prompts["clicks"]
    presses(page, *["ArrowUp"] * 5, "j", "m", "Shift+ArrowRight", "m")
    (after,) = page.answer().prompts["clicks"]
    assert after["x"] == pytest.approx(before["x"] + 48, abs=2) and after["y"] == before["y"]
    presses(page, "j", "Enter")
    page.wait_for("no point", lambda state: not state["prompts"]["clicks"])


def test_escape_gives_a_press_by_keys_up(page):
    page.leave_picture()
    presses(page, "ArrowLeft", "m", "Shift+ArrowRight", "Shift+ArrowDown")
    assert "M lets go" in said(page)
    presses(page, "Escape", "m", "m")
    assert page.state()["prompts"] == {"clicks": [], "box": None}


def test_keys_alone_paint(page):
    page.leave_picture()
    presses(page, "b", "ArrowLeft", "m", "Shift+ArrowRight", "Shift+ArrowRight", "m")
    assert "Painted. The mask covers" in said(page)


# ---- objects ----------------------------------------------------------------------------------------


def test_two_clicks_on_an_object_edit_it_from_its_prompts(page):
    kept = page.click(*CUP)
    page.press("n")
    click_twice(page, *BESIDE_CUP)
    state = page.wait_for("the object in hand", lambda state: state["editing"])
    assert state["prompts"] == kept.prompts and len(state["things"]) == 1
    page.page.get_by_role("button", name="Done").click()
    assert page.state()["editing"] is None


def test_hand_selects_the_object_under_a_click(page):
    keep(page, CUP)
    presses(page, "Escape", "h")
    assert not page.page.get_by_role("heading", name="Object 1").is_visible()
    page.page.mouse.click(*page.screen(*BESIDE_CUP))
    assert page.page.get_by_role("heading", name="Object 1").is_visible()
    assert page.page.get_by_role("slider", name="Fill holes").is_visible()


def test_objects_are_dragged_into_another_order_and_back_by_undo(page):
    keep(page, CUP, SPOON, TABLE)
    assert labels(page) == ["Object 3", "Object 2", "Object 1"]
    grips = page.page.locator("#object-list .grip")
    grips.nth(2).hover()
    page.page.mouse.down()
    top = grips.nth(0).bounding_box()
    page.page.mouse.move(top["x"] + 5, top["y"] + 2, steps=5)
    page.page.mouse.up()
    assert labels(page) == ["Object 1", "Object 3", "Object 2"]
    page.press("Control+z")
    assert labels(page) == ["Object 3", "Object 2", "Object 1"]


def test_everything_done_to_an_object_is_undone_and_redone(page):
    """Label, colour, visibility, lock, order: one step each, seen in the list."""
    keep(page, CUP, TABLE)
    name = page.page.get_by_role("combobox", name="Label of Object 1")
    name.click()
    page.page.keyboard.type("cup")
    page.press("Enter")
    colour = page.page.get_by_label("Colour of cup")
    first_colour = colour.input_value()
    colour.fill("#123456")
    page.page.get_by_role("button", name="Bring cup forward").click()
    page.page.get_by_role("button", name="Hide cup").click()
    page.page.get_by_role("button", name="Lock cup").click()
    assert page.page.get_by_role("button", name="Unlock cup").is_visible()
    seen = [
        lambda: page.page.get_by_role("button", name="Lock cup", exact=True).is_visible(),
        lambda: page.page.get_by_role("button", name="Hide cup").is_visible(),
        lambda: page.page.locator(".label-input").all_inner_texts()[1:] == ["Object 2", "cup"],
        lambda: colour.input_value() == first_colour,
        lambda: page.page.locator(".label-input").all_inner_texts()[1:] == ["Object 2", "Object 1"],
    ]
    page.page.locator("#stage").focus()
    for undone in seen:
        page.press("Control+z")
        assert undone()
    for _ in seen:
        page.press("Control+Shift+z")
    assert page.page.get_by_role("button", name="Unlock cup").is_visible()


def test_label_is_forgotten_when_it_is_no_longer_wanted(page):
    page.page.get_by_role("combobox", name="Label of the next object").click()
    page.page.keyboard.type("crockery")
    page.press("Enter")
    assert page.page.get_by_role("button", name="crockery 1").is_visible()
    page.page.get_by_role("button", name="Forget the label crockery").click(force=True)
    assert page.page.get_by_role("button", name="crockery").count() == 0


# ---- the mask's level -------------------------------------------------------------------------------


def test_level_in_use_is_told_and_let_go(page):
    page.click(*CUP)
    group = page.page.get_by_role("radio", name="Group")
    assert "Quality" in group.inner_text() and "Stable" in group.inner_text()
    group.click()
    assert page.page.get_by_text("One click gives you Group.").is_visible()
    page.press("Escape")
    assert page.hover(*TABLE).index == 3
    page.page.get_by_role("button", name="Best instead").click()
    assert not page.page.get_by_text("One click gives you").is_visible()


# ---- before and after -------------------------------------------------------------------------------


def test_picture_as_it_was_shows_for_as_long_as_it_is_asked_for(page):
    page.leave_picture()
    bare = in_view(page.screenshot(), page.view())[150:, :300]
    page.click(*CUP)
    page.page.get_by_role("radio", name="Group").click()
    page.press("n")
    page.page.locator("#stage").focus()
    page.leave_picture()
    masked = in_view(page.screenshot(), page.view())[150:, :300]
    page.page.keyboard.down("\\")
    before = in_view(page.screenshot(), page.view())[150:, :300]
    page.page.keyboard.up("\\")
    assert np.abs(before - bare).mean() < 1 < np.abs(masked - bare).mean()
    np.testing.assert_allclose(in_view(page.screenshot(), page.view())[150:, :300], masked, atol=3)
    page.page.get_by_role("button", name="View", exact=True).click()
    button = page.page.get_by_role("button", name="Hold to compare")
    button.hover()
    page.page.mouse.down()
    held = in_view(page.screenshot(), page.view())[150:, :300]
    page.page.mouse.up()
    assert np.abs(held - bare).mean() < 1


# ---- pen and fingers --------------------------------------------------------------------------------


def test_pen_that_presses_harder_paints_broader(page):
    pen = page.page.context.new_cdp_session(page.page)

    def stroke(row: int, force: float) -> None:
        for kind, column in (
            ("mousePressed", 150),
            *(("mouseMoved", x) for x in range(160, 440, 20)),
            ("mouseReleased", 440),
        ):
            x, y = page.screen(column, row)
            event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "pointerType": "pen", "force": force}
            pen.send("Input.dispatchMouseEvent", event)

    def covered() -> float:
        page.wait_for("paint", lambda state: state["mask"] and state["mask"]["kept"])
        return float(said(page).split("covers ")[1].split(" %")[0])

    page.press("b")
    stroke(100, 0.15)
    light = covered()
    page.press("Escape")
    page.wait_for("nothing", lambda state: not state["mask"])
    stroke(100, 0.95)
    assert covered() > 1.8 * light


@pytest.mark.parametrize("context_options", [PHONE], ids=["phone"])
def test_two_fingers_move_a_picture_that_is_close(page):
    fingers = page.page.context.new_cdp_session(page.page)

    def touch(kind, *points):
        places = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    presses(page, "+", "+", "+")
    page.wait_for("a closer view", lambda state: state["scale"] > 1.5)
    before = page.view()
    x, y = 180, 300
    touch("touchStart", (x, y), (x + 60, y))
    for step in range(1, 6):
        touch("touchMove", (x + 8 * step, y), (x + 60 + 8 * step, y))
    touch("touchEnd")
    state = page.wait_for("the picture to move", lambda state: abs(state["view"]["x"] - before.x - 40) <= 6)
    assert state["view"]["width"] == pytest.approx(before.width, rel=0.05)
    page.pass_frame()
    assert page.state()["prompts"] == {"clicks": [], "box": None}


@pytest.mark.parametrize("context_options", [PHONE], ids=["phone"])
def test_phone_shows_the_candidates_below_the_picture_and_the_objects_on_demand(page):
    page.page.touchscreen.tap(*page.screen(*CUP))
    page.answer()
    stage, panel = (page.page.locator(name).bounding_box() for name in ("#stage", "#panel"))
    assert stage["y"] + stage["height"] <= panel["y"], "nothing covers the picture"
    group = page.page.get_by_role("radio", name="Group")
    group.tap()
    expect(group).to_have_attribute("aria-checked", "true")
    page.page.get_by_role("button", name="Keep").tap()
    page.wait_for("the object", lambda state: state["things"])
    assert not page.page.get_by_role("button", name="Edit Object 1").is_visible()
    page.page.get_by_role("button", name="Objects").tap()
    expect(page.page.get_by_role("button", name="Edit Object 1")).to_be_visible()
    assert page.page.evaluate("() => document.documentElement.scrollWidth") == 390, "nothing sticks out"


# ---- pictures that browsers cannot show -------------------------------------------------------------


def tiff(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.rotate(90, expand=True).save(file, "TIFF", exif=exif)
    return file.getvalue()


def heic(image: Image.Image) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90)
    return file.getvalue()


@pytest.mark.parametrize(("name", "write"), [("coffee.heic", heic), ("turned.tiff", tiff)])
def test_picture_that_the_browser_cannot_show_comes_back_from_the_server(sam_page, photographs, name, write):
    image = Image.fromarray(photographs["coffee"].pixels)
    sam_page.open()
    sam_page.upload_and_wait(Picture(name, write(image)))
    assert sam_page.state()["picture"]["size"] == {"width": image.width, "height": image.height}
    sam_page.leave_picture()
    seen = in_view(sam_page.screenshot(), sam_page.view())
    wanted = np.asarray(image.resize((seen.shape[1], seen.shape[0])), np.float64)
    assert np.abs(seen - wanted)[20:-20, 20:-20].mean() < 8
    assert (sam_page.click(*CUP).logits > 0).any()


def test_picture_that_nobody_can_read_says_what_to_do(sam_page, guard):
    guard.expect("415")
    sam_page.open()
    sam_page.upload(Picture("notes.heic", b"not a picture"))
    card = sam_page.page.get_by_role("alert").filter(has_text="cannot")
    card.wait_for()
    assert "Save it as JPEG, PNG or WebP" in card.inner_text()
