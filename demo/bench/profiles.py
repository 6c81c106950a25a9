"""Where a decoder's time goes, operator by operator, as ONNX Runtime's own profiler tells it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from demo.bench.candidates import Candidate, Prompt
from demo.bench.chromium import BenchPage
from demo.bench.contest import SQUARE
from demo.bench.native import NativeDecoder

Event = dict
KERNEL = "_kernel_time"


def profile_in_page(
    page: BenchPage, candidate: Candidate, embedding: np.ndarray, prompt: Prompt, runs: int
) -> list[Event]:
    """Events of the graph that answers prompts, the last one the candidate opens; the page was made for profiling."""
    page.open(candidate)
    page.prepare(candidate.name, embedding, SQUARE)
    page.point(candidate.name, prompt, runs)
    return json.loads(page.end_profile(candidate.name)[-1])


def profile_natively(candidate: Candidate, embedding: np.ndarray, prompt: Prompt, runs: int) -> list[Event]:
    with TemporaryDirectory() as folder:
        decoder = NativeDecoder(candidate, profile=f"{folder}/profile")
        decoder.prepare(embedding)
        for _ in range(runs):
            decoder.point(prompt)
        files = [session.end_profiling() for session in decoder.sessions.values()]
        return json.loads(Path(files[-1]).read_text(encoding="utf-8"))


def shares(events: Iterable[Event]) -> dict[str, float]:
    """Each operator's share of all operators' time, largest first."""
    spent: Counter[str] = Counter()
    for event in events:
        if event["name"].endswith(KERNEL):
            spent[event["args"]["op_name"]] += event["dur"]
    return {name: microseconds / spent.total() for name, microseconds in spent.most_common()}


def as_text(portions: dict[str, float], count: int = 6) -> str:
    """The largest shares: "Gemm 35 %, Gelu 27 %"."""
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(portions.items())[:count])
