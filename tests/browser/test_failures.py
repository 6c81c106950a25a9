"""What goes wrong is said in words, and the page works on."""

import numpy as np
import pytest
from browser_page import SamPage
from browser_pictures import Picture

pytestmark = pytest.mark.browser

CLOSE = 0.97
CAT = (130, 130)
NETWORK = "Failed to load resource"


@pytest.fixture
def icon() -> Picture:
    """A picture that browsers show and our server does not read."""
    return Picture.encoded("icon.ico", np.full((32, 32, 3), 128, np.uint8))


def test_file_that_is_no_picture_is_refused_in_words_and_the_page_works_on(sam_page, oracle, photographs):
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


def test_page_outlives_its_server(context, server, oracle, photographs, guard):
    """While the server is away masks still follow the mouse; what needs it says so, and works when it is back."""
    guard.expect(f"{NETWORK}.*ERR_CONNECTION_REFUSED")
    guard.expect(f"{NETWORK}.*404")  # the new process does not know the old one's picture; the page sends it again
    here, remote = (SamPage(context.new_page(), server.address) for _ in range(2))
    here.open(tier="wasm")
    here.open_gallery(photographs["chelsea"])
    remote.open(tier="server")
    remote.open_gallery(photographs["chelsea"])
    with server.away():
        assert oracle.agreement(photographs["chelsea"], here.hover(*CAT)) >= CLOSE
        here.upload(photographs["coffee"])
        problem = here.page.locator("#picture-problem")
        problem.get_by_role("heading", name="The server does not answer").wait_for()
        assert "still running" in problem.inner_text()

        remote.page.mouse.move(*remote.screen(*CAT))
        remote.wait_for("the decoder to fail", lambda state: state["decoder"]["status"] == "failed")
        assert "No decoder" in remote.page.locator("#tier").inner_text()
        assert "Check that it is still running" in remote.page.locator("#status").inner_text()

    problem.get_by_role("button", name="Try again").click()
    here.wait_until_ready(photographs["coffee"])
    assert oracle.agreement(photographs["coffee"], here.hover(300, 180)) >= CLOSE

    remote.page.locator("#tier").click()
    remote.page.locator("#tiers").get_by_role("button", name="Try again").click()
    remote.wait_for("the server's decoder", lambda state: state["decoder"]["status"] == "ready")
    remote.wait_until_ready(photographs["chelsea"])
    remote.press("Escape")
    assert oracle.agreement(photographs["chelsea"], remote.hover(*CAT)) >= CLOSE
