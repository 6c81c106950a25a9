"""The decoder against its peers: time per prompt and per picture, in the browser and natively, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from demo.bench import graphs
from demo.bench.candidates import Prompt
from demo.bench.chromium import WASM, BenchPage
from demo.bench.contest import SQUARE, Contest
from demo.bench.interleave import Sample
from demo.bench.native import NativeDecoder, kept_bytes, timed
from demo.bench.report import Findings, Row, Table, Timing, spreads
from demo.bench.scale import Scale, Size

TIMES_NOTE = f"""\
Per prompt: processor time in ms, median (least-most) of interleaved rounds, all threads together; speed in times of
`{graphs.BASELINE}`, in processor time and by the clock. Difference: the largest of any logit to PyTorch."""
PREPARE_NOTE = (
    "Once per picture, in ms with the embedding in memory. Bytes of the files, and of tensors kept per picture."
)
SIZES_NOTE = "One click on pictures of different sizes, columns as above. The official graph resizes its masks inside."


def measure(scale: Scale) -> Findings:
    times, preparations, sizes = [], [], []
    for shape in scale.models:
        contest = Contest(shape, scale)
        for threads in scale.threads:
            where = {"decoder": shape, "where": WASM[threads].name}
            with contest.page(WASM[threads]) as page:
                times += [where | row for row in time_prompts(contest, page)]
                preparations += [where | row for row in time_prepare(contest, page)]
                sizes += [where | row for row in time_sizes(contest, page)]
        times += [{"decoder": shape, "where": "native x1"} | row for row in time_natively(contest)]
    return Findings(
        [
            Table("Decoder", TIMES_NOTE, times),
            Table("Preparing a picture", PREPARE_NOTE, preparations),
            Table("Picture sizes", SIZES_NOTE, sizes),
        ]
    )


def time_prompts(contest: Contest, page: BenchPage) -> list[Row]:
    def task(name: str, prompt: Prompt) -> Sample:
        return page.point(name, prompt, contest.scale.runs)

    return _rows(contest, contest.names, task, lambda name, prompt: page.answer(name, prompt)[0])


def time_natively(contest: Contest) -> list[Row]:
    decoders = {each.name: NativeDecoder(each) for each in contest.candidates if each.is_graphs}
    for decoder in decoders.values():
        decoder.prepare(contest.embedding, SQUARE)

    def task(name: str, prompt: Prompt) -> Sample:
        return timed(lambda: decoders[name].point(prompt), contest.scale.runs)

    return _rows(contest, list(decoders), task, lambda name, prompt: decoders[name].logits(prompt))


def time_prepare(contest: Contest, page: BenchPage) -> list[Row]:
    ours = [candidate for candidate in contest.candidates if "prepare" in candidate.files]
    tasks = {c.name: partial(page.prepare, c.name, contest.embedding, SQUARE) for c in ours}
    samples = contest.interleave(tasks)
    rows = []
    for candidate in ours:
        cpu, wall = spreads(samples[candidate.name])
        kept = kept_bytes(candidate, contest.embedding) if candidate.is_graphs else None
        sizes = {"files": candidate.bytes, "kept": kept}
        rows.append({"candidate": candidate.name, "processor": cpu, "clock": wall, **sizes})
    return rows


def time_sizes(contest: Contest, page: BenchPage) -> list[Row]:
    """The quantized official graph against what the page runs."""

    def task(name: str, size: Size) -> Sample:
        page.prepare(name, contest.embedding, size)
        return page.point(name, contest.prompts[0], contest.scale.runs)

    names, sizes = (graphs.BASELINE, *graphs.SHIPPED), contest.scale.sizes
    samples = contest.interleave({(name, size): partial(task, name, size) for name in names for size in sizes})

    def timing(name: str, size: Size) -> Timing:
        return Timing.of(samples[name, size], samples[graphs.BASELINE, size])

    return [{"candidate": name} | {f"{h}x{w}": timing(name, (h, w)) for h, w in sizes} for name in names]


def _rows(
    contest: Contest,
    names: Sequence[str],
    task: Callable[[str, Prompt], Sample],
    logits: Callable[[str, Prompt], np.ndarray],
) -> list[Row]:
    """One row per candidate: its times prompt by prompt, and how far it is from PyTorch."""
    prompts = contest.prompts
    samples = contest.interleave({(n, p.name): partial(task, n, p) for n in names for p in prompts})

    def timings(name: str) -> Row:
        return {p.name: Timing.of(samples[name, p.name], samples[graphs.BASELINE, p.name]) for p in prompts}

    def difference(name: str) -> float:
        return max(contest.difference(logits(name, prompt), prompt) for prompt in prompts)

    return [{"candidate": name, **timings(name), "difference": difference(name)} for name in names]
