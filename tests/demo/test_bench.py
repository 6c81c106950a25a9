"""The benchmark's own arithmetic, its words, and its refusals; never how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from demo.bench import report
from demo.bench.__main__ import SECTIONS, main
from demo.bench.candidates import clicks
from demo.bench.chromium import chromium, split_log
from demo.bench.cold_start import kind_of
from demo.bench.graphs import largest_difference, quantized_the_official_way
from demo.bench.interleave import Sample, Spread, interleave
from demo.bench.limits import square_product
from demo.bench.products import count
from demo.bench.profiles import as_text, shares
from demo.bench.report import Findings, Table, Timing
from sam.export import export_decoder
from sam.graphs.contracts import DECODERS, example_inputs

ROOT = Path(__file__).parents[2]


# --- counting --------------------------------------------------------------------------------------------------------


def graph(operator, *shapes, output, **attributes):
    """One operator on inputs of these shapes."""
    inputs = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(shapes)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)]
    node = helper.make_node(operator, [value.name for value in inputs], ["y"], **attributes)
    made = helper.make_graph([node], "one", inputs, outputs)
    data = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return data, {f"x{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)}


@pytest.mark.parametrize(
    ("operator", "shapes", "output", "attributes", "products"),
    [
        ("MatMul", [(5, 2, 3), (3, 7)], (5, 2, 7), {}, 5 * 2 * 3 * 7),
        ("Gemm", [(3, 2), (7, 3)], (2, 7), {"transA": 1, "transB": 1}, 2 * 3 * 7),
        ("Conv", [(1, 4, 9, 9), (6, 2, 3, 3)], (1, 6, 7, 7), {"group": 2}, 6 * 7 * 7 * 2 * 3 * 3),
        ("ConvTranspose", [(1, 4, 5, 5), (4, 6, 2, 2)], (1, 6, 10, 10), {"strides": [2, 2]}, 4 * 5 * 5 * 6 * 2 * 2),
    ],
)
def test_products_of_one_operator_are_those_of_its_definition(operator, shapes, output, attributes, products):
    counted = count(*graph(operator, *shapes, output=output, **attributes))
    assert counted.products_by_op == {operator: products}
    assert counted.bytes_moved == 4 * sum(int(np.prod(shape)) for shape in (*shapes, output))


def test_other_operators_count_nothing():
    assert count(*graph("Add", (2, 3), (2, 3), output=(2, 3))).products == 0


def test_the_peak_is_one_cubic_product():
    assert count(square_product(8), {"x": np.zeros((8, 8), np.float32)}).products == 8**3


def test_a_decoders_graph_takes_the_products_that_pytorch_counts(small_model):
    rules = DECODERS["edgesam"]
    inputs = example_inputs(rules, small_model.config, points=3, seed=0)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        rules.module(small_model)(*map(torch.from_numpy, inputs.values()))
    counted = count(export_decoder(small_model, "edgesam").bytes, inputs).products
    assert counted == pytest.approx(counter.get_total_flops() / 2, rel=0.01)


# --- fairness --------------------------------------------------------------------------------------------------------


def test_every_round_holds_every_task_once_after_an_unmeasured_one():
    calls = []

    def task(name):
        calls.append(name)
        return Sample(len(calls), 0)

    samples = interleave({name: lambda name=name: task(name) for name in "abc"}, rounds=4)
    rounds = [sorted(calls[start : start + 3]) for start in range(0, len(calls), 3)]
    assert rounds == [["a", "b", "c"]] * 5
    assert {name: len(taken) for name, taken in samples.items()} == {"a": 4, "b": 4, "c": 4}
    assert min(sample.wall_ms for taken in samples.values() for sample in taken) > 3


def test_speed_is_the_baselines_median_over_ones_own():
    slow = [Sample(wall_ms=10, cpu_ms=8), Sample(12, 8), Sample(90, 8)]
    fast = [Sample(wall_ms=6, cpu_ms=2), Sample(6, 2), Sample(5, 2)]
    timing = Timing.of(fast, slow)
    assert (timing.cpu_speed, timing.wall_speed) == (4, 2)
    assert timing.wall_ms == Spread(median=6, low=5, high=6, count=3)


def test_a_graph_of_one_mask_is_held_to_the_token_it_chose():
    tokens = np.stack([np.full((2, 2), value, np.float32) for value in (0, 5, 9)])
    assert largest_difference(tokens[1:2] + 0.25, tokens) == 0.25
    assert largest_difference(tokens[::-1], tokens) == 9


def test_prompts_are_encoded_as_metas_client_does():
    one, boxed = clicks(1), clicks(5, box=(1, 2, 3, 4))
    assert one.labels.tolist() == [1, -1] and one.coords[-1].tolist() == [0, 0]
    assert boxed.labels.tolist() == [1, 1, 1, 1, 0, 2, 3] and boxed.coords[-2:].tolist() == [[1, 2], [3, 4]]
    assert (one.name, boxed.name) == ("1 click", "5 clicks + box")


def test_the_official_quantization_stores_weights_as_unsigned_bytes(small_model):
    quantized = onnx.load_from_string(quantized_the_official_way(export_decoder(small_model, "official").bytes))
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= {node.op_type for node in quantized.graph.node}
    kinds = [weight.data_type for weight in quantized.graph.initializer if weight.name.endswith("_quantized")]
    assert kinds and set(kinds) == {TensorProto.UINT8}


# --- words -----------------------------------------------------------------------------------------------------------


def test_results_are_readable_by_people_and_by_programs(tmp_path):
    samples = [Sample(wall_ms=200, cpu_ms=100), Sample(300, 150), Sample(400, 200)]
    row = {"candidate": "ours", "1 click": Timing.of(samples, samples), "bytes": 12345, "clock": None}
    found = Findings([Table("Decoder", "How to read it.", [row])], {"profile.json": b"[]"})
    report.write(tmp_path / "new", {"cores": 2}, [found])
    assert "| ours | 150 (100-200) · 1.00x · 1.00x | 12,345 | - |" in (tmp_path / "new" / "results.md").read_text()
    results = json.loads((tmp_path / "new" / "results.json").read_text())
    assert results["machine"] == {"cores": 2}
    cell = results["tables"][0]["rows"][0]["1 click"]
    assert cell["wall_ms"] == {"median": 300, "low": 200, "high": 400, "count": 3}
    assert (tmp_path / "new" / "profile.json").read_bytes() == b"[]"


def test_a_profile_is_found_among_a_consoles_lines_and_summed_by_operator():
    lines = ["[I:onnxruntime] hello", "[", event("Gemm", 3), event("Gelu", 1) + ",", "]", "[", "]"]
    lines[2] += ","
    lines[3] = lines[3].rstrip(",")
    texts = split_log(lines)
    assert len(texts) == 2
    assert as_text(shares(json.loads(texts[0]))) == "Gemm 75 %, Gelu 25 %"


def event(operator, microseconds):
    return json.dumps({"name": f"n_{operator}_kernel_time", "dur": microseconds, "args": {"op_name": operator}})


def test_bytes_are_told_by_what_they_are():
    assert kind_of("http://127.0.0.1:1/static/vendor/onnxruntime-web-1/ort.wasm") == "runtime"
    assert kind_of("http://127.0.0.1:1/static/js/main.js") == "page"
    assert kind_of("http://127.0.0.1:1/static/vendor/page-0123456789abcdef/main.js") == "page"


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_unknown_section_names_the_known_ones(capsys):
    with pytest.raises(SystemExit) as refused:
        main(["--only", "speed"])
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert "speed" in said and all(name in said for name in SECTIONS)


def test_an_output_that_is_a_file_is_refused_before_anything_is_measured(tmp_path, capsys):
    file = tmp_path / "results"
    file.write_text("")
    assert main(["--output", str(file)]) == 2
    said = capsys.readouterr()
    assert str(file) in said.err and "measuring" not in said.err


def test_without_playwright_the_extra_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(RuntimeError, match=r"\.\[test\]"), chromium():
        pass


def test_a_chromium_that_is_not_there_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    run = subprocess.run(
        [sys.executable, "-m", "demo.bench", "--quick", "--only", "embedding"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "/nowhere/chromium" in run.stderr and "Traceback" not in run.stderr
