"""What training minimises and whom it simulates."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam.datasets import find_records
from sam.prompt_encoder import PADDING
from sam.training.cells import gather_patches, patch_positions, sample_cells
from sam.training.clicks import corrective_click, first_click, jittered_box
from sam.training.losses import affinity_loss, decoder_loss, dice_loss, mask_iou, sigmoid_focal_loss
from sam.training.objective import append_click, batch_losses, chosen_logits, first_prompts
from sam.training.sampling import PictureSampler

EVERYWHERE = torch.ones(1, 16, 16, dtype=torch.bool)
GRID = 4


def a_square(top=4, left=5, side=7):
    mask = torch.zeros(1, 16, 16)
    mask[:, top : top + side, left : left + side] = 1
    return mask


def correct(logits, target, valid=EVERYWHERE):
    cells = sample_cells(GRID, 4)
    parts = (gather_patches(each, cells) for each in (logits, target, valid))
    return corrective_click(*parts, patch_positions(cells, GRID), GRID)


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


def test_one_good_mask_of_three_is_enough_for_an_ambiguous_click():
    target = a_square()
    right, wrong = (target - 0.5) * 40, (0.5 - target) * 40
    one_good = torch.stack([wrong, wrong, right, wrong], 1)
    all_bad = torch.stack([wrong, wrong, wrong, wrong], 1)
    iou = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    ambiguous = torch.tensor([True])
    good, bad = (decoder_loss(each, iou, target, EVERYWHERE, ambiguous) for each in (one_good, all_bad))
    assert good < 0.5 * bad


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


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_a_corrective_click_names_the_error_it_fixes(seed):
    torch.manual_seed(seed)
    target = a_square(4, 4, 8)
    missed_all, too_much = torch.full_like(target, -5.0), torch.full_like(target, 5.0)
    (point,), (label,) = correct(missed_all, target)
    assert label == 1 and target[0, int(point[1]), int(point[0])] == 1
    (point,), (label,) = correct(too_much, target)
    assert label == 0 and target[0, int(point[1]), int(point[0])] == 0


def test_half_of_the_corrective_clicks_seek_the_middle_of_the_error():
    grid = 16
    target = torch.zeros(400, 64, 64)
    target[:, :, 8:40] = 1
    cells = sample_cells(grid, 1)
    torch.manual_seed(0)
    parts = (gather_patches(each, cells) for each in (torch.full_like(target, -5.0), target, target == target))
    points, labels = corrective_click(*parts, patch_positions(cells, grid), grid)
    x = points[:, 0]
    assert labels.all() and ((x > 8) & (x < 40)).all()
    in_the_middle = ((x > 16) & (x < 32)).float().mean()
    assert 0.65 < in_the_middle < 0.9  # uniform clicks alone: 0.5


def test_clicks_keep_their_padding_last_and_boxes_have_none():
    targets = torch.cat([a_square(), a_square()])
    coords, labels = first_prompts(targets, torch.tensor([True, False]))
    assert labels.tolist() == [[1, PADDING], [2, 3]]
    coords, labels = append_click(coords, labels, torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 1]))
    assert labels.tolist() == [[0, 1, PADDING], [1, 2, 3]] and coords.shape == (2, 3, 2)


def test_a_click_is_answered_by_the_best_of_three_and_a_box_by_the_single_mask():
    logits = torch.arange(8.0).reshape(2, 4, 1, 1)
    iou = torch.tensor([[0.9, 0.1, 0.2, 0.8], [0.1, 0.9, 0.9, 0.9]])
    assert chosen_logits(logits, iou, torch.tensor([True, False])).flatten().tolist() == [3.0, 4.0]


@pytest.mark.parametrize("cells_per_block", [1, 4])
def test_the_loss_of_a_batch_reaches_every_part_of_the_model(pictures, small_model, small_recipe, cells_per_block):
    model = small_model()
    recipe = small_recipe(1, refinement_shares=(0.0, 0.0, 1.0))
    kind = recipe.stages[0].draws[0]
    sampler = PictureSampler(find_records(pictures), {}, scale=2)
    batch = sampler.draw(kind, np.random.default_rng(0))
    torch.manual_seed(0)
    losses = batch_losses(model, batch, recipe, cells_per_block)
    (losses.decoder + losses.affinity).backward()
    silent = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not {name for name in silent if not name.startswith("prompt_encoder.point_embeddings")}
    assert losses.corrected_iou is not None and 0 <= losses.corrected_iou <= 1
