"""The whole model: every kind of prompt, construction, storage."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sam import SAM, SAMConfig, encode, load_sam, predict
from sam.transforms import image_to_tensor

PARAMETERS = {"vit_b": 93.74, "vit_l": 312.34, "vit_h": 641.09, "vit_t": 10.13}


@pytest.fixture
def picture(photo) -> torch.Tensor:
    return image_to_tensor(photo)


def prompts(batch: int, *axis: int) -> dict[str, object]:
    """One of every kind of prompt for `batch` pictures, with the prompt axis where it is given."""
    generator = torch.Generator().manual_seed(2)
    lead = (batch, *axis)
    points = torch.rand(*lead, 2, 2, generator=generator) * 60
    corner = torch.rand(*lead, 1, 2, generator=generator) * 30
    return {
        "points": (points, torch.ones(*lead, 2, dtype=torch.long)),
        "boxes": torch.cat([corner, corner + 25], dim=-1),
        "masks": torch.randn(*lead, 1, 32, 32, generator=generator),
    }


ALONE = [("points",), ("boxes",), ("masks",)]
KINDS = [(), *ALONE, ("points", "boxes"), ("points", "masks"), ("points", "boxes", "masks")]


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameter_counts_are_the_published_ones(variant):
    with torch.device("meta"):
        model = SAM.from_variant(variant)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == PARAMETERS[variant]


@pytest.mark.parametrize("kinds", KINDS, ids="+".join)
@pytest.mark.parametrize("multimask_output", [True, False])
@torch.no_grad()
def test_every_subset_of_prompts_is_answered(small_model, picture, kinds, multimask_output):
    given = {kind: value for kind, value in prompts(2).items() if kind in kinds}
    images = picture.repeat(2, 1, 1, 1)
    answer = small_model({"image": images, **given, "multimask_output": multimask_output})
    count = 3 if multimask_output else 1
    assert answer["masks"].shape == (2, count, 60, 90) and answer["masks"].dtype == torch.bool
    assert answer["iou_predictions"].shape == (2, count)
    assert answer["low_res_logits"].shape == (2, count, 32, 32)


@pytest.mark.parametrize("kinds", KINDS[1:], ids="+".join)
@torch.no_grad()
def test_prompt_axis_answers_as_one_prompt_at_a_time(small_model, picture, kinds):
    images = torch.cat([picture, picture.flip(-1)])
    given = {kind: value for kind, value in prompts(2, 3).items() if kind in kinds}
    together = small_model({"image": images, **given})
    assert together["masks"].shape == (2, 3, 3, 60, 90)
    assert together["low_res_logits"].shape == (2, 3, 3, 32, 32)
    for index in range(3):
        one = {
            kind: tuple(part[:, index] for part in value) if kind == "points" else value[:, index]
            for kind, value in given.items()
        }
        alone = small_model({"image": images, **one})
        for name in ("low_res_logits", "iou_predictions"):
            torch.testing.assert_close(together[name][:, index], alone[name], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_multimask_is_the_default_and_the_answers_size_can_be_chosen(small_model, picture):
    for size in ((30, 45), [30, 45], np.array([30, 45]), torch.tensor([30, 45])):
        answer = small_model({"image": picture, "original_size": size, "multimask_output": None})
        assert answer["masks"].shape == (1, 3, 30, 45)


@torch.no_grad()
def test_model_and_predictor_answer_the_same(small_model, photo, picture):
    batch = {
        "image": picture,
        "points": (torch.tensor([[[30.0, 20.0]]]), torch.tensor([[1]])),
        "boxes": torch.tensor([[[10.0, 5.0, 70.0, 50.0]]]),
    }
    theirs = predict(small_model, encode(small_model, photo), [[30, 20]], [1], [10, 5, 70, 50])
    ours = small_model(batch)
    np.testing.assert_allclose(ours["low_res_logits"][0], theirs.low_res_logits, atol=1e-5)
    np.testing.assert_array_equal(ours["masks"][0], theirs.masks)


def test_metas_list_answers_each_picture_by_itself(small_model):
    records = [
        {"image": torch.rand(3, 128, 100) * 255, "original_size": (64, 50), "boxes": torch.rand(4, 4) * 90},
        {"image": torch.rand(3, 80, 128) * 255, "original_size": (160, 256)},
    ]
    boxes, nothing = small_model(batched_input=records, multimask_output=False)
    assert boxes["masks"].shape == (4, 1, 64, 50) and boxes["iou_predictions"].shape == (4, 1)
    assert nothing["masks"].shape == (1, 1, 160, 256)
    assert not boxes["low_res_logits"].requires_grad


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "NoneType"),
        ({"image": torch.zeros(3, 8, 8)}, r"\(3, 8, 8\)"),
        ({"image": torch.zeros(1, 1, 8, 8)}, r"\(1, 1, 8, 8\)"),
        ({"image": torch.zeros(2, 3, 8, 8), "boxes": torch.zeros(1, 1, 4)}, "2 pictures"),
        ({"image": torch.zeros(1, 3, 8, 8), "masks": torch.zeros(32, 32)}, "masks has shape"),
        (
            {"image": torch.zeros(1, 3, 8, 8), "boxes": torch.zeros(1, 2, 1, 4), "masks": torch.zeros(1, 1, 32, 32)},
            "disagree about the prompt axis",
        ),
        (
            {"image": torch.zeros(1, 3, 8, 8), "points": (torch.zeros(1, 2, 2), torch.zeros(1, 3))},
            "one entry per point",
        ),
        ({"image": torch.zeros(1, 3, 8, 8), "points": torch.zeros(1, 2, 2)}, "the pair"),
        ({"image": torch.zeros(1, 3, 8, 8), "points": (torch.zeros(1, 2, 2), None)}, "the pair"),
        ({"image": torch.zeros(1, 3, 8, 8), "points": ([[[1, 2]]], torch.ones(1, 1))}, "points is list"),
        ({"image": torch.zeros(1, 3, 8, 8), "points": (torch.zeros(1, 1, 3), torch.ones(1, 1))}, r"\(B, N, 2\)"),
        ({"image": torch.zeros(1, 3, 8, 8), "boxes": torch.zeros(1, 1, 5)}, r"\(B, N, 4\)"),
        ({"image": torch.zeros(1, 3, 8, 8), "masks": torch.zeros(1, 1, 16, 16)}, r"\(B, 1, 32, 32\)"),
        ({"image": torch.zeros(2, 3, 8, 8), "original_size": torch.tensor([[8, 8], [8, 8]])}, "original_size"),
        ({"image": torch.zeros(1, 3, 8, 8), "original_size": (8.5, 8)}, "original_size"),
    ],
)
def test_batch_that_does_not_fit_is_refused(small_model, batch, message):
    with pytest.raises(ValueError, match=message):
        small_model(batch)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float64], ids=str)
@torch.no_grad()
def test_labels_of_any_type_mean_the_same(small_model, picture, dtype):
    coords, labels = torch.tensor([[[30.0, 20.0], [60.0, 40.0]]]), torch.tensor([[1, 0]])
    expected = small_model({"image": picture, "points": (coords, labels)})
    given = small_model({"image": picture, "points": (coords, labels.to(dtype))})
    assert torch.equal(given["low_res_logits"], expected["low_res_logits"])


def test_gradient_reaches_every_part(small_config, random_model, picture):
    model = random_model(small_config)
    answer = model({"image": picture, **prompts(1)})
    (answer["low_res_logits"].mean() + answer["iou_predictions"].mean()).backward()
    parts = ("image_encoder.patch_embed.proj", "prompt_encoder.mask_downscaling.0", "mask_decoder.iou_token")
    assert all(model.get_parameter(f"{part}.weight").grad.abs().sum() > 0 for part in parts)


# --- construction and storage -----------------------------------------------------------------------------------


def test_variant_takes_overrides_of_model_and_encoder():
    with torch.device("meta"):
        model = SAM.from_variant("vit_b", mask_threshold=0.7, pixel_mean=(1.0, 2.0, 3.0), img_size=512)
    assert model.mask_threshold == 0.7 and model.config.pixel_mean == (1.0, 2.0, 3.0)
    assert model.config.embedding_shape == (1, 256, 32, 32)
    with pytest.raises(ValueError, match=r"vit_z.*vit_b"):
        SAM.from_variant("vit_z")


def test_mean_and_std_may_be_arrays_and_are_stored_as_numbers(small_config, tmp_path):
    config = replace(small_config, pixel_mean=np.float32([1, 2, 3]), pixel_std=torch.tensor([4.0, 5.0, 6.0]))
    SAM.from_config(config).save(tmp_path / "model.safetensors")
    loaded = load_sam(tmp_path / "model.safetensors").config
    assert (loaded.pixel_mean, loaded.pixel_std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))


@torch.no_grad()
def test_mobile_sam_takes_a_non_square_frame(picture):
    sizes = {"embed_dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    model = SAM.from_variant("vit_t", img_size=(64, 128), **sizes).eval()
    answer = model({"image": picture, "boxes": torch.tensor([[[10.0, 5.0, 70.0, 50.0]]])})
    assert answer["low_res_logits"].shape == (1, 3, 16, 32) and answer["masks"].shape == (1, 3, 60, 90)


def test_configuration_as_json_and_weights_alone_rebuild_the_model(small_model, picture):
    text = json.dumps(small_model.config.to_dict())
    rebuilt = SAM.from_config(json.loads(text)).eval()
    assert rebuilt.config == small_model.config == SAMConfig.from_dict(json.loads(text))
    rebuilt.load_state_dict(small_model.state_dict())
    assert rebuilt.weights_hash() == small_model.weights_hash()
    with torch.no_grad():
        left, right = (model({"image": picture, **prompts(1)}) for model in (rebuilt, small_model))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_saved_model_answers_identically(small_model, picture, tmp_path):
    small_model.save(tmp_path / "model.safetensors")
    loaded = load_sam(tmp_path / "model.safetensors")
    with torch.no_grad():
        left, right = (model({"image": picture, **prompts(1)}) for model in (loaded, small_model))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_saved_configuration_keeps_preprocessing_and_threshold(small_config, tmp_path):
    values = {"preprocessing": "medsam", "mask_threshold": 0.25, "pixel_std": (1.0, 2.0, 3.0), "image_format": "BGR"}
    model = SAM.from_config({**small_config.to_dict(), **values})
    model.save(tmp_path / "model.safetensors")
    assert load_sam(tmp_path / "model.safetensors").config == model.config


def test_weights_hash_follows_the_weights(small_config, random_model):
    model = random_model(small_config)
    before = model.weights_hash()
    assert len(before) == 64
    assert before == model.weights_hash() == random_model(small_config).weights_hash()
    with torch.no_grad():
        model.mask_decoder.iou_token.weight += 1
    assert model.weights_hash() != before


def test_bgr_weights_see_the_channels_reversed(small_config, picture):
    rgb = SAM.from_config({**small_config.to_dict(), "pixel_mean": [0, 0, 0], "pixel_std": [1, 1, 1]})
    bgr = SAM.from_config({**rgb.config.to_dict(), "image_format": "BGR"})
    assert torch.equal(bgr.preprocess(picture), rgb.preprocess(picture).flip(1))


def test_zero_prompts_are_refused_by_name(small_model):
    image = torch.rand(1, 3, 40, 60) * 255
    with pytest.raises(ValueError, match="P = 0"):
        small_model({"image": image, "points": (torch.zeros(1, 0, 2, 2), torch.zeros(1, 0, 2))})


def test_one_box_per_prompt_needs_no_axis_of_its_own(small_model):
    image, boxes = torch.rand(1, 3, 40, 60) * 255, torch.tensor([[[3.0, 4, 30, 35], [10, 2, 50, 20]]])
    points = (torch.tensor([[[[20.0, 20.0]], [[30.0, 10.0]]]]), torch.ones(1, 2, 1))
    with torch.no_grad():
        short = small_model({"image": image, "points": points, "boxes": boxes})
        long = small_model({"image": image, "points": points, "boxes": boxes[:, :, None]})
    assert torch.equal(short["low_res_logits"], long["low_res_logits"])


def test_keys_of_the_other_call_form_are_refused(small_model):
    with pytest.raises(ValueError, match="point_coords"):
        small_model({"image": torch.zeros(1, 3, 40, 60), "point_coords": torch.zeros(1, 1, 2)})


def test_the_mask_threshold_can_be_set_as_in_the_original(random_model, small_config):
    model = random_model(small_config)
    model.mask_threshold = 1.5
    assert model.config.mask_threshold == 1.5
