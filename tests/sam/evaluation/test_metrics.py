"""What is measured means what it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sam.evaluation.metrics import bootstrap_interval, boundary_f, clicks_needed, contour, iou

ious = st.lists(st.floats(0, 1), min_size=1, max_size=12)
some_masks = arrays.arrays(bool, (9, 11))
EVERYWHERE = np.ones((9, 11), bool)


def a_square(top, left, side=20, hw=(60, 80)):
    mask = np.zeros(hw, bool)
    mask[top : top + side, left : left + side] = True
    return mask


@given(some_masks, some_masks)
def test_iou_is_one_for_equals_and_symmetric(mask, other):
    assert iou(mask, mask, EVERYWHERE) == 1
    assert 0 <= iou(mask, other, EVERYWHERE) == iou(other, mask, EVERYWHERE) <= 1


@given(some_masks, some_masks, some_masks)
def test_unknown_pixels_count_neither_way(mask, other, known):
    changed = np.where(known, mask, ~mask)
    assert iou(mask, other, known) == iou(changed, other, known)
    assert boundary_f(mask, other, known) == boundary_f(changed, other, known)


def test_iou_of_a_half_covered_square():
    assert iou(a_square(10, 10), a_square(10, 20), np.ones((60, 80), bool)) == pytest.approx(1 / 3)


@given(some_masks, some_masks)
@settings(deadline=None)
def test_boundary_f_is_one_for_equals_and_symmetric(mask, other):
    assert boundary_f(mask, mask, EVERYWHERE) == pytest.approx(1)
    assert boundary_f(mask, other, EVERYWHERE) == pytest.approx(boundary_f(other, mask, EVERYWHERE))


def test_boundary_f_forgives_a_pixel_where_iou_does_not_and_punishes_more():
    truth, everywhere = a_square(10, 10), np.ones((60, 80), bool)  # tolerance: 1 pixel
    assert boundary_f(a_square(11, 10), truth, everywhere) == pytest.approx(1)
    assert iou(a_square(11, 10), truth, everywhere) < 0.91
    assert boundary_f(a_square(30, 40), truth, everywhere) < 0.1


def test_boundary_f_where_a_mask_has_no_contour():
    everything, nothing = np.ones((60, 80), bool), np.zeros((60, 80), bool)
    assert boundary_f(nothing, a_square(10, 10), everything) == 0
    assert boundary_f(everything, everything, everything) == 1


def test_the_picture_border_is_no_contour():
    left_half = np.zeros((10, 10), bool)
    left_half[:, :5] = True
    expected = np.zeros_like(left_half)
    expected[:, 4] = True
    assert np.array_equal(contour(left_half, np.ones_like(left_half)), expected)


@given(ious, st.floats(0, 1), st.floats(0, 1), st.integers(1, 12))
def test_more_quality_never_needs_fewer_clicks(values, quality, other, cap):
    low, high = sorted((quality, other))
    assert 1 <= clicks_needed(values, low, cap) <= clicks_needed(values, high, cap) <= cap


def test_clicks_needed_is_the_first_that_is_good_enough():
    assert clicks_needed([0.2, 0.85, 0.7, 0.95], 0.8, cap=10) == 2
    assert clicks_needed([0.2, 0.85, 0.7, 0.95], 0.9, cap=10) == 4
    assert clicks_needed([0.2, 0.85, 0.7, 0.95], 0.99, cap=10) == 10


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1)), min_size=1, max_size=60), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_interval_holds_the_mean_and_lies_among_the_values(pairs, seed):
    pictures, values = [str(p) for p, _ in pairs], np.array([v for _, v in pairs])
    interval = bootstrap_interval(values, pictures, seed=seed, resamples=500)
    assert interval.mean == pytest.approx(values.mean())
    assert values.min() - 1e-9 <= interval.low <= interval.mean + 1e-9
    assert interval.mean - 1e-9 <= interval.high <= values.max() + 1e-9


def test_the_interval_is_that_of_normal_theory_for_many_independent_pictures():
    values = np.random.default_rng(0).random(400)
    interval = bootstrap_interval(values, [str(i) for i in range(400)])
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_masks_of_one_picture_are_not_counted_as_independent():
    values = np.random.default_rng(0).random(40).repeat(10)  # ten equal masks a picture
    apart = bootstrap_interval(values, [str(i) for i in range(400)])
    together = bootstrap_interval(values, [str(i // 10) for i in range(400)])
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_the_same_seed_gives_the_same_interval():
    values, pictures = np.linspace(0, 1, 20), [str(i % 7) for i in range(20)]
    assert bootstrap_interval(values, pictures) == bootstrap_interval(values, pictures)
    assert bootstrap_interval(values, pictures) != bootstrap_interval(values, pictures, seed=1)
