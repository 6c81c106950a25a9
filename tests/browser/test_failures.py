"""What goes wrong is said in words, and the page works on."""

import re

import numpy as np
import pytest
import torch
from browser_page import SamPage
from browser_pictures import Oracle, Picture

from sam import load_sam

pytestmark = pytest.mark.browser

CLOSE = 0.97
CAT = (130, 130)
NETWORK = "Failed to load resource"


@pytest.fixture
def icon() -> Picture:
    """A picture that browsers show and our server does not read."""
    return Picture.encoded("icon.ico", np.full((32, 32, 3), 128, np.uint8))


def test_file_that_is_no_picture_is_refused_in_words_and_the_page_works_on(sam_page, guard, oracle, photographs):
    guard.expect(f"{NETWORK}.*415")  # what the browser cannot read, the server is asked about
    sam_page.open()
    sam_page.upload(Picture("holiday.jpg", b"This is a letter, not a photograph."))
    problem = sam_page.page.locator("#picture-problem")
    problem.get_by_role("heading", name="This picture cannot be shown").wait_for()
    assert "damaged" in problem.inner_text()
    problem.get_by_role("button", name="Another picture").click()
    sam_page.open_gallery(photographs["chelsea"])
    assert oracle.agreement(photographs["chelsea"], sam_page.hover(*CAT)) >= CLOSE


def test_refusal_of_the_server_is_shown_in_its_words(sam_page, guard, icon):
    guard.expect(f"{NETWORK}.*415")
    sam_page.open()
    sam_page.upload(icon)
    problem = sam_page.page.locator("#picture-problem")
    problem.get_by_text("JPEG, PNG").wait_for()
    assert problem.get_by_role("heading").inner_text()


@pytest.mark.parametrize(("status", "title"), [(429, "Too many requests"), (503, "Too much work is waiting")])
def test_picture_that_is_refused_for_now_is_sent_again_when_the_server_says_so(
    sam_page, guard, oracle, photographs, status, title
):
    guard.expect(f"{NETWORK}.*{status}")
    problem = {"title": title, "status": status, "detail": "Come again.", "retry_after_s": 2}
    refusals = sam_page.refuse("**/api/images", *[problem] * 10)
    sam_page.open()
    sam_page.upload(photographs["chelsea"])
    sam_page.page.get_by_text(re.compile("too much to do. Trying again in [12] s")).first.wait_for()
    del refusals[1:]  # whatever came before them, there is one more
    sam_page.wait_until_ready(photographs["chelsea"])
    assert refusals == []
    assert oracle.agreement(photographs["chelsea"], sam_page.hover(*CAT)) >= CLOSE


def test_server_gone_is_announced_and_made_up_for_by_itself(context, server, oracle, photographs, guard):
    """Masks still follow the mouse where they are decoded in the page; nobody has to press anything."""
    expect_outage(guard)
    here, remote = (SamPage(context.new_page(), server.address) for _ in range(2))
    here.open(tier="wasm")
    here.open_gallery(photographs["chelsea"])
    here.click(*CAT)
    here.press("n")
    remote.open(tier="server")
    remote.open_gallery(photographs["chelsea"])
    banner = here.page.locator("#service-problem")
    with server.away():
        assert oracle.agreement(photographs["chelsea"], here.hover(300, 100)) >= CLOSE
        assert banner.is_hidden(), "what is decoded here does not miss the server"
        here.upload(photographs["coffee"])
        here.page.locator("#picture-problem").get_by_role("heading", name="The server does not answer").wait_for()
        banner.get_by_text("goes on by itself").wait_for()
        here.page.get_by_role("button", name="chelsea.jpg, 1 objects").click()
        assert oracle.agreement(photographs["chelsea"], here.hover(*CAT)) >= CLOSE
        here.page.get_by_role("button", name="coffee.jpg, 0 objects").click()

        remote.page.mouse.move(*remote.screen(*CAT))
        remote.wait_for("the decoder to fail", lambda state: state["decoder"]["status"] == "failed")
        assert "No decoder" in remote.page.locator("#tier").inner_text()
        remote.page.locator("#service-problem").get_by_text("Nothing is lost").wait_for()

    here.wait_until_ready_again(photographs["coffee"])
    assert banner.is_hidden()
    assert oracle.agreement(photographs["coffee"], here.hover(300, 180)) >= CLOSE
    assert [picture["status"] for picture in here.state()["pictures"]] == ["ready", "ready"]

    remote.wait_for("the server's decoder", lambda state: state["decoder"]["status"] == "ready")
    remote.wait_until_ready_again(photographs["chelsea"])
    remote.press("Escape")
    assert oracle.agreement(photographs["chelsea"], remote.hover(*CAT)) >= CLOSE


def test_a_search_notices_that_the_server_is_gone(page, server, guard):
    expect_outage(guard)
    begin = page.page.get_by_role("button", name="Find everything")
    with server.away():
        begin.click()
        page.page.locator("#service-problem").get_by_text("goes on by itself").wait_for()
    page.wait_for("the server", lambda state: state["server"] == "here")
    begin.click()
    page.wait_for("an object", lambda state: state["found"] and state["found"]["objects"])


def test_page_that_was_opened_too_late_starts_by_itself(context, server, photographs, guard):
    """The page is there from the last visit, the server is not: as when it is started after the browser's tabs."""
    expect_outage(guard)
    late = SamPage(context.new_page(), server.address)
    gone = []
    late.page.route("**/api/**", lambda route: route.abort() if gone else route.continue_())
    late.page.route("**/healthz", lambda route: route.abort() if gone else route.continue_())
    gone.append(True)
    late.page.goto(server.address)
    late.page.locator("#service-problem").get_by_text("The server does not answer").wait_for()
    late.upload(photographs["chelsea"])
    gone.clear()
    late.wait_until_ready_again(photographs["chelsea"])
    assert late.page.locator("#service-problem").is_hidden()


def test_server_with_other_weights_gets_the_pictures_again_and_the_work_stays(
    context, server, oracle, photographs, guard, tmp_path
):
    """An embedding of the old model never meets the new decoder; kept objects are kept. The page notices it while the
    server is away, or when another one is there."""
    expect_outage(guard)
    before, other = server.checkpoint, str(tmp_path / "other.safetensors")
    model = load_sam(before)
    with torch.no_grad():
        model.state_dict()["mask_decoder.iou_prediction_head.layers.0.bias"].add_(1e-3)
    model.save(other)
    page = SamPage(context.new_page(), server.address)
    page.open(tier="wasm")
    page.open_gallery(photographs["chelsea"])
    page.click(*CAT)
    page.press("n")
    [kept] = page.state()["things"]

    def check(asked: Oracle, picture: Picture) -> None:
        page.wait_until_ready_again(picture)
        state = page.wait_for("all", lambda state: all(each["status"] == "ready" for each in state["pictures"]))
        assert state["service"]["info"]["model"]["weights_hash"] == asked.model.weights_hash()
        page.page.get_by_role("button", name="chelsea.jpg, 1 objects").click()
        page.wait_until_ready_again(photographs["chelsea"])
        assert page.state()["things"] == [kept]
        assert asked.agreement(photographs["chelsea"], page.hover(300, 100)) >= CLOSE

    try:
        with server.away(checkpoint=other):
            page.upload(photographs["coffee"])
            page.page.locator("#service-problem").get_by_text("goes on by itself").wait_for()
        check(Oracle(model), photographs["coffee"])
        with server.away(checkpoint=before):
            pass
        page.upload(photographs["astronaut"])
        check(oracle, photographs["astronaut"])
    finally:
        if server.checkpoint != before:
            with server.away(checkpoint=before):
                pass


def expect_outage(guard) -> None:
    guard.expect(f"{NETWORK}.*ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|FAILED|NETWORK_CHANGED)")
    guard.expect(f"{NETWORK}.*404")  # the new process does not know the old one's picture; the page sends it again
