"""Twelve states of the page at desktop and phone size: python tests/browser/screens.py FOLDER [NAME ...]

They are to be looked at; light and dark take turns. Needs what the browser tests need. The variable ADDRESS names a
server that runs already.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from browser_page import PHONE, SamPage
from browser_pictures import CUP, SPOON, TABLE, Picture
from browser_server import DemoServer
from conftest import CHROMIUM_FLAGS, _find_chromium
from playwright.sync_api import Browser, sync_playwright

from demo.routes.page import static_folder

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
LABELS = [
    {"name": name, "colour": colour}
    for name, colour in (("Cup", "#e6432f"), ("Spoon", "#1f9d61"), ("Table", "#2f6fed"))
]


def gallery(name: str) -> Picture:
    file = static_folder() / "gallery" / f"{name}.jpg"
    return Picture(file.name, file.read_bytes())


def tap(page: SamPage, at: tuple[float, float]) -> None:
    if page.is_phone:
        page.page.touchscreen.tap(*page.screen(*at))
        page.answer()
    else:
        page.click(*at)


def coffee(page: SamPage) -> None:
    page.open_gallery(gallery("coffee"))


def hover(page: SamPage) -> None:
    page.open_gallery(gallery("astronaut"))
    if not page.is_phone:
        page.hover(230, 400)


def mask(page: SamPage) -> None:
    coffee(page)
    tap(page, CUP)


def box(page: SamPage) -> None:
    page.open_gallery(gallery("chelsea"))
    page.start_drag((60, 20, 380, 280))
    page.page.mouse.up()
    page.answer()
    page.click(90, 60, button="right")


def objects(page: SamPage) -> None:
    coffee(page)
    for key, at in enumerate((CUP, SPOON, TABLE), 1):
        tap(page, at)
        page.press("n")
        page.press(str(key))
    if page.is_phone:
        page.page.locator("#open-panel").tap()


def brush(page: SamPage) -> None:
    coffee(page)
    page.press("b")
    for row in (150, 165):
        page.page.mouse.move(*page.screen(200, row))
        page.page.mouse.down()
        page.page.mouse.move(*page.screen(390, row), steps=12)
        page.page.wait_for_timeout(200)
        page.page.mouse.up()


def close(page: SamPage) -> None:
    mask(page)
    page.page.mouse.move(*page.screen(300, 205))
    for _ in range(4):
        page.page.mouse.wheel(0, -350)
        page.page.wait_for_timeout(50)


def cutout(page: SamPage) -> None:
    objects(page)
    if page.is_phone:
        page.page.locator("#close-panel").tap()
    page.page.locator("#display").click()
    page.page.get_by_role("button", name="Cut-out").first.click()


def pictures(page: SamPage) -> None:
    mask(page)
    page.press("n")
    for name in ("chelsea", "astronaut"):
        page.upload_and_wait(gallery(name))


def problem(page: SamPage) -> None:
    page.upload(Picture("holiday.heic", b"not a picture"))
    page.wait_for("the refusal", lambda state: state["picture"] and state["picture"]["phase"]["status"] == "failed")


def keys(page: SamPage) -> None:
    coffee(page)
    page.press("?")


def tiers(page: SamPage) -> None:
    coffee(page)
    page.page.locator("#tier").click()


STATES: dict[str, Callable[[SamPage], None]] = {
    "start": lambda page: None, "hover": hover, "mask": mask, "box": box, "objects": objects, "brush": brush,
    "close": close, "cutout": cutout, "pictures": pictures, "problem": problem, "keys": keys, "tiers": tiers,
}  # fmt: skip


@contextmanager
def served() -> Iterator[str]:
    if address := os.environ.get("ADDRESS"):
        yield address
        return
    with tempfile.TemporaryDirectory() as folder:
        server = DemoServer(Path(folder) / "log.txt", "tiny", {})
        server.start()
        try:
            yield server.address
        finally:
            server.stop()


def photograph(browser: Browser, address: str, name: str, size: str, scheme: str, folder: Path) -> None:
    device = PHONE if size == "phone" else DESKTOP
    context = browser.new_context(**device, color_scheme=scheme, reduced_motion="reduce")
    page = SamPage(context.new_page(), address)
    page.is_phone = size == "phone"
    page.page.add_init_script(f"localStorage.setItem('sam-labels', '{json.dumps(LABELS)}')")
    page.open()
    STATES[name](page)
    page.page.wait_for_timeout(700)
    page.page.screenshot(path=folder / f"{name}-{size}-{scheme}.png")
    context.close()


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        path = _find_chromium(playwright)
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        for index, name in enumerate(names or STATES):
            for size, scheme in (("desktop", index % 2), ("phone", 1 - index % 2)):
                photograph(browser, address, name, size, ("light", "dark")[scheme], folder)
                print(name, size, flush=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
