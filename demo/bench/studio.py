"""The studio under load: hover, pan and zoom over a large picture with many objects, and what each frame cost."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demo.bench.chromium import PATIENCE_MS, WASM, chromium
from demo.bench.interleave import Spread
from demo.bench.real_page import demo_server
from demo.bench.report import Findings, Row, Table
from demo.bench.scale import Scale
from demo.routes.page import static_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHOTOGRAPH = "coffee.jpg"
EVENTS_PER_SECOND = 60
LONG_MS = 50
COLUMNS = 10
CATEGORIES = ["toplevel", "blink", "devtools.timeline", "disabled-by-default-devtools.timeline"]
"""What the trace records: tasks of every thread, with the processor time that they took."""

NOTE = f"""\
Real pointer and wheel events over one picture, wasm x1. Frame: from one animation frame of the page to the next; task:
the longest on the page's main thread, by the clock and in processor time, which is what remains of it on a machine
that nobody shares. Painted: how often the canvas was drawn, by a worker that the page does not wait for; its drawing
takes as long as the graphics do, which are emulated in software where Chromium finds none. Times in ms, median
(least-most); late are frames of more than {LONG_MS} ms."""

WATCH_FRAMES = """() => {
  window.benchFrames = [];
  let last = performance.now();
  const note = () => {
    const now = performance.now();
    benchFrames.push(now - last);
    last = now;
    requestAnimationFrame(note);
  };
  requestAnimationFrame(note);
}"""

Events = Callable[[float], None]
"""Sends one event, given the seconds since the phase began."""


def measure(scale: Scale) -> Findings:
    with demo_server() as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{address}?tier={WASM[1].tier}")
        _open(page, scale.studio_pixels)
        _keep_objects(page, scale.studio_objects)
        page.evaluate(WATCH_FRAMES)
        rows = [_row(browser, page, name, run, scale.hover_seconds) for name, run in _phases(page)]
    width, height = scale.studio_pixels
    name = f"Studio, {width * height / 1e6:.0f} megapixels, {scale.studio_objects} objects"
    return Findings([Table(name, NOTE, rows)])


def _open(page: Page, size: tuple[int, int]) -> None:
    picture = Image.open(static_folder() / "gallery" / PHOTOGRAPH).convert("RGB").resize(size)
    noise = np.random.default_rng(0).normal(0, 6, (size[1], size[0], 1))  # or the file would be a tenth of a camera's
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    page.locator("#file").set_input_files({"name": "large.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    ready = "samDebug.state().picture?.phase.status === 'ready' && samDebug.state().view"
    page.wait_for_function(f"() => samDebug.state().decoder.status === 'ready' && {ready}")


def _keep_objects(page: Page, count: int) -> None:
    place = _places(page)
    for index in range(count):
        column, row = index % COLUMNS, index // COLUMNS
        page.mouse.click(*place(0.05 + 0.1 * column, (row + 0.5) * COLUMNS / max(count, COLUMNS)))
        page.wait_for_function("() => samDebug.state().mask?.kept")
        page.keyboard.press("n")
    page.wait_for_timeout(1000)  # they are stored


def _places(page: Page) -> Callable[[float, float], tuple[float, float]]:
    view = page.evaluate("() => samDebug.state().view")
    return lambda x, y: (view["x"] + x * view["width"], view["y"] + y * view["height"])


def _phases(page: Page) -> Iterator[tuple[str, Events]]:
    """Each is prepared when its turn comes."""
    place = _places(page)
    yield "hover", lambda t: page.mouse.move(*place(0.5 + 0.3 * math.cos(3 * t), 0.5 + 0.3 * math.sin(3.9 * t)))
    page.mouse.move(*place(0.5, 0.5))
    yield "zoom", lambda t: page.mouse.wheel(0, -60 if math.sin(3 * t) >= 0 else 60)
    for _ in range(12):
        page.mouse.wheel(0, -100)
    page.wait_for_timeout(1000)
    page.mouse.down(button="middle")
    yield "pan", lambda t: page.mouse.move(*place(0.3 + 0.2 * math.cos(2 * t), 0.5 + 0.2 * math.sin(2.6 * t)))
    page.mouse.up(button="middle")


def _row(browser: Browser, page: Page, name: str, send: Events, seconds: float) -> Row:
    browser.start_tracing(page=page, categories=CATEGORIES)
    page.evaluate("() => { benchFrames.length = 0; }")
    start, events = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < seconds:
        send(elapsed)
        events += 1
        time.sleep(max(0.0, events / EVENTS_PER_SECOND - (time.monotonic() - start)))
    frames = page.evaluate("() => benchFrames.slice(1)")
    tasks = Tasks(json.loads(browser.stop_tracing())["traceEvents"])
    paints = tasks.of("DedicatedWorker thread", "WorkerAnimationFrameProvider::RequestAnimationFrame")
    return {
        "phase": name,
        "events": events,
        "frames": len(frames),
        "frame": Spread.of(frames),
        "late": sum(frame > LONG_MS for frame in frames),
        "task": max(tasks.of("CrRendererMain", "RunTask"), default=0.0),
        "task, processor": max(tasks.of("CrRendererMain", "RunTask", "tdur"), default=0.0),
        "painted": len(paints),
        "painting": Spread.of(paints) if paints else None,
    }


class Tasks:
    """Durations in a Chromium trace."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = events
        self._threads = {
            (event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"
        }

    def of(self, thread: str, name: str, duration: str = "dur") -> list[float]:
        """Milliseconds by the clock, or of processor time (`tdur`), of the events `name` on threads called `thread`."""
        return [
            event.get(duration, 0) / 1000
            for event in self._events
            if event["name"] == name
            and event.get("ph") == "X"
            and self._threads.get((event["pid"], event["tid"])) == thread
        ]
