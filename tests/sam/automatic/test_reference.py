"""Everything mode finds what the original generator found: the same records in the same order."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from sam import SamAutomaticMaskGenerator, load_sam
from sam.automatic import runs

pytestmark = pytest.mark.reference

CASES = ("plain", "crops", "cleaned")
SCORE_TOLERANCE = 1e-4
PIXELS = 4
"""Border pixels that another processor may decide otherwise."""


@pytest.fixture(scope="module")
def everything(reference, reference_config):
    """Model, picture, cases, and the masks of each case (records, H, W)."""
    document = json.loads((reference / "everything.json").read_text())
    values = load_file(reference / "everything.golden.safetensors")
    height, width = values["image"].shape[:2]
    masks = {
        case: np.unpackbits(values[f"{case}.segmentation"], axis=1)[:, : height * width].reshape(-1, height, width) > 0
        for case in CASES
    }
    model = load_sam(reference / "everything.weights.safetensors", variant=reference_config(document["config"]))
    return model, values["image"], document["cases"], masks


@pytest.mark.parametrize("case", CASES)
def test_records_are_the_originals_in_its_order(everything, case):
    model, image, cases, masks = everything
    records = SamAutomaticMaskGenerator(model, **cases[case]["settings"]).generate(image)
    expected = cases[case]["records"]
    assert len(records) == len(expected)
    for got, want, mask in zip(records, expected, masks[case], strict=True):
        assert got.keys() == want.keys() | {"segmentation"}
        assert got["point_coords"] == want["point_coords"] and got["crop_box"] == want["crop_box"]
        np.testing.assert_allclose(got["bbox"], want["bbox"], atol=1)
        assert got["predicted_iou"] == pytest.approx(want["predicted_iou"], abs=SCORE_TOLERANCE)
        assert got["stability_score"] == pytest.approx(want["stability_score"], abs=2e-3)
        assert abs(got["area"] - want["area"]) <= PIXELS
        assert np.count_nonzero(got["segmentation"] != mask) <= PIXELS


@pytest.mark.parametrize("case", CASES)
def test_run_lengths_hold_the_same_masks(everything, case):
    model, image, cases, masks = everything
    settings = cases[case]["settings"] | {"output_mode": "uncompressed_rle"}
    for record, mask in zip(SamAutomaticMaskGenerator(model, **settings).generate(image), masks[case], strict=True):
        assert np.count_nonzero(runs.to_mask(runs.from_rle(record["segmentation"]), mask.shape) != mask) <= PIXELS
