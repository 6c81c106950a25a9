"""Runs that move between frames say what the same pixels would say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sam.automatic.runs import from_rle, to_mask
from sam.large.runs import enlarged, inside, placed, union
from sam.masks import rle_encode


@st.composite
def masks(draw, largest=12):
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0, 0.2, 0.7, 1]))
    return np.random.default_rng(seed).random((height, width)) < share


def runs_of(mask):
    return from_rle(rle_encode(mask))


@given(masks(), st.data())
def test_the_part_in_a_window_is_a_slice(mask, data):
    height, width = mask.shape
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    wide, tall = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    found = inside(runs_of(mask), height, (x, y, wide, tall))
    np.testing.assert_array_equal(to_mask(found, (tall, wide)), mask[y : y + tall, x : x + wide])
    np.testing.assert_array_equal(found, runs_of(mask[y : y + tall, x : x + wide]))


@given(masks(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3))
def test_a_placed_mask_lies_at_its_corner(mask, x, y, right, below):
    expected = np.pad(mask, ((y, below), (x, right)))
    found = placed(runs_of(mask), mask.shape[0], (x, y), expected.shape[0])
    np.testing.assert_array_equal(found, runs_of(expected))


@given(masks(), st.integers(1, 4), st.data())
def test_an_enlarged_mask_repeats_its_pixels(mask, scale, data):
    height, width = (data.draw(st.integers((side - 1) * scale + 1, side * scale)) for side in mask.shape)
    expected = np.kron(mask, np.ones((scale, scale), bool))[:height, :width]
    np.testing.assert_array_equal(enlarged(runs_of(mask), mask.shape[0], scale, (height, width)), runs_of(expected))


@given(masks(), st.integers(0, 2**32 - 1))
def test_a_union_has_the_pixels_of_all(mask, seed):
    others = np.random.default_rng(seed).random((2, *mask.shape)) < 0.3
    found = union([runs_of(mask), *map(runs_of, others)])
    np.testing.assert_array_equal(found, runs_of(mask | others[0] | others[1]))
