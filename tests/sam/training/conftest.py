"""A tiny world to train in: red squares on blue, and a model that learns it in seconds."""

import numpy as np
import pytest
import torch
from PIL import Image

from sam import SAM
from sam.training.recipe import Draw, Recipe, Stage


def write_squares(folder, places):
    """Pictures with a red square each, and the layer that says where it is."""
    folder.mkdir(parents=True)
    for number, (top, left) in enumerate(places):
        ids = np.zeros((96, 128), np.uint8)
        ids[top : top + 36, left : left + 40] = 1
        colours = np.where(ids[..., None] == 1, [220, 20, 20], [20, 20, 160]).astype(np.uint8)
        Image.fromarray(colours).save(folder / f"{number}.jpg", quality=95)
        Image.fromarray(ids).save(folder / f"{number}.0.png")


@pytest.fixture
def pictures(tmp_path):
    write_squares(tmp_path / "data" / "squares", [(20, 30), (40, 60)])
    return tmp_path / "data"


@pytest.fixture
def small_model():
    """Builds the same small `tiny` each time: 128-pixel frame, embedding of 8 x 8 cells."""

    def build(**overrides):
        torch.manual_seed(0)
        sizes = {"img_size": 128, "widths": (16, 16, 32, 32), "depths": (1, 1, 1, 2), "num_heads": 2, "out_chans": 64}
        return SAM.from_variant("tiny", **sizes | overrides)

    return build


@pytest.fixture
def small_recipe():
    """Builds a recipe of `steps` steps of two pictures with two masks each."""

    def build(steps, **fields):
        stage = Stage(steps, (Draw(size=128, pictures=2, masks=2, cells_per_block=2),))
        return Recipe(stages=(stage,), **{"warmup_steps": 2, "learning_rate": 1e-3} | fields)

    return build
