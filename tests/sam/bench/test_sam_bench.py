"""The benchmark is fair: the original gets the same weights, and a match is a match."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sam import SamAutomaticMaskGenerator, SAMConfig, load_sam
from sam.bench.__main__ import main
from sam.bench.everything import Task, matched
from sam.bench.gpu import compete_on_gpu, contestants
from sam.bench.merging import merge_tiles
from sam.bench.original import original_generator
from sam.config import DecoderConfig, TinyConfig
from sam.masks import rle_encode

pytest.importorskip("pycocotools")
SETTINGS = {"points_per_side": 3, "pred_iou_thresh": 0.2, "stability_score_thresh": 0.3, "box_nms_thresh": 0.5}
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}


@pytest.fixture
def original():
    """Builds the original generator, where its package is installed."""

    def build(model, **settings):
        try:
            return original_generator(model, **settings)
        except RuntimeError as error:
            pytest.skip(str(error))

    return build


def record(mask):
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    return {"segmentation": rle_encode(mask), "bbox": [x, y, int(columns.max()) - x, int(rows.max()) - y]}


def square(left, side=20):
    mask = np.zeros((40, 60), bool)
    mask[5 : 5 + side, left : left + side] = True
    return mask


def test_the_original_with_our_weights_finds_what_we_find(original, shapes_picture):
    model = load_sam("tiny")
    theirs = original(model, **SETTINGS, output_mode="coco_rle").generate(shapes_picture)
    ours = SamAutomaticMaskGenerator(model, **SETTINGS, output_mode="coco_rle").generate(shapes_picture)
    assert len(ours) == len(theirs) > 1
    for one, other in zip(ours, theirs, strict=True):
        assert one["bbox"] == other["bbox"] and one["point_coords"] == other["point_coords"]
        assert one["predicted_iou"] == pytest.approx(other["predicted_iou"], abs=1e-4)
        assert one["stability_score"] == pytest.approx(other["stability_score"], abs=2e-3)
        assert type(one["segmentation"]["counts"]) is type(other["segmentation"]["counts"])
    assert "torchvision" not in sys.modules


def test_sets_match_as_far_as_masks_have_partners():
    first, second, third = (record(square(left)) for left in (0, 1, 30))
    assert matched([first, third], [third, first]) == 1
    assert matched([first, third], [first]) == 2 / 3
    assert matched([first], [second]) == 0  # a shift of one in twenty pixels is no match
    assert matched([], []) == 1 and matched([first], []) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read as Linux tells it")
def test_memory_is_what_the_work_takes():
    code = "import numpy as np; from sam.bench.everything import resident_kilobytes as held; before = held('VmRSS'); "
    code += "np.ones(10_000_000).sum(); print(held('VmHWM') - before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=PLAIN)
    assert 70_000 < int(run.stdout) < 100_000


def test_quick_run_prints_a_table_and_keeps_the_numbers(original, tmp_path, capsys):
    original(load_sam("tiny"))
    output = tmp_path / "numbers.json"
    command = ["--only", "everything", "--quick", "--points", "2", "--no-memory", "--precision", "fp32"]
    assert main([*command, "--output", str(output)]) == 0
    assert "| fp32 |" in capsys.readouterr().out
    (first, second) = json.loads(output.read_text())["tiny"]
    assert (first["name"], second["name"]) == ("original", "fp32") and second["match"] == 1


def test_a_model_that_is_not_there_is_one_sentence(capsys):
    assert main(["--quick", "--no-memory", "--model", "nowhere.pth"]) == 2
    assert "nowhere.pth" in capsys.readouterr().err


def test_every_way_to_encode_is_compared_with_the_original(small_model, tmp_path, capsys):
    pytest.importorskip("segment_anything")
    small_model.save(tmp_path / "small.safetensors")
    output = tmp_path / "found.json"
    path = str(tmp_path / "small.safetensors")
    assert main(["--only", "encoder", "--model", path, "--rounds", "2", "--output", str(output)]) == 0
    found = {result["name"]: result for result in json.loads(output.read_text())[path]}
    assert [*found] == ["original", "torch", "onnxruntime", "bf16"]
    assert found["original"]["deviation"] == 0
    assert found["torch"]["deviation"] < 1e-4 and found["onnxruntime"]["deviation"] < 1e-4 < found["bf16"]["deviation"]
    assert "(1.00x)" in capsys.readouterr().out


def test_an_encoder_that_the_original_has_not_is_compared_with_itself(random_model, tmp_path, capsys):
    own = TinyConfig(img_size=128, widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), num_heads=4, out_chans=32)
    path = str(tmp_path / "own.safetensors")
    random_model(SAMConfig(own, DecoderConfig(num_heads=2, mlp_dim=64, iou_head_hidden_dim=32))).save(path)
    assert main(["--only", "encoder", "--quick", "--model", path]) == 0
    table = capsys.readouterr().out
    assert "original" not in table and "| torch |" in table and "| onnxruntime |" in table


def test_without_a_gpu_its_section_says_that_it_is_skipped(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["--only", "gpu"]) == 0
    assert "skipped, PyTorch finds no CUDA device" in capsys.readouterr().out


def test_the_gpus_contest_compares_precisions_on_any_device(shapes_picture, tmp_path):
    path = tmp_path / "shapes.png"
    Image.fromarray(shapes_picture).save(path)
    results = compete_on_gpu(Task("tiny", path, 3), 1, "cpu", ("fp32", "bf16"))
    assert [result.name for result in results] == ["fp32", "bf16"] and results[0].match == 1
    assert results[1].masks and results[1].match > 0.5


def test_the_original_takes_part_in_the_gpus_contest(original, shapes_picture, tmp_path):
    original(load_sam("tiny"))
    path = tmp_path / "shapes.png"
    Image.fromarray(shapes_picture).save(path)
    assert contestants()[:2] == ("original", "fp32")
    results = compete_on_gpu(Task("tiny", path, 3), 1, "cpu", contestants()[:2])
    assert [result.match for result in results] == [1, 1] and results[0].masks


def test_merging_by_neighbourhoods_leaves_what_comparing_everything_leaves():
    (result,) = merge_tiles([9], 12)
    assert result.tiles == 9 and result.plain is not None
    assert 0 < result.things < result.masks


def test_the_merging_section_runs_without_a_model(tmp_path, capsys):
    output = tmp_path / "found.json"
    assert main(["--only", "merging", "--tiles", "4", "--things", "6", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["synthetic"][0]["tiles"] == 4
    assert "| tiles |" in capsys.readouterr().out
