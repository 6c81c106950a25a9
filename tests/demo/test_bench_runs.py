"""Every section of the benchmark runs, in small, on the real page and runtime, and says what it promises to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PEERS = ["official, quantized", "official, fp32", "hover, fp32", "hover, fp16", "hover, int8", "kernel"]
MISSING = ("no Chromium", "is not built")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The tables of a quick run by name, and the folder in which they lie."""
    folder = tmp_path_factory.mktemp("bench") / "results"
    sections = ("decoder", "accuracy", "limits", "embedding", "cold-start", "studio", "hover")
    command = [sys.executable, "-m", "demo.bench", "--quick", "--output", str(folder)]
    command += [word for section in sections for word in ("--only", section)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if any(reason in run.stderr for reason in MISSING):
        pytest.skip(run.stderr.strip().splitlines()[-1])
    assert run.returncode == 0, run.stderr
    document = json.loads((folder / "results.json").read_text())
    assert all(f"## {table['name']}" in run.stdout for table in document["tables"])
    return {table["name"]: table["rows"] for table in document["tables"]}, document["machine"], folder


def test_ours_and_the_peers_are_timed_in_one_run_in_the_browser_and_natively(results):
    rows = results[0]["Decoder"]
    for where, peers in (("wasm x1", PEERS), ("native x1", PEERS[:-1])):
        here = {row["candidate"]: row for row in rows if row["where"] == where}
        assert list(here) == peers
        assert here["official, quantized"]["1 click"]["cpu_speed"] == 1
        assert all(
            row["1 click"]["wall_ms"]["median"] > 0 and row["1 click + box"]["cpu_ms"]["median"] > 0
            for row in here.values()
        )


def test_exact_graphs_answer_as_pytorch_where_they_are_timed(results):
    for row in results[0]["Decoder"]:
        if row["candidate"].endswith("fp32"):
            assert row["difference"] < 1e-3


def test_masks_on_photographs_are_compared(results):
    by_name = {row["candidate"]: row for row in results[0]["Masks on photographs"]}
    assert list(by_name) == PEERS
    assert by_name["hover, fp32"]["pooled IoU"] > 0.999
    assert by_name["hover, int8"]["pooled IoU"] > 0.97


def test_profiles_are_kept_per_operator_and_the_limit_is_counted(results):
    tables, _, folder = results
    assert {row["where"] for row in tables["Operators"]} == {"wasm x1", "native x1"}
    profiles = [json.loads(file.read_text()) for file in folder.glob("profile-*.json")]
    assert len(profiles) == len(tables["Operators"])
    # Not by their share: in one quick run on a busy machine any operator may take longest.
    for profile in profiles:
        operators = {event["args"]["op_name"] for event in profile if "op_name" in event.get("args", {})}
        assert any("Gemm" in name or "MatMul" in name for name in operators)
    assert all("%" in row["operators"] for row in tables["Operators"])
    products = {row["candidate"]: row["million products"] for row in tables["Distance to the limit"]}
    assert products["hover, int8"] == products["hover, fp32"] < products["official, fp32"]


def test_the_embedding_on_the_wire_is_smaller_than_in_memory(results):
    (row,) = results[0]["Embedding"]
    assert row["fp32"] > row["fp16"] > row["fp16 + zstd"]


def test_the_second_visit_downloads_neither_runtime_nor_decoder(results):
    weights = {row["what"]: row for row in results[0]["Bytes per visit"]}
    assert weights["runtime"]["first visit"] > 1e6 and weights["decoder"]["first visit"] > 1e5
    assert weights["runtime"]["second visit"] == weights["decoder"]["second visit"] == 0
    assert {"interactive", "open_to_first_mask"} <= {row["part"] for row in results[0]["Cold start"]}


def test_masks_follow_the_pointer(results):
    (row,) = results[0]["Hover"]
    assert row["moves"] > 0 and row["masks per second"] > 0 and row["latency p50"] > 0


def test_frames_of_the_studio_are_told_by_what_was_done(results):
    [rows] = [rows for name, rows in results[0].items() if name.startswith("Studio")]
    assert [row["phase"] for row in rows] == ["hover", "zoom", "pan"]
    for row in rows:
        assert row["frame"]["count"] == row["frames"] > 0
        assert row["task"] >= row["task, processor"] > 0
    assert any(row["painted"] > 0 for row in rows), "a busy machine may not paint within one of these seconds"


def test_the_machine_is_told_with_the_figures(results):
    machine = results[1]
    assert machine["cores"] > 0 and machine["chromium"] and machine["onnxruntime-web"]
