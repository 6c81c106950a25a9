"""Mask arithmetic of everything mode: runs, regions and boxes agree with pixels and with the usual libraries."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from sam.automatic import boxes, regions, runs
from sam.automatic.enlarging import Enlarger
from sam.masks import mask_to_box, rle_compress, rle_decode, rle_encode
from sam.transforms import ImageFrame, masks_to_original

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14))
SMALL = st.integers(1, 12)


def runs_of(mask):
    return runs.runs_of_block(mask.T, (0, 0), mask.shape[0])


# --- runs ------------------------------------------------------------------------------------------------------------


@given(mask=masks)
def test_runs_hold_the_mask(mask):
    found = runs_of(mask)
    np.testing.assert_array_equal(runs.to_mask(found, mask.shape), mask)
    assert runs.area(found) == mask.sum()
    np.testing.assert_array_equal(runs.bounding_box(found, mask.shape[0]), mask_to_box(mask))
    assert (found[1:, 0] > found[:-1, 1]).all()  # in order, never touching


@given(mask=masks)
def test_run_lengths_are_cocos(mask):
    rle = runs.to_rle(runs_of(mask), mask.shape)
    assert rle == rle_encode(mask)
    np.testing.assert_array_equal(rle_decode(rle), mask)
    np.testing.assert_array_equal(runs.from_rle(rle), runs_of(mask))


@given(mask=masks)
def test_compressed_run_lengths_are_those_of_pycocotools(mask):
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle_compress(runs.to_rle(runs_of(mask), mask.shape))["counts"] == expected["counts"].decode()


def test_long_runs_are_compressed_as_pycocotools_does():
    mask = np.zeros((700, 900), bool)
    mask[100:650, 3:800] = True
    mask[300:310, 200:400] = False
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle_compress(rle_encode(mask))["counts"] == expected["counts"].decode()


@given(mask=masks, left=st.integers(0, 5), top=st.integers(0, 5), right=st.integers(0, 5), below=st.integers(0, 5))
def test_a_blocks_runs_are_those_of_the_picture_around_it(mask, left, top, right, below):
    picture = np.pad(mask, ((top, below), (left, right)))
    np.testing.assert_array_equal(runs.runs_of_block(mask.T, (left, top), picture.shape[0]), runs_of(picture))


@given(mask=masks)
def test_runs_and_gaps_share_the_picture(mask):
    background = runs.gaps(runs_of(mask), mask.size)
    np.testing.assert_array_equal(runs.to_mask(background, mask.shape), ~mask)


# --- regions ---------------------------------------------------------------------------------------------------------


@given(mask=masks)
def test_regions_are_opencvs(mask):
    pieces = runs.split_by_column(runs_of(mask), mask.shape[0])
    sizes = regions.region_sizes(pieces, regions.label(pieces, mask.shape[0]))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), 8)
    assert sorted(sizes) == sorted(stats[1:, -1])


@given(mask=masks, min_area=st.integers(1, 30))
def test_clean_up_fills_holes_then_removes_islands(mask, min_area):
    cleaned = runs.to_mask(regions.clean(runs_of(mask), mask.shape, min_area), mask.shape)
    filled = mask | small_regions(~mask, min_area)
    islands = small_regions(filled, min_area)
    if (filled & ~islands).any() or not filled.any():
        np.testing.assert_array_equal(cleaned, filled & ~islands)
    else:  # all are small: one of the largest stays
        _, labels, stats, _ = cv2.connectedComponentsWithStats(filled.astype(np.uint8), 8)
        assert cleaned.sum() == stats[1:, -1].max() and len(np.unique(labels[cleaned])) == 1


def small_regions(mask, min_area):
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), 8)
    small = np.flatnonzero(stats[:, -1] < min_area)
    return np.isin(labels, small[small > 0])


def test_regions_that_only_touch_across_the_end_of_a_column_are_apart():
    mask = np.zeros((4, 2), bool)
    mask[3, 0] = mask[0, 1] = True  # neighbours in memory, not in the picture
    assert regions.label(runs.split_by_column(runs_of(mask), 4), 4).tolist() == [0, 1]


def test_a_winding_region_is_one():
    spiral = np.zeros((41, 41), bool)
    spiral[::2] = True
    spiral[1::4, -1] = spiral[3::4, 0] = True
    assert set(regions.label(runs.split_by_column(runs_of(spiral), 41), 41)) == {0}


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_of_two_overlapping_boxes_the_better_stays():
    found = [[0, 0, 10, 10], [1, 1, 10, 10], [50, 50, 60, 60]]
    assert boxes.suppress_duplicates(found, [0.5, 0.9, 0.7], 0.7).tolist() == [1, 2]
    assert boxes.suppress_duplicates(found, [0.5, 0.9, 0.7], 0.9).tolist() == [1, 2, 0]


def test_equal_scores_keep_their_order_and_no_box_is_no_error():
    assert boxes.suppress_duplicates([[0, 0, 9, 9]] * 2 + [[0, 0, 1, 1]], [1, 1, 1], 0.7).tolist() == [0, 2]
    assert boxes.suppress_duplicates(np.zeros((0, 4)), np.zeros(0), 0.7).tolist() == []


@given(seed=st.integers(0, 10**6), count=st.integers(1, 30), threshold=st.floats(0.1, 0.9))
def test_what_stays_overlaps_little_and_what_goes_has_a_better_twin(seed, count, threshold):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 20, (count, 2, 2))
    found = np.concatenate([corners.min(1), corners.max(1) + 1], axis=1).astype(np.float32)
    scores = rng.random(count)
    kept = boxes.suppress_duplicates(found, scores, threshold)
    assert (np.diff(scores[kept]) <= 0).all()
    for index in range(count):
        overlap = boxes.box_iou(found[index], found[kept])
        if index in kept:
            assert (overlap > threshold).sum() <= 1  # with itself only
        else:
            assert (scores[kept][overlap > threshold] >= scores[index]).any()


def test_a_box_at_the_crops_edge_is_cut_unless_the_picture_ends_there():
    crop, image = (0, 100, 200, 300), (0, 0, 400, 400)
    found = [[1, 150, 90, 200], [50, 121, 90, 200], [50, 120, 90, 200], [50, 150, 181, 200]]
    assert boxes.cut_by_crop(np.array(found), crop, image).tolist() == [False, False, True, True]


# --- enlarging -------------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6), hw=st.tuples(SMALL, SMALL), grid=st.integers(2, 6), offset=st.sampled_from([0, 0.5, 1])
)
def test_an_enlarged_mask_is_the_mask_of_the_enlarged_logits(seed, hw, grid, offset):
    frame = ImageFrame.fit((7 * hw[0], 7 * hw[1]), 16 * grid)
    logits = torch.randn(4 * grid, 4 * grid, generator=torch.Generator().manual_seed(seed)) * 2 - 2
    expected = masks_to_original(logits[None, None], frame)[0, 0].numpy()
    enlarger = Enlarger(frame, logits.shape, 0.0, offset)
    rows, columns = enlarger.low_hw
    enlarged = enlarger.enlarge(logits[:rows, :columns], 0)
    mask = expected > 0
    inner, outer = np.count_nonzero(expected > offset), np.count_nonzero(expected > -offset)
    assert enlarged.stability == pytest.approx(inner / max(outer, 1), abs=2 / max(outer, 1))
    found = runs.to_mask(enlarged.runs((0, 0), mask.shape[0]), mask.shape)
    assert not (found != mask)[np.abs(expected) > 1e-5].any()
    np.testing.assert_array_equal(enlarged.box, mask_to_box(found))


def test_padding_is_not_enlarged():
    enlarger = Enlarger(ImageFrame.fit((100, 200), 128), (32, 32), 0.0, 1.0)
    assert enlarger.low_hw == (17, 32)  # half of the frame, and the row that its last row leans on


def test_a_mask_that_is_not_stable_enough_is_dropped():
    enlarger = Enlarger(ImageFrame.fit((64, 64), 64), (16, 16), 0.0, 1.0)
    logits = torch.full((16, 16), -5.0)
    assert enlarger.enlarge(logits, 0.5) is None
    logits[4:8, 4:8] = 0.5  # mask, but not at the higher threshold
    assert enlarger.enlarge(logits, 0.5) is None
    assert enlarger.enlarge(logits, 0).stability == 0
    logits[4:8, 4:8] = 50
    assert enlarger.enlarge(logits, 0.5).stability > 0.5
