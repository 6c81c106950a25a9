"""How far decoders are from what the machine could do: counted arithmetic over the peak of the same runtime."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from demo.bench import graphs
from demo.bench.candidates import Candidate, Prompt
from demo.bench.chromium import WASM, BenchPage, chromium
from demo.bench.contest import SQUARE, Contest
from demo.bench.interleave import Sample
from demo.bench.native import NativeDecoder, open_session, point_inputs, timed
from demo.bench.products import count
from demo.bench.profiles import as_text, profile_in_page, profile_natively, shares
from demo.bench.report import Findings, Row, Table, spreads
from demo.bench.scale import Scale
from demo.bench.server import serving

PEAK = "peak"
SIDE = 1024
MEASURED = (graphs.BASELINE, "official, fp32", "hover, fp32", "hover, int8")
LIMITS_NOTE = f"""\
One click. Products are multiply-adds of matrix products and convolutions; bytes are what these read and write once.
The peak is one product of {SIDE} x {SIDE} float32 matrices in the same runtime and run; at that pace the products alone
would take the limit. Quantized products may be faster than this peak."""
PROFILE_NOTE = "Shares of all operators' time, one click, by ONNX Runtime's profiler."

Times = dict[str, list[Sample]]
Profiles = dict[str, list[dict]]


def measure(scale: Scale) -> Findings:
    limits, profiles, files = [], [], {}
    for shape in scale.models:
        contest = Contest(shape, scale)
        candidates = [candidate for candidate in contest.candidates if candidate.name in MEASURED]
        for where, (times, events) in {
            "wasm x1": _in_page(contest, candidates),
            "native x1": _natively(contest, candidates),
        }.items():
            place = {"decoder": shape, "where": where}
            limits += [place | _limit(contest, candidate, times) for candidate in candidates]
            profiles += [
                place | {"candidate": name, "operators": as_text(shares(found))} for name, found in events.items()
            ]
            files |= {_file_name(shape, name, where): json.dumps(found).encode() for name, found in events.items()}
    return Findings(
        [Table("Distance to the limit", LIMITS_NOTE, limits), Table("Operators", PROFILE_NOTE, profiles)], files
    )


def _in_page(contest: Contest, candidates: list[Candidate]) -> tuple[Times, Profiles]:
    prompt, runs = contest.prompts[0], contest.scale.runs
    peak = Prompt(PEAK, np.array([SIDE], np.float32), np.zeros(0, np.float32))
    with serving() as server, chromium() as browser:
        page = BenchPage(browser, server, WASM[1])
        for candidate in [*candidates, Candidate(PEAK, "./decoders/product.js", {"product": square_product(SIDE)})]:
            page.open(candidate)
            page.prepare(candidate.name, contest.embedding, SQUARE)
        tasks = {candidate.name: partial(page.point, candidate.name, prompt, runs) for candidate in candidates}
        times = contest.interleave(tasks | {PEAK: partial(page.point, PEAK, peak, runs)})
        page.dispose()
        page = BenchPage(browser, server, WASM[1], profiling=True)
        return times, {c.name: profile_in_page(page, c, contest.embedding, prompt, runs) for c in candidates}


def _natively(contest: Contest, candidates: list[Candidate]) -> tuple[Times, Profiles]:
    prompt, runs = contest.prompts[0], contest.scale.runs
    decoders = {candidate.name: NativeDecoder(candidate) for candidate in candidates}
    for decoder in decoders.values():
        decoder.prepare(contest.embedding)
    product, x = open_session(square_product(SIDE)), np.zeros((SIDE, SIDE), np.float32)
    tasks = {name: partial(timed, partial(decoder.point, prompt), runs) for name, decoder in decoders.items()}
    times = contest.interleave(tasks | {PEAK: partial(timed, partial(product.run, None, {"x": x}), runs)})
    return times, {c.name: profile_natively(c, contest.embedding, prompt, runs) for c in candidates}


def _limit(contest: Contest, candidate: Candidate, times: Times) -> Row:
    decoder = NativeDecoder(candidate)
    decoder.prepare(contest.embedding)
    asked = decoder.picture | point_inputs(contest.prompts[0])
    arithmetic = count(candidate.answering, {name: asked[name] for name in decoder.input_names})
    taken, peak = spreads(times[candidate.name])[0], SIDE**3 / min(sample.cpu_ms for sample in times[PEAK])
    return {
        "candidate": candidate.name,
        "million products": round(arithmetic.products / 1e6),
        "megabytes": round(arithmetic.bytes_moved / 1e6),
        "processor": taken,
        "limit": arithmetic.products / peak,
        "times the limit": taken.median * peak / arithmetic.products,
        "peak, billion a second": peak / 1e6,
    }


def square_product(side: int) -> bytes:
    """A graph that multiplies its input x (side, side) by a constant of that size."""
    shape = [side, side]
    weight = numpy_helper.from_array(np.ones(shape, np.float32), "weight")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])], "product", values[:1], values[1:], [weight]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def _file_name(*parts: str) -> str:
    return f"profile-{'-'.join(parts).replace(', ', '-').replace(' ', '-')}.json"
