"""`python -m sam.training fit` as a person types it."""

import os
import subprocess
import sys

import pytest

from sam import load_sam

RECIPE = """
learning_rate = 1e-4
warmup_steps = 1
frozen = ["image_encoder"]
cached_views = 1
affinity_weight = 0.0
[[stages]]
steps = 2
draws = [{ size = 128, pictures = 1, masks = 2, cells_per_block = 4 }]
"""


@pytest.fixture
def world(pictures, small_model, tmp_path):
    small_model().save(tmp_path / "start.safetensors")
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path


def fit(world, *arguments):
    command = [sys.executable, "-m", "sam.training", "fit", "--data", "data", "--output", "run", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.run(command, capture_output=True, text=True, cwd=world, env=environment)


def test_a_checkpoint_is_fine_tuned_with_progress(world):
    run = fit(world, "--recipe", "mine.toml", "--checkpoint", "start.safetensors")
    assert run.returncode == 0, run.stderr
    assert "2/2" in run.stderr and "masks/s" in run.stderr
    assert "model.safetensors" in run.stdout
    start, end = (load_sam(world / name).state_dict() for name in ("start.safetensors", "run/model.safetensors"))
    assert start.keys() == end.keys()
    assert any((start[key] != end[key]).any() for key in start if key.startswith("mask_decoder"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--recipe", "none", "--checkpoint", "start.safetensors"), "'none'"),
        (("--recipe", "mine.toml", "--checkpoint", "absent.pth"), "absent.pth"),
        (("--recipe", "mine.toml"), "--variant"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(world, arguments, named):
    run = fit(world, *arguments)
    assert run.returncode == 2 and named in run.stderr and "Traceback" not in run.stderr
