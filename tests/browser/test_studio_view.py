"""The view, several pictures, keys, touch: what a person does and sees, and no violation that axe knows."""

import json
from pathlib import Path

import numpy as np
import pytest
from browser_page import PHONE
from browser_pictures import CUP, SPOON, TABLE, in_view
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


# ---- zoom, pan, display -----------------------------------------------------------------------------


def test_wheel_zooms_at_the_pointer_up_to_64_and_back_to_fit(page):
    fit = page.view()
    x, y = (round(at) for at in page.screen(*SPOON))
    before = beneath(page, x, y)
    page.page.mouse.move(x, y)
    page.page.mouse.wheel(0, -500)
    page.wait_for("a closer view", lambda state: state["view"]["width"] > fit.width * 1.5)
    np.testing.assert_allclose(beneath(page, x, y), before, atol=0.01)
    for _ in range(8):
        page.page.mouse.wheel(0, -500)
    assert page.wait_for("the closest view", lambda state: state["scale"] > 63.9)["scale"] == pytest.approx(64)
    np.testing.assert_allclose(beneath(page, x, y), before, atol=0.01)
    page.press("f")
    assert page.view() == fit


def beneath(page, x: float, y: float) -> tuple[float, float]:
    """The position in the picture that lies at a position on the screen."""
    state = page.state()
    view, scale = state["view"], state["scale"]
    return (x - view["x"]) / scale, (y - view["y"]) / scale


@pytest.mark.parametrize("how", ["space", "middle button", "hand"])
def test_picture_is_moved(page, how):
    page.press("+")
    page.press("+")
    page.wait_for("a closer view", lambda state: state["scale"] > 2)
    before = page.view()
    x, y = page.screen(*CUP)
    button = "middle" if how == "middle button" else "left"
    page.page.mouse.move(x, y)
    if how == "hand":
        page.press("h")
    if how == "space":
        page.page.keyboard.down(" ")
    page.page.mouse.down(button=button)
    page.page.mouse.move(x + 40, y + 25, steps=3)
    page.page.mouse.up(button=button)
    if how == "space":
        page.page.keyboard.up(" ")
    after = page.view()
    assert (after.x - before.x, after.y - before.y) == pytest.approx((40, 25), abs=0.5)
    assert page.state()["prompts"] == {"clicks": [], "box": None}


def test_click_lands_where_it_is_seen_also_when_zoomed(page, oracle, photographs):
    page.page.mouse.move(*page.screen(*CUP))
    page.page.mouse.wheel(0, -700)
    page.wait_for("a closer view", lambda state: state["scale"] > 3)
    kept = page.click(*CUP)
    np.testing.assert_allclose([kept.prompts["clicks"][0][axis] for axis in "xy"], CUP, atol=0.5)
    assert oracle.agreement(photographs["coffee"], kept) >= 0.97


def test_displays_show_what_they_say(page):
    page.click(*CUP)
    page.press("n")
    page.press("Escape")
    page.leave_picture()
    shots = {}
    for display in ("fill", "outline", "cutout", "original"):
        page.wait_for(display, lambda state, display=display: state["display"] == display)
        shots[display] = in_view(page.screenshot(), page.view())
        page.press("o")
    tinted = np.abs(shots["fill"] - shots["original"]).max(-1) > 8
    outlined = np.abs(shots["outline"] - shots["original"]).max(-1) > 8
    assert 0 < outlined.sum() < tinted.sum()
    far = shots["cutout"][10:40, 10:40]
    assert set(np.unique(far // 10)) <= {21, 24}, "a checkerboard where there is no object"


# ---- pictures ---------------------------------------------------------------------------------------


def test_each_picture_keeps_its_work(page, photographs):
    page.click(*CUP)
    page.press("n")
    page.upload(photographs["chelsea"])
    page.wait_until_ready(photographs["chelsea"])
    assert page.state()["things"] == []
    page.press("PageUp")
    page.wait_until_ready(photographs["coffee"])
    assert len(page.state()["things"]) == 1
    page.page.get_by_role("button", name="chelsea.jpg").first.click()
    page.wait_until_ready(photographs["chelsea"])
    assert page.hover(130, 130).logits.any()


def test_browser_without_webgl_shows_the_preview_and_the_pixel_grid(sam_page, photographs):
    sam_page.open(tier="wasm", renderer="2d")
    sam_page.open_gallery(photographs["coffee"])
    sam_page.click(*CUP)
    sam_page.leave_picture()
    bare = sam_page.screenshot()
    sam_page.page.mouse.move(*sam_page.screen(*TABLE))
    sam_page.wait_for("a preview", lambda state: state["preview"])
    assert (np.abs(sam_page.screenshot() - bare).max(-1) > 25).mean() > 0.01, "what the click would change has a colour"

    sam_page.press("Escape")
    sam_page.page.mouse.move(*sam_page.screen(*CUP))
    for _ in range(8):
        sam_page.page.mouse.wheel(0, -600)
    sam_page.wait_for("the closest look", lambda state: round(state["scale"]) == 64)
    sam_page.leave_picture()
    view, shot = sam_page.view(), sam_page.screenshot()
    row = shot[420].mean(-1)
    meets = [round(view.x + 64 * n) for n in range(photographs["coffee"].size[0]) if 300 < view.x + 64 * n < 800]
    assert len(meets) >= 7
    for x in meets:
        assert abs(row[x] - (row[x - 3] + row[x + 3]) / 2) > 4, "a line where two pixels meet"
        assert abs(row[x + 30] - row[x + 33]) < 4, "and none within one"


def test_several_files_at_once_open_side_by_side(sam_page, photographs):
    sam_page.open()
    chosen = [photographs[name] for name in ("coffee", "chelsea")]
    files = [{"name": each.name, "mimeType": each.mime_type, "buffer": each.data} for each in chosen]
    sam_page.page.locator("#file").set_input_files(files)
    sam_page.wait_until_ready(chosen[0])
    sam_page.wait_for("both", lambda state: [each["status"] for each in state["pictures"]] == ["ready", "ready"])


# ---- touch, keys, accessibility ---------------------------------------------------------------------


@pytest.mark.parametrize("context_options", [PHONE], ids=["phone"])
def test_fingers_tap_hold_and_pinch(sam_page, photographs):
    sam_page.open()
    sam_page.open_gallery(photographs["coffee"])
    fingers = sam_page.page.context.new_cdp_session(sam_page.page)

    def touch(kind, *points):
        places = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    sam_page.page.touchscreen.tap(*sam_page.screen(*CUP))
    assert [click["label"] for click in sam_page.answer().prompts["clicks"]] == [1]
    touch("touchStart", sam_page.screen(*SPOON))
    sam_page.wait_for("the finger to have rested", lambda state: len(state["prompts"]["clicks"]) == 2)
    touch("touchEnd")
    assert [click["label"] for click in sam_page.answer().prompts["clicks"]] == [1, 0]
    x, y = sam_page.screen(*CUP)
    before = sam_page.state()["scale"]
    touch("touchStart", (x - 20, y), (x + 20, y))
    for spread in (30, 45, 60):
        touch("touchMove", (x - spread, y), (x + spread, y))
    touch("touchEnd")
    sam_page.wait_for("a closer view", lambda state: state["scale"] > 2 * before)
    sam_page.pass_frame()
    assert len(sam_page.state()["prompts"]["clicks"]) == 2, "a pinch is no click"


def test_edges_of_cut_outs_are_offered_without_scrolling(page):
    page.click(*CUP)
    page.press("n")
    page.page.locator("#take-home-button").click()
    page.page.locator("#take-home").wait_for()
    for name in ("Cut-outs", "Hard", "Feather", "Soft", "Save"):
        assert in_sight(page.page.locator("#take-home").get_by_text(name, exact=True).last), name


@pytest.mark.parametrize("context_options", [PHONE], ids=["phone"])
def test_a_phone_shows_the_objects_first_and_the_models_name(sam_page, photographs):
    info = sam_page.open()["service"]["info"]
    sam_page.open_gallery(photographs["coffee"])
    for place in (CUP, TABLE):
        sam_page.page.touchscreen.tap(*sam_page.screen(*place))
        sam_page.answer()
        sam_page.press("n")
    sam_page.page.locator("#open-panel").tap()
    expect(sam_page.page.locator("#open-panel")).to_have_attribute("aria-expanded", "true")
    rows = sam_page.page.locator("#object-list .pick")
    assert rows.count() == 2 and all(in_sight(row) for row in rows.all())
    assert in_sight(sam_page.page.locator("#facts").get_by_text(info["model"]["id"], exact=True))


def in_sight(element) -> bool:
    """Whether the middle of it is what a pointer there would meet."""
    return element.evaluate("""(element) => {
        const { left, top, width, height } = element.getBoundingClientRect();
        return element.contains(document.elementFromPoint(left + width / 2, top + height / 2));
    }""")


def test_question_mark_shows_the_keys(page):
    page.press("?")
    keys = page.page.get_by_role("dialog", name="Keys and gestures")
    assert "Undo" in keys.inner_text() and "Ctrl+Z" in keys.inner_text()
    page.press("Escape")
    expect(keys).to_be_hidden()


def test_mask_is_announced(page):
    page.click(*CUP)
    said = page.page.get_by_role("status").inner_text()
    assert "The mask covers" in said and "score 0." in said


@pytest.mark.parametrize(
    "context_options",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_no_violation(sam_page, photographs):
    if not AXE.is_file():
        pytest.skip("axe-core is missing; run: npm ci")
    sam_page.open()
    assert violations(sam_page) == []
    sam_page.open_gallery(photographs["coffee"])
    sam_page.click(*CUP)
    assert violations(sam_page) == []
    sam_page.press("n")
    if sam_page.page.locator("#open-panel").is_visible():
        sam_page.page.locator("#open-panel").click()
    assert violations(sam_page) == []
    for opener in ("#display", "#tier"):
        sam_page.page.locator(opener).click()
        assert violations(sam_page) == [], opener
        sam_page.press("Escape")
    sam_page.press("b")
    assert violations(sam_page) == [], "brush"
    sam_page.press("?")
    assert violations(sam_page) == []
    sam_page.press("Escape")
    sam_page.page.locator("#take-home-button").click()
    sam_page.page.locator("#take-home").wait_for()
    assert violations(sam_page) == [], "take home"
    sam_page.page.locator("#take-home-button").click()
    sam_page.press("s")
    sam_page.press("a")
    sam_page.wait_for("something found", lambda state: state["found"] and state["found"]["objects"])
    assert violations(sam_page) == [], "everything"


def violations(page) -> list[str]:
    page.page.evaluate(f"() => {{ {AXE.read_text()} }}")
    found = page.page.evaluate("() => axe.run(document).then(({ violations }) => violations)")
    return [
        f"{each['id']}: {each['help']}: {json.dumps([node['html'][:120] for node in each['nodes'][:3]])}"
        for each in found
    ]
