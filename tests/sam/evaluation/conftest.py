"""Pictures whose masks can be read off their colours, so that a perfect answer needs no model."""

import numpy as np
import pytest
from PIL import Image

from sam.datasets import find_records
from sam.evaluation import measuring
from sam.predictor import Masks

RED, BLUE = (220, 20, 20), (20, 20, 160)
SQUARES = [(20, 30), (40, 60), (10, 50)]
"""Top and left of the red square, 36 high and 40 wide, in each picture of 96 x 128 pixels."""


@pytest.fixture
def pictures(tmp_path):
    """A folder with one source, `squares`: a red square on blue, and a layer that says so."""
    folder = tmp_path / "data" / "squares"
    folder.mkdir(parents=True)
    for number, (top, left) in enumerate(SQUARES):
        ids = np.zeros((96, 128), np.uint8)
        ids[top : top + 36, left : left + 40] = 1
        Image.fromarray(np.where(ids[..., None] == 1, RED, BLUE).astype(np.uint8)).save(folder / f"p{number}.png")
        Image.fromarray(ids).save(folder / f"p{number}.0.png")
    return tmp_path / "data"


@pytest.fixture
def records(pictures):
    return find_records(pictures)


class FakeModel:
    """What `evaluate` asks a model for, besides its answers."""

    class config:
        model_id = "fake"

    def weights_hash(self):
        return "0" * 64


@pytest.fixture
def answering(monkeypatch):
    """Replace prediction by a function of the H,W,3 picture and the number of clicks (0: a box) that gives a mask."""

    def install(answer):
        def predict(model, image, point_coords=(), point_labels=(), box=None, mask_input=None, *, multimask_output):
            assert (box is None) == bool(len(point_coords)) and len(point_coords) == len(point_labels)
            assert multimask_output == (len(point_coords) == 1) == (mask_input is None and box is None)
            count = 3 if multimask_output else 1
            masks = np.repeat(answer(image, len(point_coords))[None], count, axis=0)
            return Masks(masks, np.linspace(0.5, 1, count), np.zeros((count, 8, 8), np.float32))

        monkeypatch.setattr(measuring, "encode", lambda model, image: image)
        monkeypatch.setattr(measuring, "predict", predict)
        return FakeModel()

    return install


def red(image, clicks):
    """The right answer, at once."""
    return image[..., 0] > image[..., 2]


@pytest.fixture
def perfect(answering):
    """A model that is always right."""
    return answering(red)
