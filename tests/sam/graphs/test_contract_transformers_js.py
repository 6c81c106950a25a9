"""transformers.js itself, the package under Node, loads what is exported for it and gives the predictor's masks."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sam import encode, predict
from sam.bundle import Order, fill
from sam.export import Form

ROOT = Path(__file__).parents[3]
POINTS = [[[30, 20], [5, 50]], [[62, 41], [80, 10]]]
LABELS = [[1, 0], [1, 1]]
DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "int8", "uint8": "q8"}
"""How transformers.js calls a precision."""


@pytest.fixture(scope="module")
def model(small_config, random_model):
    """A small SAM whose masks cover a fifth to four fifths of the picture: nearly empty ones all look the same."""
    return random_model(small_config, seed=116)


@pytest.fixture(scope="module")
def node() -> str:
    """Node with the package: `npm ci` brings it."""
    if (program := shutil.which("node")) is None:
        pytest.skip("node is missing")
    if not (ROOT / "node_modules" / "@huggingface" / "transformers").exists():
        if (npm := shutil.which("npm")) is None:
            pytest.skip("npm is missing, and so is @huggingface/transformers, which it would fetch")
        subprocess.run([npm, "ci", "--ignore-scripts"], cwd=ROOT, check=True, capture_output=True)
    return program


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """One folder with every precision of the small model, as a user collects them."""
    path = tmp_path_factory.mktemp("models") / "small"
    path.mkdir()
    for precision in DTYPES:
        fill(Order("transformers-js", form=Form(precision)), model).write(path)
    return path


@pytest.fixture(scope="module")
def ask(node, folder, photo, tmp_path_factory):
    """The package's answer in a precision, as arrays."""
    height, width = photo.shape[:2]
    question = {"width": width, "height": height, "points": POINTS, "labels": LABELS}
    file = tmp_path_factory.mktemp("question") / "question.json"
    file.write_text(json.dumps(question | {"rgb": base64.b64encode(photo.tobytes()).decode()}))

    def answer(precision):
        command = [node, "tests/js/transformers-sam.mjs", folder, DTYPES[precision], file]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "inputs were provided" not in done.stderr  # its warning about inputs that a graph does not take
        return {name: np.array(value) for name, value in json.loads(done.stdout).items()}

    return answer


@pytest.fixture(scope="module")
def expected(model, photo):
    """The predictor's answers to both prompts."""
    embedding = encode(model, photo)
    return [predict(model, embedding, *prompt) for prompt in zip(POINTS, LABELS, strict=True)]


def test_package_gives_the_predictors_masks_for_several_prompts_at_once(ask, expected):
    answer = ask("fp32")
    for index, prompt in enumerate(expected):
        np.testing.assert_allclose(answer["logits"][0, index], prompt.low_res_logits, rtol=0, atol=0.05)
        np.testing.assert_allclose(answer["scores"][0, index], prompt.iou_predictions, rtol=0, atol=0.01)
        assert (answer["masks"][index] == prompt.masks).mean() > 0.995  # its resizing is not Pillow's


@pytest.mark.parametrize("precision", ["fp16", "int8", "uint8"])
def test_package_finds_every_precision_by_its_dtype(ask, expected, precision):
    answer = ask(precision)
    for index, prompt in enumerate(expected):
        ours = answer["masks"][index] > 0
        assert (ours & prompt.masks).sum() / (ours | prompt.masks).sum() > {"uint8": 0.85}.get(precision, 0.95)
