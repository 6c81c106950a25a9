"""PyTorch's compiler as an option: `model.image_encoder.compile()` changes no result beyond rounding."""

import copy
import shutil

import numpy as np
import pytest

from sam import SamAutomaticMaskGenerator

IOU_TOLERANCE = 1e-4
EVERYTHING = {"points_per_side": 4, "pred_iou_thresh": -9.0, "stability_score_thresh": 0.0}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, g++")
def test_a_compiled_encoder_finds_the_same(small_model, photo):
    compiled = copy.deepcopy(small_model)
    compiled.image_encoder.compile()
    models = (small_model, compiled)
    expected, found = (SamAutomaticMaskGenerator(model, **EVERYTHING).generate(photo) for model in models)
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=IOU_TOLERANCE)
        assert np.count_nonzero(ours["segmentation"] != theirs["segmentation"]) <= 4, "pixels on a border"
