"""Runs: they learn, they resume to the same numbers, they freeze what they are told to, they stop when it is time."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sam import SAM, load_sam
from sam.datasets import find_records
from sam.training.loop import Run, fit
from sam.training.recipe import LoRA, Unfreeze
from sam.training.tuning import layer_depths, parameter_groups


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def changed(before, after):
    """Parts (two levels deep) in which any tensor differs; statistics of normalisation included."""
    return {".".join(key.split(".")[:2]) for key in before if not torch.equal(before[key], after[key])}


def state_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_training_lowers_the_loss(pictures, small_model, small_recipe, tmp_path):
    metrics = list(fit(small_model(), find_records(pictures), small_recipe(40), tmp_path / "run"))
    losses = [each.loss for each in metrics]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_a_killed_run_equals_an_unkilled_one(pictures, small_model, small_recipe, tmp_path):
    records, recipe = find_records(pictures), small_recipe(4, accumulate=2)
    whole = list(fit(small_model(), records, recipe, tmp_path / "whole", checkpoint_every=2))
    killed = fit(small_model(), records, recipe, tmp_path / "killed", checkpoint_every=2)
    list(islice(killed, 3))
    killed.close()  # the third step is lost: the checkpoint stands at two
    resumed = list(fit(small_model(), records, recipe, tmp_path / "killed", checkpoint_every=2))
    assert [each.step for each in resumed] == [3, 4]
    assert [each.loss for each in resumed] == [each.loss for each in whole[2:]]
    a, b = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"] for name in ("whole", "killed"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert [line["loss"] for line in lines(tmp_path / "killed")] == [line["loss"] for line in lines(tmp_path / "whole")]


def test_half_a_line_of_a_killed_log_is_forgotten(pictures, small_model, small_recipe, tmp_path):
    records, recipe = find_records(pictures), small_recipe(3)
    list(islice(fit(small_model(), records, recipe, tmp_path, checkpoint_every=1), 2))
    with open(tmp_path / "metrics.jsonl", "a") as log:
        log.write('{"step": 3, "lo')
    list(fit(small_model(), records, recipe, tmp_path, checkpoint_every=1))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]


def test_a_finished_run_leaves_weights_that_load_sam_reads_and_a_board(pictures, small_model, small_recipe, tmp_path):
    list(fit(small_model(), find_records(pictures), small_recipe(2), tmp_path))
    model = load_sam(tmp_path / "model.safetensors")
    assert model.state_dict().keys() == small_model().state_dict().keys()
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_bfloat16_keeps_float32_weights(pictures, small_model, small_recipe, tmp_path):
    model = small_model()
    (metrics,) = fit(model, find_records(pictures), small_recipe(1), tmp_path, dtype=torch.bfloat16)
    assert np.isfinite(metrics.loss)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_accumulated_batches_are_averaged(pictures, small_model, small_recipe, tmp_path):
    recipe = small_recipe(1, accumulate=3)
    (metrics,) = fit(small_model(), find_records(pictures), recipe, tmp_path)
    assert np.isfinite(metrics.loss)


# --- what learns -------------------------------------------------------------------------------------------------


def test_a_frozen_encoder_keeps_weights_and_statistics(pictures, small_model, small_recipe, tmp_path):
    model = small_model()
    before = state_of(model)
    list(fit(model, find_records(pictures), small_recipe(2, frozen=("image_encoder",)), tmp_path))
    parts = changed(before, model.state_dict())
    assert parts and not any(part.startswith("image_encoder") for part in parts)


def test_a_frozen_decoder_leaves_the_encoder_learning(pictures, small_model, small_recipe, tmp_path):
    model = small_model()
    before = state_of(model)
    list(fit(model, find_records(pictures), small_recipe(2, frozen=("mask_decoder", "prompt_encoder")), tmp_path))
    assert all(part.startswith("image_encoder") for part in changed(before, model.state_dict()))


def test_parts_are_released_at_their_step(pictures, small_model, small_recipe, tmp_path):
    unfreeze = (Unfreeze(2, ("image_encoder.fusion",)), Unfreeze(3, ("image_encoder",)))
    recipe = small_recipe(4, frozen=("image_encoder",), unfreeze=unfreeze)
    model, seen = small_model(), []
    before = state_of(model)
    for _ in fit(model, find_records(pictures), recipe, tmp_path):
        seen.append({part for part in changed(before, model.state_dict()) if part.startswith("image_encoder")})
    assert seen[:3] == [set(), set(), {"image_encoder.fusion"}]
    assert {"image_encoder.stem", "image_encoder.stride32"} < seen[3]


def test_a_part_that_does_not_exist_is_named_before_the_first_step(small_model, small_recipe):
    recipe = small_recipe(9, frozen=("image_encoder",), unfreeze=(Unfreeze(5, ("image_encoder.blocks.3",)),))
    with pytest.raises(ValueError, match=r"image_encoder\.blocks\.3"):
        Run(small_model(), recipe)


def test_lower_layers_learn_more_slowly(small_model, small_recipe):
    model = small_model()
    groups = parameter_groups(model, small_recipe(1, layer_decay=0.5))
    scale = {id(parameter): group["scale"] for group in groups for parameter in group["params"]}
    assert len(scale) == len(list(model.parameters()))
    depths = layer_depths(model)
    stem, fusion = model.image_encoder.stem[0].c.weight, model.image_encoder.fusion.out.weight
    assert scale[id(stem)] == 0.5 ** (max(depths.values()) - depths["image_encoder.stem.0"]) < scale[id(fusion)]
    assert scale[id(model.mask_decoder.iou_token.weight)] == 1
    first, second = (model.image_encoder.stride32[index].qkv.weight for index in (0, 1))
    assert scale[id(first)] == 0.5 * scale[id(second)]


def test_low_rank_updates_learn_and_are_folded_into_published_names(pictures, small_model, small_recipe, tmp_path):
    recipe = small_recipe(3, frozen=("image_encoder",), lora=LoRA(rank=2, alpha=4.0), ema_decay=0.0)
    list(fit(small_model(), find_records(pictures), recipe, tmp_path))
    start, end = small_model().state_dict(), load_file(tmp_path / "model.safetensors")
    assert start.keys() == end.keys()
    touched = {key for key in start if key.startswith("image_encoder") and not torch.equal(start[key], end[key])}
    assert touched and all(("qkv.weight" in key) or ("proj.weight" in key) for key in touched)


@pytest.mark.parametrize(
    ("variant", "sizes"),
    [
        ("vit_b", {"embed_dim": 32, "depth": 2, "num_heads": 2, "window_size": 4, "global_attn_indexes": (1,)}),
        ("vit_t", {"embed_dims": (16, 16, 32, 32), "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}),
    ],
)
def test_published_architectures_are_tuned_by_the_same_command(pictures, small_recipe, tmp_path, variant, sizes):
    torch.manual_seed(0)
    model = SAM.from_variant(variant, img_size=128, out_chans=64, **sizes)
    part = next(name for name in layer_depths(model))
    recipe = small_recipe(2, frozen=(part,), unfreeze=(Unfreeze(1, (part,)),), layer_decay=0.9)
    assert len(list(fit(model, find_records(pictures), recipe, tmp_path))) == 2
    tuned = small_recipe(1, frozen=("image_encoder",), lora=LoRA(rank=2))
    assert len(list(fit(model, find_records(pictures), tuned, tmp_path / "lora"))) == 1
    assert load_sam(tmp_path / "lora" / "model.safetensors").config == model.config


def test_cached_embeddings_train_as_the_encoder_would(pictures, small_model, small_recipe, tmp_path):
    recipe = small_recipe(6, frozen=("image_encoder",), cached_views=2, affinity_weight=0.0)
    metrics = list(fit(small_model(), find_records(pictures), recipe, tmp_path))
    assert all(np.isfinite(each.loss) for each in metrics)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "embeddings").rglob("*.safetensors")}
    assert len(files) == 4
    list(fit(small_model(), find_records(pictures), replace(recipe, seed=recipe.seed), tmp_path))
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "embeddings").rglob("*.safetensors")}


def test_cached_embeddings_of_another_size_are_refused(pictures, small_model, small_recipe, tmp_path):
    recipe = small_recipe(1, frozen=("image_encoder",), cached_views=1)
    with pytest.raises(ValueError, match="size 256, the recipe draws 128"):
        list(fit(small_model(img_size=256), find_records(pictures), recipe, tmp_path))


# --- when it stops -----------------------------------------------------------------------------------------------


def test_a_run_that_no_longer_improves_stops_with_its_best_weights(pictures, small_model, small_recipe, tmp_path):
    records = find_records(pictures)
    recipe = small_recipe(20, learning_rate=1e-12, final_learning_rate=0.0, validate_every=2, patience=2)
    metrics = list(fit(small_model(), records, recipe, tmp_path, validation=records))
    looks = [each.validation for each in metrics if each.validation is not None]
    assert len(metrics) < 20 and 3 <= len(looks) < 10
    assert list(fit(small_model(), records, recipe, tmp_path, validation=records)) == []


def test_another_preprocessing_is_refused(pictures, small_model, small_recipe, tmp_path):
    model = small_model()
    model.config = replace(model.config, preprocessing="medsam")
    with pytest.raises(ValueError, match="medsam"):
        next(fit(model, find_records(pictures), small_recipe(1), tmp_path))
