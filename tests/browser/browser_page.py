"""The page under a person's hands: a real pointer and real keys go in, pixels and `window.samDebug` come out."""

import base64
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import numpy as np
from browser_pictures import GRID, Picture, Shown
from PIL import Image
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Route

PATIENCE_MS = 240_000
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
_LAST_MASK = """() => {
    const mask = samDebug.lastMask();
    const packed = (values) => values && btoa(
        Array.from(new Uint8Array(values.buffer), (byte) => String.fromCharCode(byte)).join(''));
    return mask && { ...mask, logits: packed(mask.logits), feedback: packed(mask.feedback) };
}"""


@dataclass
class Guard:
    """What must not happen in a browser: errors, refusals by a policy, requests to anybody but our server."""

    host: str
    faults: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("weberror", lambda error: self.faults.append(f"error: {error.error}"))
        context.on("console", self._listen)
        context.on("request", self._look_at)

    def expect(self, pattern: str) -> None:
        """Errors that match belong to this test."""
        self.expected.append(pattern)

    @property
    def unexpected(self) -> list[str]:
        return [fault for fault in self.faults if not any(re.search(each, fault) for each in self.expected)]

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location['url']})")

    def _look_at(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != self.host:
            self.faults.append(f"request to another host: {request.url}")


@dataclass(frozen=True)
class View:
    """Where a picture lies on the screen, in CSS pixels."""

    x: float
    y: float
    width: float
    height: float


class SamPage:
    """One page in one browser context. Positions are in pixels of the picture unless they are called screen."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    # ---- what a person does -----------------------------------------------------------------------

    def open(self, **query: str) -> dict:
        """Load the page and wait until its decoder is ready."""
        self.page.goto(f"{self.address}?{urlencode(query)}")
        return self.wait_for("a decoder", lambda state: state["decoder"]["status"] == "ready")

    def wait_until_loaded(self) -> None:
        """For a page that somebody else opened."""
        self.page.wait_for_function("() => globalThis.samDebug")

    def has_webgpu(self) -> bool:
        """Asked of a document without scripts, so that no decoder starts."""
        self.page.goto(f"{self.address}static/icon.svg")
        return self.page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())")

    def refuse(self, address: str, *problems: dict) -> list[dict]:
        """Answer the next requests with these problem documents, then let them through. Returns those to come."""
        coming = list(problems)

        def answer(route: Route) -> None:
            if not coming:
                return route.continue_()
            problem = coming.pop(0)
            kind = "application/problem+json"
            return route.fulfill(status=problem["status"], content_type=kind, body=json.dumps(problem))

        self.page.route(address, answer)
        return coming

    def show_specks(self) -> None:
        """Before `open`: masks as the model makes them, to be compared with PyTorch's."""
        self.page.add_init_script("localStorage.setItem('sam-specks', 'shown')")

    def open_gallery(self, picture: Picture) -> None:
        self.page.locator(f'#gallery img[src$="{picture.name}"]').click()
        self.wait_until_ready(picture)

    def upload(self, picture: Picture) -> None:
        """Choose a file; does not wait."""
        file = {"name": picture.name, "mimeType": picture.mime_type, "buffer": picture.data}
        self.page.locator("#file").set_input_files(file)

    def upload_and_wait(self, picture: Picture) -> None:
        self.upload(picture)
        self.wait_until_ready(picture)

    def point(self, x: float, y: float) -> None:
        """Move the pointer to a place in the picture, and let the page see it there."""
        self.point_on_screen(*self.screen(x, y))

    def point_on_screen(self, x: float, y: float) -> None:
        self.page.mouse.move(x, y)
        self.pass_frame()

    def hover(self, x: float, y: float) -> Shown:
        self.point(x, y)
        return self.answer()

    def click(self, x: float, y: float, button: str = "left", key: str | None = None) -> Shown:
        self.point(x, y)
        if key:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self.screen(x, y), button=button)
        if key:
            self.page.keyboard.up(key)
        return self.answer()

    def start_drag(self, box: tuple[float, float, float, float]) -> Shown:
        """Press at one corner, move to the other and hold."""
        x0, y0, x1, y1 = box
        self.page.mouse.move(*self.screen(x0, y0))
        self.page.mouse.down()
        self.page.mouse.move(*self.screen((x0 + x1) / 2, (y0 + y1) / 2))
        self.page.mouse.move(*self.screen(x1, y1))
        self.wait_for("a box being drawn", lambda state: state["mask"] and state["mask"]["prompts"]["box"])
        return self.shown()

    def press(self, keys: str) -> None:
        self.page.keyboard.press(keys)

    def lasso(self, corners: list[tuple[int, int]]) -> None:
        """Draw round an area of the picture, with the lasso's key."""
        self.press("l")
        self.page.mouse.move(*self.screen(*corners[0]))
        self.page.mouse.down()
        for corner in [*corners[1:], corners[0]]:
            self.point(*corner)
        self.page.mouse.up()
        self.wait_for("the area", lambda state: state["mask"] and state["mask"]["kept"])

    def leave_picture(self) -> None:
        """Move the pointer off the picture, to where the page says its name."""
        self.point_on_screen(2, 2)
        self.wait_for("no hover", lambda state: state["hover"] is None)

    # ---- what a person sees -----------------------------------------------------------------------

    def state(self) -> dict:
        return self.page.evaluate("() => samDebug.state()")

    def answer(self) -> Shown:
        """The mask shown, once it answers what is asked now: the kept prompts, or the pixel under the pointer."""
        self.wait_for("the answer", _is_answered)
        return self.shown()

    def shown(self) -> Shown:
        mask = self.page.evaluate(_LAST_MASK)
        logits, feedback = (_grid(mask.pop(name)) for name in ("logits", "feedback"))
        return Shown(logits=logits, feedback=feedback, **mask)

    def view(self) -> View:
        return View(**self._laid_out()["view"])

    def screen(self, x: float, y: float) -> tuple[float, float]:
        """A position in the picture as a position on the screen."""
        state = self._laid_out()
        view, size = View(**state["view"]), state["picture"]["size"]
        return view.x + x * view.width / size["width"], view.y + y * view.height / size["height"]

    def screenshot(self) -> np.ndarray:
        """What is drawn once it stands still, (H, W, 3) float in device pixels."""
        self.wait_for("the canvas", lambda state: not state["painting"])
        before, now = None, self._photograph()
        # A worker's frame reaches the screen some time after it was painted, on a busy machine many frames later.
        while before is None or not np.array_equal(before, now):
            before, now = now, self._photograph()
        return now

    def _photograph(self) -> np.ndarray:
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"), dtype=np.float64)

    # ---- waiting ----------------------------------------------------------------------------------

    def pass_frame(self) -> None:
        """Until the page has drawn once more: it looks at a moving pointer once per frame."""
        self.page.evaluate("() => new Promise(requestAnimationFrame)")

    def _laid_out(self) -> dict:
        """The state, once the picture lies where the stage is now: a panel that opens makes the stage smaller."""
        return self.wait_for("the layout", lambda state: state["view"] and state["laidOut"])

    @contextmanager
    def holding(self, address: str | re.Pattern[str]) -> Iterator[None]:
        """What the page asks for there waits until the block is left."""
        waiting: list[Route] = []
        hold = waiting.append
        self.page.route(address, lambda route: hold(route))
        yield
        hold = Route.continue_
        for route in waiting:
            route.continue_()

    def wait_until_ready(self, picture: Picture) -> None:
        def ready(state: dict) -> bool:
            shown = state["picture"]
            assert not (shown and shown["phase"]["status"] == "failed"), shown
            return shown and shown["name"] == picture.name and shown["phase"]["status"] == "ready" and state["view"]

        self.wait_for(f"{picture.name} to be ready", ready)

    def wait_until_ready_again(self, picture: Picture) -> None:
        """As `wait_until_ready`, for a picture that may have failed before."""

        def ready(state: dict) -> bool:
            shown = state["picture"]
            return shown and shown["name"] == picture.name and shown["phase"]["status"] == "ready" and state["view"]

        self.wait_for(f"{picture.name} to be ready", ready)

    def wait_until_stored(self) -> None:
        """Until the browser has all of the work."""
        self.wait_for("nothing left to store", lambda state: not state["storing"])

    def wait_for(self, what: str, condition: Callable[[dict], object]) -> dict:
        """Ask the page's state until the condition holds; time is not what these tests are about."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not condition(state := self.state()):
            assert time.monotonic() < deadline, f"waited in vain for {what}; the page says {state}"
            self.page.wait_for_timeout(50)
        return state


def _grid(packed: str | None) -> np.ndarray | None:
    """Base64 of float32 logits -> (256, 256)."""
    return packed and np.frombuffer(base64.b64decode(packed), np.float32).reshape(GRID, GRID).copy()


def _is_answered(state: dict) -> bool:
    """The page's own rule, told again: what was kept is asked, else a click where the pointer is.

    The pointer's mask may answer the same prompts as a click there that is still being decoded; it is not kept.
    """
    mask, kept, hover = state["mask"], state["prompts"], state["hover"]
    if mask is None:
        return False
    if kept["clicks"] or kept["box"]:
        return mask["kept"] and mask["prompts"] == kept
    clicks = hover and [{"x": hover[0], "y": hover[1], "label": 1}]
    return mask["prompts"] == {"clicks": clicks, "box": None}
