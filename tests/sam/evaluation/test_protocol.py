"""Where clicks and boxes go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sam.datasets import Record
from sam.evaluation.protocol import Target, bounding_box, corrective_click, deepest_point, draw_targets, first_click

some_masks = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any)


def a_target(mask, known=None):
    return Target(0, 1, mask, np.ones_like(mask) if known is None else known)


def squared_depth(region, x, y):
    """Squared distance from a pixel to the nearest one that is not in the region, by trying all."""
    outside = np.argwhere(~np.pad(region, 1)) - 1
    return int(((outside - [y, x]) ** 2).sum(1).min())


@given(some_masks)
@settings(deadline=None)
def test_no_point_of_a_mask_is_deeper_than_its_first_click(mask):
    x, y = first_click(mask).astype(int)
    assert mask[y, x]
    assert squared_depth(mask, x, y) == max(squared_depth(mask, column, row) for row, column in np.argwhere(mask))


def test_the_border_of_the_picture_counts_as_outside():
    mask = np.zeros((20, 30), bool)
    mask[:, :9] = True  # touches three borders
    x, y = deepest_point(mask)
    assert x == 4 and 4 <= y <= 15


@given(some_masks, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_corrective_click_lies_in_the_error_that_its_label_names(mask, seed):
    answer = np.random.default_rng(seed).random(mask.shape) < 0.5
    correction = corrective_click(answer, a_target(mask))
    if correction is None:
        assert np.array_equal(answer, mask)
    else:
        (x, y), label = correction[0].astype(int), correction[1]
        assert mask[y, x] == label and answer[y, x] != label


def test_a_corrective_click_goes_to_the_deeper_of_both_errors():
    mask = np.zeros((40, 60), bool)
    mask[5:35, 5:25] = True
    answer = np.zeros_like(mask)
    answer[5:35, 5:19], answer[10:30, 35:55] = True, True  # misses 6 columns, invents a block of 20
    point, label = corrective_click(answer, a_target(mask))
    assert label == 0 and answer[int(point[1]), int(point[0])] and point[0] >= 35


def test_unknown_pixels_are_no_errors():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 2:5] = True
    assert corrective_click(np.ones_like(mask), a_target(mask, known=mask)) is None


def test_a_box_ends_behind_its_last_pixel():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    assert bounding_box(mask).tolist() == [20, 10, 50, 30]


class Layers(Record):
    """A record without files."""

    def __init__(self, *layers, source="any"):
        super().__init__(None, source, "picture")
        object.__setattr__(self, "_layers", layers)

    def layers(self):
        return self._layers


def a_layer(*sizes):
    """100 x 100 ids: segment k covers `sizes[k - 1]` pixels."""
    return (
        np.concatenate([np.repeat(np.arange(len(sizes)) + 1, sizes), np.zeros(10_000 - sum(sizes))])
        .astype(np.int32)
        .reshape(100, 100)
    )


def test_small_segments_are_not_asked_for():
    record = Layers(a_layer(24, 25, 300), a_layer(5000))
    drawn = {(t.layer, t.segment) for t in draw_targets(record, 6, np.random.default_rng(0))}
    assert drawn == {(0, 2), (0, 3), (1, 1)}


@pytest.mark.parametrize("masks", [1, 4, 9])
def test_the_same_seed_draws_the_same_masks(masks):
    record = Layers(a_layer(*[100] * 9))
    first, again, other = (
        [t.segment for t in draw_targets(record, masks, np.random.default_rng(seed))] for seed in (3, 3, 4)
    )
    assert first == again and len(set(first)) == masks and first != other


def test_zero_is_unknown_only_where_the_source_says_so():
    for source, known in [("bsds500_test", 300), ("coco_val", 10_000)]:
        (target,) = draw_targets(Layers(a_layer(300), source=source), 6, np.random.default_rng(0))
        assert np.count_nonzero(target.known) == known
