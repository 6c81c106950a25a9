"""The trainer: what it minimises, what it simulates, and that a killed run continues as if nothing had happened."""

import json
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sam import SAM
from sam.training.clicks import corrective_click, first_click, jittered_box
from sam.training.data import OUTSIDE, BatchSampler, find_records
from sam.training.loop import Recipe, Stage, fit
from sam.training.losses import affinity_loss, dice_loss, mask_iou, sigmoid_focal_loss

EVERYWHERE = torch.ones(1, 16, 16, dtype=torch.bool)


@pytest.fixture
def pictures(tmp_path):
    """Two pictures, each with a red square on blue and a layer that says so."""
    folder = tmp_path / "data" / "squares"
    folder.mkdir(parents=True)
    for number, (top, left) in enumerate([(20, 30), (40, 60)]):
        ids = np.zeros((96, 128), np.uint8)
        ids[top : top + 36, left : left + 40] = 1
        colours = np.where(ids[..., None] == 1, [220, 20, 20], [20, 20, 160]).astype(np.uint8)
        Image.fromarray(colours).save(folder / f"{number}.jpg", quality=95)
        Image.fromarray(ids).save(folder / f"{number}.0.png")
    return tmp_path / "data"


def a_square(top=4, left=5, side=7):
    mask = torch.zeros(1, 16, 16)
    mask[:, top : top + side, left : left + side] = 1
    return mask


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much():
    target = a_square()
    right, wrong = (target - 0.5) * 40, (0.5 - target) * 40
    for loss in (sigmoid_focal_loss, dice_loss):
        assert loss(right, target, EVERYWHERE) < 1e-3
        assert loss(wrong, target, EVERYWHERE) > 0.5


def test_unknown_pixels_cost_nothing():
    target = a_square()
    wrong_outside = torch.full_like(target, 20.0)
    known = target.bool()
    assert sigmoid_focal_loss(wrong_outside, target, known) < 1e-3
    assert dice_loss(wrong_outside, target, known) < 1e-3
    assert mask_iou(wrong_outside, target, known) == 1


def test_affinity_is_low_when_segments_look_different():
    segments = torch.ones(1, 8, 8, dtype=torch.long)
    segments[:, :, 4:] = 2
    apart = torch.stack([(segments == 1).float(), (segments == 2).float()], 1)
    alike = torch.ones(1, 2, 8, 8)
    torch.manual_seed(0)
    assert affinity_loss(apart, segments) < 0.1 < affinity_loss(alike, segments)


@given(st.integers(0, 10), st.integers(0, 10), st.integers(2, 6), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_clicks_fall_inside_and_boxes_hug_the_mask(top, left, side, seed):
    torch.manual_seed(seed)
    target = a_square(top, left, side)
    x, y = first_click(target)[0].long()
    assert target[0, y, x] == 1
    box = jittered_box(target, jitter=0.0)[0]
    assert box.tolist() == [left, top, left + side, top + side]


def test_a_corrective_click_names_the_error_it_fixes():
    target = a_square(4, 4, 8)
    missed_all, too_much = torch.full_like(target, -5.0), torch.full_like(target, 5.0)
    for seed in range(20):
        torch.manual_seed(seed)
        (point,), (label,) = corrective_click(missed_all, target, EVERYWHERE)
        assert label == 1 and target[0, int(point[1]), int(point[0])] == 1
        (point,), (label,) = corrective_click(too_much, target, EVERYWHERE)
        assert label == 0 and target[0, int(point[1]), int(point[0])] == 0


def test_examples_keep_picture_and_mask_together_under_augmentation(pictures):
    batch = BatchSampler(find_records(pictures), size=64, pictures=8, masks=2, seed=3).draw()
    assert batch.images.shape == (8, 3, 64, 64) and batch.targets.shape == (8, 2, 32, 32)
    red_leads = (batch.images[:, 0] - batch.images[:, 2])[:, ::2, ::2]
    grey = (batch.images[:, 0] - batch.images[:, 2]).abs().amax((1, 2)) < 30
    for red, targets, valid in zip(red_leads[~grey], batch.targets[~grey], batch.valid[~grey], strict=True):
        agreement = ((red > 0) == (targets[0] > 0.5))[valid[0]].float().mean()
        assert agreement > 0.93


def test_padding_counts_neither_way(pictures):
    batch = BatchSampler(find_records(pictures), size=64, pictures=4, masks=1, seed=0).draw()
    assert not batch.valid.all() and (batch.segments == OUTSIDE).any()
    assert (batch.targets[~batch.valid] < 0.6).all()


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        find_records(tmp_path)


def small_recipe(steps):
    return Recipe(stages=(Stage(size=64, steps=steps, pictures=2, masks=2),), warmup_steps=2, learning_rate=1e-3)


def small_model():
    torch.manual_seed(0)
    return SAM.from_variant("tiny", widths=(16, 16, 32, 32), depths=(1, 1, 1, 1), num_heads=2, out_chans=64)


def test_training_lowers_the_loss(pictures, tmp_path):
    metrics = list(fit(small_model(), find_records(pictures), small_recipe(40), tmp_path / "run"))
    losses = [m.loss for m in metrics]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_a_killed_run_equals_an_unkilled_one(pictures, tmp_path):
    records, recipe = find_records(pictures), small_recipe(4)
    whole = list(fit(small_model(), records, recipe, tmp_path / "whole", checkpoint_every=2))
    killed = fit(small_model(), records, recipe, tmp_path / "killed", checkpoint_every=2)
    list(islice(killed, 3))
    killed.close()  # the third step is lost: the checkpoint stands at two
    resumed = list(fit(small_model(), records, recipe, tmp_path / "killed", checkpoint_every=2))
    assert [m.step for m in resumed] == [3, 4]
    assert [m.loss for m in resumed] == [m.loss for m in whole[2:]]
    a, b = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"] for name in ("whole", "killed"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert len((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()) == 4
    assert json.loads((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[0])["step"] == 1
