"""Any decoders against each other in one page: the core of the benchmark, and a tool for whoever tunes a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demo.bench.candidates import Candidate, Prompt, clicks
from demo.bench.chromium import WASM, BenchPage, Tier, chromium
from demo.bench.interleave import Sample, interleave
from demo.bench.server import serving

Timings = dict[tuple[str, str], list[Sample]]


def compare(
    candidates: Sequence[Candidate],
    prompts: Sequence[Prompt] = (clicks(1),),
    *,
    tier: Tier = WASM[1],
    embedding: np.ndarray | None = None,
    picture_hw: tuple[int, int] = (1024, 1024),
    rounds: int = 7,
    runs: int = 3,
) -> Timings:
    """Time every candidate on every prompt, and on `prepare`, interleaved; samples by candidate and task."""
    if embedding is None:
        embedding = np.random.default_rng(0).standard_normal((1, 256, 64, 64))
    with serving() as server, chromium() as browser:
        page = BenchPage(browser, server, tier)
        for candidate in candidates:
            page.open(candidate)
        tasks = {}
        for name in (candidate.name for candidate in candidates):
            tasks[name, "prepare"] = lambda name=name: page.prepare(name, embedding, picture_hw)
            for prompt in prompts:
                tasks[name, prompt.name] = lambda name=name, prompt=prompt: page.point(name, prompt, runs)
        return interleave(tasks, rounds)
