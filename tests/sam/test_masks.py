"""Mask arithmetic: run lengths round-trip, boxes touch, stability is an IoU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from sam.masks import (
    compress_counts,
    crop_to_rle,
    decompress_counts,
    mask_to_box,
    rle_area,
    rle_crop,
    rle_decode,
    rle_encode,
    rle_window,
    stability_score,
)

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(mask=masks)
def test_mask_survives_its_run_lengths(mask):
    rle = rle_encode(mask)
    assert rle["size"] == list(mask.shape)
    assert all(count > 0 for count in rle["counts"][1:])
    np.testing.assert_array_equal(rle_decode(rle), mask)


def test_run_lengths_go_down_the_columns_and_start_with_zeros():
    assert rle_encode(np.array([[0, 1], [0, 1], [1, 0]], bool)) == {"size": [3, 2], "counts": [2, 3, 1]}
    assert rle_encode(np.ones((2, 2), bool)) == {"size": [2, 2], "counts": [0, 4]}
    assert rle_encode(np.zeros((2, 2), bool)) == {"size": [2, 2], "counts": [4]}


@pytest.mark.parametrize("counts", [[3], [5], [-1, 5], []])
def test_run_lengths_that_do_not_fill_the_mask_are_refused(counts):
    with pytest.raises(ValueError, match="2 x 2"):
        rle_decode({"size": [2, 2], "counts": counts})


@given(mask=masks)
def test_compressed_runs_are_those_of_pycocotools(mask):
    text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert compress_counts(rle_encode(mask)["counts"]) == text
    assert decompress_counts(text).tolist() == rle_encode(mask)["counts"]


@given(mask=masks)
def test_a_crop_and_its_place_are_the_mask(mask):
    rle = rle_encode(mask)
    crop, (x, y, width, height) = rle_crop(rle)
    assert crop.shape == (height, width) and rle_area(rle) == mask.sum() == crop.sum()
    np.testing.assert_array_equal(crop, mask[y : y + height, x : x + width])
    assert crop_to_rle(crop, x, y, mask.shape) == rle


@given(mask=masks)
def test_a_window_is_the_box_with_its_last_pixels(mask):
    x, y, width, height = rle_window(rle_encode(mask))
    x0, y0, x1, y1 = mask_to_box(mask)
    expected = (x0, y0, x1 - x0 + 1, y1 - y0 + 1) if mask.any() else (0, 0, 0, 0)
    assert (x, y, width, height) == expected


def test_a_crop_outside_its_picture_is_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"3 x 2 at 4, 0 .* 6 x 5"):
        crop_to_rle(np.ones((2, 3), bool), 4, 0, (5, 6))


@given(mask=masks)
def test_box_is_the_smallest_around_the_mask(mask):
    x0, y0, x1, y1 = mask_to_box(mask)
    outside = mask.copy()
    outside[y0 : y1 + 1, x0 : x1 + 1] = False
    assert not outside.any()
    if mask.any():
        assert mask[y0].any() and mask[y1].any() and mask[:, x0].any() and mask[:, x1].any()


def test_box_of_an_empty_mask_is_zero():
    assert mask_to_box(np.zeros((4, 5), bool)).tolist() == [0, 0, 0, 0]


def test_stability_is_the_iou_of_two_thresholds():
    logits = np.array([[[3.0, 0.5], [-0.5, -3.0]], [[-3.0, -3.0], [-3.0, -3.0]]])
    assert stability_score(logits).tolist() == [1 / 3, 0.0]


@given(logits=arrays(np.float32, (3, 4, 5), elements=st.floats(-5, 5, width=32)), offset=st.floats(0, 3))
def test_stability_lies_between_zero_and_one(logits, offset):
    score = stability_score(logits, 0.0, offset)
    assert score.shape == (3,) and (score >= 0).all() and (score <= 1).all()
