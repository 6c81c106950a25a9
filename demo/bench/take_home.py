"""Files of a large picture with many objects: how long the page takes, and whether anybody would notice."""

from __future__ import annotations

import io
import json
import time

import numpy as np
from PIL import Image

from demo.bench.chromium import WASM, chromium
from demo.bench.real_page import RealPage, demo_server
from demo.bench.report import Findings, Row, Table
from demo.bench.scale import Scale
from sam.masks import crop_to_rle, rle_compress

NOTE = """\
One photograph, objects of any size on it, brought in from a COCO file and saved in each format, packing in a worker.
Seconds from the press of the button to the file, megabytes of it; of the main thread meanwhile: the longest task and
the longest time between two frames in milliseconds, and how many took more than 50."""
FORMATS = ("coco", "coco-polygons", "yolo", "svg", "labelme", "indexed", "masks", "cutouts", "session")
CHOOSE = """() => document.querySelectorAll('#take-home input[name=format]').forEach((box) => {
  box.checked = box.value === '%s';
  box.dispatchEvent(new Event('input', { bubbles: true }));
})"""
WATCH = """() => {
  const seen = { tasks: [], frames: [] };
  new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => seen.tasks.push(duration)))
    .observe({ type: 'longtask' });
  let last = performance.now();
  const look = () => {
    const now = performance.now();
    seen.frames.push(now - last);
    last = now;
    requestAnimationFrame(look);
  };
  look();
  window.benchSeen = seen;
}"""
READY = "samDebug.state().picture?.phase.status === 'ready'"


def measure(scale: Scale) -> Findings:
    (width, height), count = scale.large_picture
    with demo_server() as address, chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = RealPage(context, address, WASM[1].tier)
        page.give([("large.jpg", _picture(width, height))])
        page.wait_until(READY)
        page.evaluate(WATCH)
        rows = [_bring(page, _objects(width, height, count), count)]
        page.evaluate("() => document.querySelector('#take-home-button').click()")
        page.wait_until("document.querySelector('#take-home') !== null")
        rows += [_save(page, name) for name in FORMATS]
        context.close()
    return Findings([Table(f"Take home: {width} x {height}, {count} objects", NOTE, rows)])


def _bring(page: RealPage, data: bytes, count: int) -> Row:
    page.evaluate("() => { benchSeen.tasks = []; benchSeen.frames = []; }")
    start = time.monotonic()
    page.give([("large.coco.json", data)])
    page.wait_until(f"document.querySelectorAll('#object-list li').length === {count}")
    return _row(page, "in: coco", time.monotonic() - start, len(data))


def _save(page: RealPage, name: str) -> Row:
    page.evaluate(CHOOSE % name)
    time.sleep(1)
    page.evaluate("() => { benchSeen.tasks = []; benchSeen.frames = []; }")
    start = time.monotonic()
    size = page.download("#take-home button[type=submit]")
    return _row(page, f"out: {name}", time.monotonic() - start, size)


def _row(page: RealPage, what: str, seconds: float, size: int) -> Row:
    seen = page.evaluate("() => window.benchSeen")
    return {
        "what": what,
        "seconds": seconds,
        "MB": size / 1e6,
        "longest task": max(seen["tasks"], default=0.0),
        "longest frame": max(seen["frames"], default=0.0),
        "frames": len(seen["frames"]),
        "over 50 ms": sum(frame > 50 for frame in seen["frames"]),
    }


def _picture(width: int, height: int) -> bytes:
    random = np.random.default_rng(4)
    small = Image.fromarray(random.integers(0, 255, (height // 64, width // 64, 3), np.uint8))
    with io.BytesIO() as file:
        small.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
        return file.getvalue()


def _objects(width: int, height: int, count: int) -> bytes:
    """Flowers of every size, in COCO's run lengths."""
    random = np.random.default_rng(5)
    annotations = []
    for number in range(count):
        radius = int(random.uniform(0.01, 0.12) * height)
        rows, columns = np.mgrid[: 2 * radius, : 2 * radius] - radius + 0.5
        wave = 1 + 0.15 * np.sin(random.integers(3, 12) * np.arctan2(rows, columns))
        crop = np.hypot(rows, columns) < 0.85 * radius * wave
        x, y = int(random.integers(0, width - 2 * radius)), int(random.integers(0, height - 2 * radius))
        segmentation = rle_compress(crop_to_rle(crop, x, y, (height, width)))
        annotations.append({"id": number, "image_id": 1, "category_id": 1 + number % 8, "segmentation": segmentation})
    document = {
        "images": [{"id": 1, "file_name": "large.jpg", "width": width, "height": height}],
        "categories": [{"id": 1 + kind, "name": f"kind {kind}"} for kind in range(8)],
        "annotations": annotations,
    }
    return json.dumps(document).encode()
