"""The page as a Hugging Face Space shows it: in a frame of the hub, behind a proxy that adds the README's headers.

The hub's own page is made up here; its address is real, and no request leaves the machine.
"""

import os
import time
from collections.abc import Callable, Iterator

import pytest
import yaml
from browser_page import PATIENCE_MS
from browser_proxy import reverse_proxy, serving
from browser_server import ROOT, DemoServer
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page

from demo.settings import parse_settings

pytestmark = pytest.mark.browser

HUB = "https://huggingface.co/spaces/somebody/segment-anything"
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
POINT = (130, 130)


@pytest.fixture(scope="module")
def space(runtime, tripwire, tmp_path_factory) -> Iterator[str]:
    """The Space's address: the server with what the platform sets, behind the platform's proxy."""
    front_matter = yaml.safe_load((ROOT / "README.md").read_text("utf-8").split("---\n")[1])
    log = tmp_path_factory.mktemp("space") / "log.txt"
    environment = tripwire.environment | {"SPACE_ID": "somebody/segment-anything"}
    demo = DemoServer(log, parse_settings([]).checkpoint, environment)
    demo.start()
    with serving(reverse_proxy(demo.address, adds=front_matter["custom_headers"])) as address:
        yield address
    demo.stop()


class Hub:
    """A page of the hub, or of whoever has that address, with the Space in a frame."""

    def __init__(self, page: Page, address: str, space: str, *, isolated: bool) -> None:
        self.page, self.errors = page, []
        headers, allow = (ISOLATED, "cross-origin-isolated") if isolated else ({}, "")
        html = f'<!doctype html><iframe src="{space}" allow="{allow}" width=1280 height=800></iframe>'
        page.route(address, lambda route: route.fulfill(body=html, content_type="text/html", headers=headers))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.goto(address)
        self.frame = page.frames[1]

    def state(self) -> dict:
        return self.frame.evaluate("() => samDebug.state()")

    def wait_for(self, what: str) -> None:
        self.frame.wait_for_function(f"() => globalThis.samDebug && ((state) => {what})(samDebug.state())")

    def wait_for_error(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not any(words in error for error in self.errors):
            assert time.monotonic() < deadline, self.errors
            self.page.wait_for_timeout(50)

    def open_picture(self, name: str) -> None:
        self.wait_for("state.decoder.status === 'ready'")
        self.frame.locator(f'#gallery img[src$="{name}"]').click()
        self.wait_for("state.picture?.phase.status === 'ready' && state.view && state.laidOut")

    def click(self, x: float, y: float) -> None:
        """Keep a click at a pixel of the picture, and wait for its mask."""
        state, box = self.state(), self.page.locator("iframe").bounding_box()
        view, size = state["view"], state["picture"]["size"]
        scale = view["width"] / size["width"]
        self.page.mouse.click(box["x"] + view["x"] + x * scale, box["y"] + view["y"] + y * scale)
        self.wait_for("state.prompts.clicks.length === 1 && state.mask?.kept")


@pytest.fixture
def hub(chromium, space) -> Iterator[Callable[..., Hub]]:
    contexts = []

    def show(address: str = HUB, *, isolated: bool) -> Hub:
        # A public page that frames an address of this machine must be allowed to; a Space's address is public too.
        options = {"viewport": {"width": 1300, "height": 860}, "permissions": ["local-network-access"]}
        context = chromium.new_context(reduced_motion="reduce", **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        return Hub(context.new_page(), address, space, isolated=isolated)

    yield show
    for context in contexts:
        context.close()


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "not-isolated"])
def test_the_page_works_in_the_hubs_frame_with_the_threads_that_it_gets(hub, isolated):
    page = hub(isolated=isolated)
    page.open_picture("chelsea.jpg")
    decoder = page.state()["decoder"]
    reasons = {refusal["tier"]: refusal["reason"] for refusal in decoder["refused"]}
    if isolated and os.cpu_count() > 1:
        assert decoder["tier"] == "wasm-threads" and decoder["threads"] > 1
    elif not isolated:
        assert (decoder["tier"], decoder["threads"]) == ("wasm", 1)
        assert "not cross-origin isolated" in reasons["wasm-threads"]
        page.frame.locator("#tier").click()
        assert "not cross-origin isolated, so threads are off" in page.frame.locator("#tiers").inner_text()
        page.page.keyboard.press("Escape")
    page.click(*POINT)
    assert page.state()["mask"]["iou"] > 0
    assert page.errors == []


def test_a_browser_that_keeps_nothing_for_frames_loses_nothing_but_the_memory(hub):
    """Chromium refuses a foreign frame its stores in a private window, which is what a test's context is."""
    page = hub(isolated=False)
    page.open_picture("chelsea.jpg")
    with pytest.raises(PlaywrightError, match="Access is denied"):
        page.frame.evaluate("() => localStorage.length")
    page.wait_for("state.notice?.startsWith('Your work cannot be stored here')")
    page.click(*POINT)
    page.frame.locator("#keep").click()
    page.wait_for("state.notice?.includes('kept')")
    page.wait_for("!state.storing")  # or not, for it cannot be
    assert "kept" in page.state()["notice"], "told twice"
    assert page.errors == []


def test_nobody_else_may_frame_the_space(hub):
    page = hub("https://elsewhere.example/", isolated=False)
    page.frame.wait_for_url("chrome-error://chromewebdata/")
    page.wait_for_error("frame-ancestors https://huggingface.co")


def test_at_its_own_address_the_space_is_isolated(chromium, space):
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(space)
    assert page.evaluate("() => crossOriginIsolated")
    page.close()
