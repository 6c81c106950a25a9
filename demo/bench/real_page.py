"""The real page on the real server: `python -m demo` in a process of its own, a Chromium, a pointer."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from demo.bench.chromium import PATIENCE_MS

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

START_S = 180
POLL_MS = 20
PICTURE = "chelsea.jpg"


@contextmanager
def demo_server() -> Iterator[str]:
    """The address of a demo with the embedded model. Raises `RuntimeError` with its output if it does not start."""
    command = [sys.executable, "-m", "demo", "--no-open", "--port", "0", "--checkpoint", "tiny"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _address(process, lambda: (log.seek(0), log.read())[1])
        finally:
            process.terminate()
            process.wait(60)


def _address(process: subprocess.Popen, read_log: Callable[[], str]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"http://\S+/", read_log()):
            return found[0]
        time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"python -m demo did not start:\n{read_log()}")


class RealPage:
    """One visit to the page, forced to a tier."""

    def __init__(self, context: BrowserContext, address: str, tier: str) -> None:
        self._page = context.new_page()
        self._page.set_default_timeout(PATIENCE_MS)
        self._page.goto(f"{address}?tier={tier}")

    def open_picture(self, name: str = PICTURE) -> None:
        """Choose a gallery picture, put the pointer on it and wait for the first mask."""
        self._page.locator(f'#gallery img[src$="{name}"]').click()
        self._wait_until("samDebug.state().picture?.phase.status === 'ready'")
        self.pointer()(0.5, 0.5)
        self._wait_until("samDebug.lastMask() !== null")

    def pointer(self) -> Callable[[float, float], None]:
        """A function that moves the pointer to a place of the picture, in fractions of its sides."""
        view = self.state()["view"]

        def move(x: float, y: float) -> None:
            self._page.mouse.move(view["x"] + x * view["width"], view["y"] + y * view["height"])

        return move

    def evaluate(self, script: str) -> Any:
        return self._page.evaluate(script)

    def give(self, files: list[tuple[str, bytes]]) -> None:
        """Open files by name and content, as if they were chosen."""
        payload = [{"name": name, "mimeType": "", "buffer": data} for name, data in files]
        self._page.locator("#file").set_input_files(payload)

    def download(self, selector: str) -> int:
        """Press a button and wait for its file; bytes of it."""
        with self._page.expect_download() as download:
            self._page.locator(selector).click()
        return download.value.path().stat().st_size

    def wait_until(self, condition: str) -> None:
        self._wait_until(condition)

    def state(self) -> dict:
        return self._page.evaluate("samDebug.state()")

    def timings(self) -> dict[str, float]:
        """The page's own, in milliseconds by name."""
        return self._page.evaluate("samDebug.timings()")

    def close(self) -> None:
        self._page.close()

    def _wait_until(self, condition: str) -> None:
        from playwright.sync_api import TimeoutError

        try:
            self._page.wait_for_function(f"() => {condition}", polling=POLL_MS)
        except TimeoutError:
            raise RuntimeError(f"the page never came to {condition}; it says {self.state()}") from None
