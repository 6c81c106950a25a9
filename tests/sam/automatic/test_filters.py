"""Filters keep what they say they keep; the tree hangs parts below wholes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sam.automatic import filters, hierarchy
from sam.masks import mask_to_box, rle_compress, rle_decompress, rle_encode

SHAPE = (20, 30)
pairs = arrays(bool, (2, *SHAPE))


def record(mask, form="binary_mask", **scores):
    box = mask_to_box(mask)
    rle = rle_encode(mask)
    forms = {"binary_mask": mask, "uncompressed_rle": rle, "coco_rle": rle_compress(rle)}
    xywh = [int(box[0]), int(box[1]), int(box[2] - box[0]), int(box[3] - box[1])]
    return {"segmentation": forms[form], "area": int(mask.sum()), "bbox": xywh, "predicted_iou": 0.9, **scores}


def block(top, left, bottom, right, **more):
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return record(mask, **more)


def test_areas_and_scores_are_limits_that_are_allowed():
    small, large = block(0, 0, 2, 5), block(0, 0, 10, 10, predicted_iou=0.5)
    assert filters.by_area([large, small], least=10, most=99) == [small]
    assert filters.by_area([large, small], least=10, most=100) == [large, small]
    assert filters.by_score([large, small], 0.5) == [large, small]
    assert filters.by_score([large, small], 0.51) == [small]


def test_a_box_may_ask_for_a_share():
    inside, half = block(2, 2, 8, 8), block(2, 6, 8, 14)
    assert filters.by_box([inside, half], [0, 0, 10, 10]) == [inside]
    assert filters.by_box([inside, half], [0, 0, 10, 10], least_share=0.5) == [inside, half]
    assert filters.by_box([inside], [2, 2, 8, 8]) == [inside]  # to the pixel


def test_what_the_border_cuts_is_left_out():
    whole, cut = block(1, 1, 19, 29), [block(0, 5, 5, 9), block(5, 0, 9, 5), block(9, 9, 20, 20), block(9, 9, 12, 30)]
    assert filters.away_from_border([whole, *cut], SHAPE) == [whole]
    assert filters.away_from_border([whole, *cut], SHAPE, margin=0) == [whole, *cut]


def test_duplicates_lose_to_the_earlier():
    first, twin, other = block(0, 0, 10, 10), block(0, 0, 10, 11), block(5, 0, 15, 10)
    assert filters.without_duplicates([first, twin, other]) == [first, other]
    assert filters.without_duplicates([twin, first, other], 0.95) == [twin, first, other]
    assert filters.without_duplicates([first, twin, other], 0.3) == [first]


@pytest.mark.parametrize("form", ["binary_mask", "uncompressed_rle", "coco_rle"])
@given(masks=pairs)
def test_overlap_is_counted_in_pixels_whatever_the_form(form, masks):
    one, other = (filters.runs_of(record(mask, form)) for mask in masks)
    assert filters.overlap(one, other) == filters.overlap(other, one) == (masks[0] & masks[1]).sum()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: filters.by_area([], 5, 4), "area from 5 to 4"),
        (lambda: filters.by_score([], 1, "area"), "'area' is no score"),
        (lambda: filters.by_box([], [5, 0, 4, 9]), "box x from 5 to 4"),
        (lambda: filters.by_box([], [0, 0, 4, 9], 0), "least_share 0"),
        (lambda: filters.away_from_border([], SHAPE, -1), "margin -1"),
        (lambda: filters.without_duplicates([], 2), "most_iou 2"),
        (lambda: hierarchy.tree([], 0.4), "contained 0.4"),
    ],
)
def test_limits_that_make_no_sense_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_parts_hang_below_the_smallest_whole():
    eye, face, person, tree = block(3, 3, 5, 5), block(2, 2, 9, 9), block(0, 0, 20, 12), block(0, 15, 20, 30)
    wholes = hierarchy.tree([eye, face, person, tree])
    assert [node.record for node in wholes] == [tree, person]
    assert [node.record for node in wholes[1].walk()] == [person, face, eye]
    assert [node.level for node in wholes[1].walk()] == [0, 1, 2]
    assert [node.number for node in wholes[1].walk()] == [2, 1, 0]


def test_a_part_may_stick_out_a_little():
    whole, part = block(0, 0, 10, 10), block(0, 5, 5, 11)  # 25 of 30 pixels inside
    assert len(hierarchy.tree([whole, part])) == 2
    assert len(hierarchy.tree([whole, part], contained=0.8)) == 1


@given(masks=arrays(bool, (5, 6, 7)))
def test_every_record_hangs_in_the_tree_once(masks):
    records = [record(mask) for mask in masks]
    nodes = [node for whole in hierarchy.tree(records) for node in whole.walk()]
    assert sorted(node.number for node in nodes) == list(range(5))
    assert all(part.level == node.level + 1 for node in nodes for part in node.parts)
    assert all(part.record["area"] <= node.record["area"] for node in nodes for part in node.parts)


@given(mask=arrays(bool, SHAPE), scale=st.integers(1, 40))
def test_compressed_run_lengths_come_back(mask, scale):
    rle = rle_encode(mask)
    rle["counts"] = [count * scale for count in rle["counts"]]
    assert rle_decompress(rle_compress(rle)) == rle
