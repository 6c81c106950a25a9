"""The ways pictures come in, and how they are looked at, as a person does it."""

import numpy as np
import pytest
from browser_page import PHONE
from browser_pictures import CUP, in_view
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_pictures_dropped_anywhere_open(sam_page, photographs, tmp_path):
    chosen = [photographs[name] for name in ("coffee", "chelsea")]
    files = []
    for each in chosen:
        (tmp_path / each.name).write_bytes(each.data)
        files.append(str(tmp_path / each.name))
    sam_page.open()
    mouse = sam_page.page.context.new_cdp_session(sam_page.page)

    def drag(kind: str) -> None:
        data = {"items": [], "files": files, "dragOperationsMask": 1}
        mouse.send("Input.dispatchDragEvent", {"type": kind, "x": 30, "y": 600, "data": data})

    drag("dragEnter")
    drag("dragOver")
    expect(sam_page.page.locator("body.dropping")).to_be_visible()
    expect(sam_page.page.get_by_text("Drop to open")).to_be_visible()
    drag("drop")
    sam_page.wait_until_ready(chosen[0])
    sam_page.wait_for("both", lambda state: [each["status"] for each in state["pictures"]] == ["ready", "ready"])


def test_picture_pasted_from_the_clipboard_opens(sam_page):
    sam_page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sam_page.open()
    sam_page.page.evaluate(
        """async () => {
        const canvas = new OffscreenCanvas(120, 80);
        canvas.getContext('2d').fillRect(20, 20, 60, 40);
        const blob = await canvas.convertToBlob();
        await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
        }"""
    )
    sam_page.press("Control+v")
    state = sam_page.wait_for(
        "the picture", lambda state: state["picture"] and state["picture"]["phase"]["status"] == "ready"
    )
    assert state["picture"]["size"] == {"width": 120, "height": 80}


@pytest.mark.parametrize("context_options", [PHONE], ids=["phone"])
def test_phone_takes_a_photograph(sam_page, photographs):
    sam_page.open()
    with sam_page.page.expect_file_chooser() as chooser:
        sam_page.page.get_by_role("button", name="Take a photograph").tap()
    assert chooser.value.element.get_attribute("capture") == "environment"
    coffee = photographs["coffee"]
    chooser.value.set_files({"name": coffee.name, "mimeType": coffee.mime_type, "buffer": coffee.data})
    sam_page.wait_until_ready(coffee)


def test_colour_strength_is_a_slider(sam_page, photographs):
    sam_page.open()
    sam_page.open_gallery(photographs["coffee"])
    sam_page.click(*CUP)
    sam_page.page.get_by_role("radio", name="Group").click()
    sam_page.press("n")
    sam_page.press("Escape")
    strength = sam_page.page.get_by_role("slider", name="Colour strength")
    shots = []
    for share in ("0", "100"):
        sam_page.page.get_by_role("button", name="View", exact=True).click()
        strength.fill(share)
        sam_page.press("Escape")
        sam_page.leave_picture()
        shots.append(in_view(sam_page.screenshot(), sam_page.view())[150:-150, 150:-150])
    assert np.abs(shots[0] - shots[1]).mean() > 20


@pytest.mark.parametrize(
    ("context_options", "seconds"),
    [({"reduced_motion": "reduce"}, 0), ({"reduced_motion": "no-preference"}, 0.18)],
    ids=["reduced", "moving"],
)
def test_nothing_moves_for_who_asked_for_that(sam_page, seconds):
    sam_page.open()
    duration = sam_page.page.locator("#canvas").evaluate("(canvas) => getComputedStyle(canvas).transitionDuration")
    assert float(duration.removesuffix("s")) == seconds
