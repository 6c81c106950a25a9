"""Pictures, masks and padding stay together however they are cropped, mirrored and recoloured."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam.datasets import find_records
from sam.training.recipe import Draw
from sam.training.sampling import OUTSIDE, PictureSampler, Sources, augment, draw_masks


def draw(folder, seed, scale=2, **kind):
    sampler = PictureSampler(find_records(folder), {}, scale)
    return sampler.draw(Draw(size=128, **kind), np.random.default_rng(seed))


def test_a_batch_has_the_shapes_it_says(pictures):
    batch = draw(pictures, 3, pictures=5, masks=2)
    assert batch.images.shape == (5, 3, 64, 64)
    assert batch.targets.shape == batch.valid.shape == (5, 2, 32, 32)
    assert batch.segments.shape == (5, 8, 8)


def test_an_encoder_that_looks_at_every_pixel_gets_them(pictures):
    batch = draw(pictures, 3, scale=1, pictures=1, masks=2)
    assert batch.images.shape == (1, 3, 128, 128) and batch.targets.shape == (1, 2, 32, 32)


def test_picture_and_mask_keep_together(pictures):
    batch = draw(pictures, 3, pictures=8, masks=2)
    grey = (batch.images[:, 0] - batch.images[:, 2]).abs().amax((1, 2)) < 30
    red_leads = (batch.images[:, 0] - batch.images[:, 2])[:, ::2, ::2]
    for red, targets, valid in zip(red_leads[~grey], batch.targets[~grey], batch.valid[~grey], strict=True):
        assert ((red > 0) == (targets[0] > 0.5))[valid[0]].float().mean() > 0.93


def test_padding_counts_neither_way(pictures):
    batch = draw(pictures, 0, pictures=4, masks=1)
    assert not batch.valid.all() and (batch.segments == OUTSIDE).any()
    assert (batch.targets[~batch.valid] < 0.6).all()


@given(st.integers(40, 90), st.integers(40, 90), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_where_zero_is_unknown_it_counts_neither_way(height, width, seed):
    layer = np.ones((height, width), np.int32)
    layer[:, : width // 2] = 0
    image = np.zeros((height, width, 3), np.uint8)
    rng = np.random.default_rng(seed)
    view = augment(image, (layer,), True, 128, 2, rng)
    masks = draw_masks(view.layers, True, 1, rng)
    if masks is not None:
        targets, valid, _ = masks
        assert not (valid[0] & (targets[0] == 0)).any()


def test_sources_are_drawn_by_the_root_of_their_size_and_their_weight(pictures):
    class Named:
        def __init__(self, source):
            self.source = source

    records = [Named("many")] * 400 + [Named("few")] * 100
    rng = np.random.default_rng(0)

    def share(weights):
        sources = Sources(records, weights)
        return np.mean([sources.draw(rng).source == "few" for _ in range(2000)])

    assert abs(share({}) - 1 / 3) < 0.05
    assert abs(share({"few": 4.0}) - 2 / 3) < 0.05


def test_a_picture_without_a_large_segment_is_passed_over():
    assert draw_masks((np.zeros((64, 64), np.int32),), False, 2, np.random.default_rng(0)) is None


def test_the_same_seed_draws_the_same_batch(pictures):
    one, two = (draw(pictures, 7, pictures=2, masks=2) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.targets, two.targets)
