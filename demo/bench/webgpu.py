"""WebGPU: whether the answers are right, what is asked of the adapter, and, on a real one, how fast it is."""

from __future__ import annotations

from demo.bench.chromium import SOFTWARE_GPU, WEBGPU, BenchPage
from demo.bench.contest import Contest
from demo.bench.report import Findings, Row, Table, spreads
from demo.bench.scale import Scale

NOTE = "One click. An emulated adapter shows what is answered and asked, not how fast, so it gets no time."


def measure(scale: Scale) -> Findings:
    rows = []
    for shape in scale.models:
        contest = Contest(shape, scale)
        with contest.page(WEBGPU, flags=SOFTWARE_GPU, only=scale.on_webgpu) as page:
            rows += [{"decoder": shape, **_row(contest, page, name)} for name in scale.on_webgpu]
    return Findings([Table("WebGPU", NOTE, rows)])


def _row(contest: Contest, page: BenchPage, name: str) -> Row:
    prompt, adapter = contest.prompts[0], page.runtime["gpu"]
    page.take_gpu_work()
    logits, _ = page.answer(name, prompt)
    work = page.take_gpu_work()
    return {
        "candidate": name,
        "adapter": adapter,
        "difference": contest.difference(logits, prompt),
        "dispatches": work["dispatches"],
        "bytes read back": work["bytesRead"],
        "clock": spreads([page.point(name, prompt, contest.scale.runs)])[1] if adapter == "hardware" else None,
    }
