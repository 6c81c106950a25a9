"""Decoders in a headless Chromium: the page's own runtime files, in a worker, as under the real page."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from demo.bench.candidates import Candidate, Prompt
from demo.bench.interleave import Sample
from demo.bench.processor import RendererClock
from demo.bench.server import BenchServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Playwright

PATIENCE_MS = 240_000
GRID = 256
LOG_MS = 1000  # the console's lines come behind the call that writes them
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


@dataclass(frozen=True)
class Tier:
    """Where in the browser decoders run: a tier of `static/js/decoding/tiers.js`, and how many threads it gets."""

    name: str
    tier: str
    threads: int


WASM = {
    threads: Tier(f"wasm x{threads}", "wasm-threads" if threads > 1 else "wasm", threads) for threads in range(1, 9)
}
WEBGPU = Tier("WebGPU", "webgpu", 1)


@contextmanager
def chromium(*, flags: tuple[str, ...] = ()) -> Iterator[Browser]:
    """A headless Chromium. Raises `RuntimeError` saying what to install where Playwright or a Chromium is missing."""
    with _playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_find(playwright), args=[*CHROMIUM_FLAGS, *flags])
        yield browser
        browser.close()


@contextmanager
def fresh_profile() -> Iterator[BrowserContext]:
    """A headless Chromium that somebody starts for the first time: an empty cache on disk. Errors as `chromium`.

    The cache of an incognito context lies in memory and refuses files of some megabytes, which a disk takes.
    """
    with _playwright() as playwright, TemporaryDirectory() as folder:
        browser = playwright.chromium
        context = browser.launch_persistent_context(folder, executable_path=_find(playwright), args=CHROMIUM_FLAGS)
        yield context
        context.close()


@contextmanager
def _playwright() -> Iterator[Playwright]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise RuntimeError('Playwright drives the browser; the extra "test" has it: pip install -e ".[test]"') from None
    with sync_playwright() as playwright:
        yield playwright


def _find(playwright: Playwright) -> str:
    """The Chromium that CHROMIUM names, else an installed one, else Playwright's own."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else CHROMIUM_NAMES
    own = playwright.chromium.executable_path
    found = next(filter(None, map(shutil.which, names)), own if Path(own).is_file() else None)
    if found is None:
        raise RuntimeError(f"no Chromium among {', '.join(names)}; install one, or name it in the variable CHROMIUM")
    return found


class BenchPage:
    """One tier of the browser with any number of decoders open in it."""

    def __init__(self, browser: Browser, server: BenchServer, tier: Tier, profiling: bool = False) -> None:
        self._server = server
        self._page = browser.new_page()
        self._page.set_default_timeout(PATIENCE_MS)
        self._log: list[str] = []
        self._page.on("console", lambda message: self._log.append(message.text))
        with self._page.expect_worker() as started:
            self._page.goto(server.page)
        self._worker = started.value
        self._worker.evaluate("async () => { while (!self.bench) await new Promise((done) => setTimeout(done, 10)); }")
        self._processor = RendererClock(browser)
        options = {"tier": tier.tier, "threads": tier.threads, "profiling": profiling}
        self.runtime: dict[str, Any] = self._call("start", options)

    def open(self, candidate: Candidate) -> float:
        """Open a decoder in the page; milliseconds."""
        files = {role: self._server.publish(data) for role, data in candidate.files.items()}
        return self._call("open", {"name": candidate.name, "module": candidate.module, "files": files})

    def close(self, name: str) -> None:
        self._call("close", name)

    def prepare(self, name: str, embedding: np.ndarray, picture_hw: tuple[int, int], runs: int = 1) -> Sample:
        address = self._server.publish(np.ascontiguousarray(embedding, np.float32).tobytes())
        return self._timed(runs, "prepare", name, address, picture_hw, runs)

    def point(self, name: str, prompt: Prompt, runs: int = 1) -> Sample:
        return self._timed(runs, "point", name, _as_json(prompt), runs)

    def answer(self, name: str, prompt: Prompt) -> tuple[np.ndarray, np.ndarray]:
        """Logits float32 (M, 256, 256) and IoU predictions (M,)."""
        answer = self._call("answer", name, _as_json(prompt))
        logits = np.frombuffer(base64.b64decode(answer["logits"]), np.float32).reshape(-1, GRID, GRID)
        return logits, np.array(answer["iou"], np.float32)

    def unpack(self, body: bytes) -> tuple[float, float]:
        """Fetch an embedding in zstd and unpack it as the real page does; milliseconds of both."""
        fetched, unpacked = self._call("unpack", self._server.publish(body, coding="zstd"))
        return fetched, unpacked

    def end_profile(self, name: str) -> list[str]:
        """End the profiles of a decoder's sessions; JSON, in the order in which the sessions were opened."""
        before = len(self._log)
        self._call("profile", name)
        self._page.wait_for_timeout(LOG_MS)
        return split_log(self._log[before:])

    def take_gpu_work(self) -> dict[str, int]:
        """Dispatches and bytes read back on WebGPU since the last call."""
        return self._call("takeGpuWork")

    def dispose(self) -> None:
        self._page.close()

    def _timed(self, runs: int, method: str, *values: Any) -> Sample:
        """Wall time by the page's clock, processor time of the renderer with all its threads; both per run."""
        before = self._processor.seconds()
        wall_ms = self._call(method, *values)
        return Sample(wall_ms / runs, 1000 * (self._processor.seconds() - before) / runs)

    def _call(self, method: str, *values: Any) -> Any:
        return self._worker.evaluate("([method, values]) => self.bench[method](...values)", [method, list(values)])


def _as_json(prompt: Prompt) -> dict[str, list[float]]:
    return {"coords": prompt.coords.ravel().tolist(), "labels": prompt.labels.tolist()}


def split_log(lines: Sequence[str]) -> list[str]:
    """The JSON texts among a console's lines: the runtime prints each profile from "[" to "]"."""
    texts: list[list[str]] = []
    for line in lines:
        if line == "[":
            texts.append([])
        if texts and (line in ("[", "]") or line.startswith("{")):
            texts[-1].append(line)
    return ["".join(text) for text in texts]
