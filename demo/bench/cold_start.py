"""A cold start through the real page: from nothing to the first mask, and the same again with a warm cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from demo.bench.chromium import WASM, fresh_profile
from demo.bench.interleave import Spread
from demo.bench.real_page import RealPage, demo_server
from demo.bench.report import Findings, Row, Table
from demo.bench.scale import Scale
from demo.routes.page import Document, static_folder

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Request

KINDS = {
    "/static/vendor/onnxruntime": "runtime",
    "/api/decoders/": "decoder",
    "/api/embeddings/": "embedding",
    "/static/gallery/": "gallery",
}
FORMS = {"minified": "", "gzip": ".gz", "Brotli": ".br"}
VISITS = ("first visit", "second visit")
TIMES_NOTE = """\
The page's own clock in ms, median (least-most); wasm x1, embedded model, server and browser on one machine.
Interactive: from the start of the navigation until everything on the page answers, which is before the decoder is
there."""
SIZES_NOTE = "Bytes of our own JavaScript and CSS as it is served, each file whenever it is loaded."
BYTES_NOTE = "Bytes over the wire until the first mask, headers included, by what they are."


class Meter:
    """Bytes of the answers that a browser context gets, by kind; what its cache answers weighs nothing."""

    def __init__(self, context: BrowserContext) -> None:
        self._finished: list[Request] = []
        context.on("requestfinished", lambda request: self._finished.append(request))  # a bound builtin is refused

    def take(self) -> Counter[str]:
        """What came since the last call."""
        finished, self._finished[:] = list(self._finished), []
        weights: Counter[str] = Counter()
        for request in finished:
            sizes = request.sizes()
            weights[kind_of(request.url)] += sizes["responseBodySize"] + sizes["responseHeadersSize"]
        return weights


def kind_of(address: str) -> str:
    """What an address of the demo serves."""
    return next((kind for part, kind in KINDS.items() if part in address), "page")


def measure(scale: Scale) -> Findings:
    times: dict[str, list[dict[str, float]]] = {visit: [] for visit in VISITS}
    weights: dict[str, Counter[str]] = {}
    with demo_server() as address:
        for _ in range(scale.visits):
            with fresh_profile() as context:
                meter = Meter(context)
                for visit in VISITS:
                    page = RealPage(context, address, WASM[1].tier)
                    page.open_picture()
                    times[visit].append(page.timings())
                    weights[visit] = meter.take()
                    page.close()
    return Findings(
        [
            Table("Cold start", TIMES_NOTE, _time_rows(times)),
            Table("Bytes per visit", BYTES_NOTE, _byte_rows(weights)),
            Table("The page's own files", SIZES_NOTE, _size_rows()),
        ]
    )


def _size_rows() -> list[Row]:
    """Of the build that is served. Raises `RuntimeError` where it is missing or older than the sources."""
    document = Document(static_folder())
    if document.path == document.source:
        raise RuntimeError("the page is not built, or its sources changed since; run: npm run page")
    files = sorted(file for suffix in ("*.js", "*.css") for file in document.path.parent.glob(suffix))
    rows = [{"file": file.name} | {form: _size(file, suffix) for form, suffix in FORMS.items()} for file in files]
    return [*rows, {"file": "all"} | {form: sum(row[form] for row in rows) for form in FORMS}]


def _size(file: Path, suffix: str) -> int:
    return file.with_name(file.name + suffix).stat().st_size


def _time_rows(times: dict[str, list[dict[str, float]]]) -> list[Row]:
    names = {name: None for runs in times.values() for run in runs for name in run}
    return [{"part": name} | {visit: _spread(runs, name) for visit, runs in times.items()} for name in names]


def _spread(runs: Sequence[dict[str, float]], name: str) -> Spread | None:
    values = [run[name] for run in runs if name in run]
    return Spread.of(values) if values else None


def _byte_rows(weights: dict[str, Counter[str]]) -> list[Row]:
    kinds = [*KINDS.values(), "page"]
    rows: list[Row] = [{"what": kind} | {visit: weights[visit][kind] for visit in VISITS} for kind in kinds]
    return [*rows, {"what": "all"} | {visit: weights[visit].total() for visit in VISITS}]
