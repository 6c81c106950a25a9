"""`--private` in a real browser: the page works as ever, and another browser reaches nothing of it."""

from collections.abc import Iterator

import pytest
from browser_page import PATIENCE_MS, SamPage
from browser_server import DemoServer

from demo.settings import parse_settings

pytestmark = pytest.mark.browser

POINT = (130, 130)


@pytest.fixture(scope="module")
def private(runtime, tripwire, tmp_path_factory) -> Iterator[str]:
    """The address of a server that keeps pictures for whoever uploaded them."""
    log = tmp_path_factory.mktemp("private") / "log.txt"
    demo = DemoServer(log, parse_settings([]).checkpoint, tripwire.environment | {"SAM_DEMO_PRIVATE": "yes"})
    demo.start()
    yield demo.address
    demo.stop()


def test_the_page_works_and_its_pictures_answer_its_own_browser_alone(private, chromium, oracle, photographs):
    owner, other = (chromium.new_context(reduced_motion="reduce") for _ in range(2))
    for context in (owner, other):
        context.set_default_timeout(PATIENCE_MS)
    page = SamPage(owner.new_page(), private)
    page.open()
    page.open_gallery(photographs["chelsea"])
    assert oracle.agreement(photographs["chelsea"], page.hover(*POINT)) >= 0.97
    picture = page.page.evaluate("() => samDebug.state().picture.id")
    address = f"{private}api/images/{picture}/picture"
    assert owner.request.get(address).status == 200
    other.request.get(private)  # a visitor, too, with a cookie of their own
    assert other.request.get(address).status == 404
    (cookie,) = owner.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and cookie["expires"] == -1
    for context in (owner, other):
        context.close()
