"""Prompts on large pictures: the view follows the zoom, borders of views are seen through, small things get finer."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from sam.large import LargePicture, View, on_grid, pick_view
from sam.large.picker import AROUND_BOX, LEAST_SIDE, side_for_points, sides, views_outward
from sam.masks import mask_iou, rle_decode, rle_window
from sam.predictor import encode, predict

HW = (30_000, 50_000)
LENGTHS = st.integers(1, 3000)


def in_picture(mask):
    """(H, W) bool of a `LargeMask`."""
    x, y, width, height = mask.window
    pixels = np.zeros(mask.picture_hw, bool)
    pixels[y : y + height, x : x + width] = mask.crop()
    return pixels


# --- which view ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [100, 1000, 3000, 60_000])
@pytest.mark.parametrize("x, y", [(0, 0), (25_000, 12_345), (49_999, 29_999), (700, 29_000)])
def test_a_view_is_about_as_large_as_what_is_shown_and_lies_around_the_point(x, y, shown):
    side = side_for_points(HW, (x, y, x, y), (0, 0, shown, shown // 2))
    view = pick_view(HW, (x, y, x, y), side)
    longest = max(view.window[2:])
    assert longest == max(HW) or max(shown, LEAST_SIDE) <= longest < 2 * max(shown, LEAST_SIDE)
    assert max(view.hw) <= 1024
    x0, y0, x1, y1 = view.box
    assert x0 >= 0 and y0 >= 0 and x1 <= HW[1] and y1 <= HW[0]
    room = min(longest // 4, 2)
    assert (x - x0 >= room or x0 == 0) and (x1 - x >= room or x1 == HW[1])
    assert min(x - x0, y - y0) >= longest // 4 - 1 or 0 in (x0, y0) or (x1, y1) == HW[::-1] or y1 == HW[0]


@given(st.tuples(LENGTHS, LENGTHS), st.floats(0, 1), st.floats(0, 1), st.floats(0, 4000), st.data())
def test_what_may_be_picked_is_on_the_grid_and_nothing_beside_it(hw, x, y, wanted, data):
    at = (x * hw[1], y * hw[0])
    view = pick_view(hw, (*at, *at), wanted)
    assert on_grid(hw, view.window)
    moved = list(view.window)
    axis = data.draw(st.integers(0, 3))
    moved[axis] += data.draw(st.sampled_from([-1, 1]))
    assume(axis > 1 or moved[axis] not in (0, hw[1 - axis] - moved[axis + 2]))  # the first and the last may be so close
    assert not on_grid(hw, tuple(moved))


def test_close_points_share_a_view():
    views = {pick_view(HW, (x, 9000, x, 9000), 1000) for x in range(20_000, 20_200)}
    assert len(views) <= 2


def test_views_grow_to_the_whole_picture():
    grown = list(views_outward(HW, (9000, 9000, 9010, 9010), 500))
    assert [max(view.window[2:]) for view in grown] == [side for side in sides(HW) if side >= 500]
    assert grown[-1].window == (0, 0, 50_000, 30_000) and grown[-1].scale == 49


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 50_001, 5), (9, 9, 5, 20)])
def test_prompts_outside_are_refused(box):
    with pytest.raises(ValueError, match="do not lie inside a picture of 50000 x 30000"):
        pick_view(HW, box, 100)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_point_is_answered_in_the_pictures_pixels(tiny, circles, circle, places):
    picture = LargePicture(tiny, circles)
    x, y, radius = places["small"]
    found = picture.predict([[x, y]], [1], shown=(x - 100, y - 100, 200, 200))
    assert mask_iou(in_picture(found), circle("small")) > 0.9
    assert found.area == in_picture(found).sum() and max(found.view.window[2:]) == 256
    assert found.window[2] < 3 * radius
    np.testing.assert_array_equal(rle_decode(found.picture_rle()), in_picture(found))


def test_a_mask_that_the_view_cuts_is_asked_for_in_a_larger_view(tiny, circles, circle, places):
    x, y, radius = places["crossing"]
    found = LargePicture(tiny, circles).predict([[x, y]], [1], shown=(x - 60, y - 60, 120, 120))
    assert max(found.view.window[2:]) > 2 * radius
    assert mask_iou(in_picture(found), circle("crossing")) > 0.85


def test_a_box_chooses_its_view_by_itself(tiny, circles, circle, places):
    x, y, radius = places["small"]
    found = LargePicture(tiny, circles).predict(box=[x - radius, y - radius, x + radius, y + radius])
    assert max(found.view.window[2:]) < 2 * AROUND_BOX * 2 * radius
    assert mask_iou(in_picture(found), circle("small")) > 0.9


def test_a_correction_keeps_the_view_and_takes_the_answer_along(tiny, circles, circle, places):
    picture = LargePicture(tiny, circles)
    x, y, _ = places["small"]
    first = picture.predict([[x, y]], [1], shown=(x - 100, y - 100, 200, 200))
    second = picture.predict([[x, y], [x + 80, y]], [1, 0], previous=first)
    assert second.view == first.view and not in_picture(second)[y, x + 80]
    assert mask_iou(in_picture(second), circle("small")) > 0.9


def test_a_coarse_view_is_interpolated_or_repeats_its_pixels(tiny, circles, monkeypatch, places):
    picture = LargePicture(tiny, circles, detail=200)
    x, y, _ = places["crossing"]
    smooth = picture.predict([[x, y]], [1])
    monkeypatch.setattr("sam.large.picture.SMOOTH_PIXELS", 0)
    blocks = picture.predict([[x, y]], [1])
    assert smooth.view.scale == blocks.view.scale == 4
    assert mask_iou(in_picture(smooth), in_picture(blocks)) > 0.95
    whole = in_picture(blocks)
    np.testing.assert_array_equal(whole, np.kron(whole[::4, ::4], np.ones((4, 4), bool)))


def test_the_cache_keeps_to_its_bytes_and_forgets_what_was_unused_longest(tiny, circles, monkeypatch):
    encoded = []
    monkeypatch.setattr("sam.large.picture.encode", lambda model, image: encoded.append(1) or encode(model, image))
    size = encode(tiny, circles).features.numel() * 4
    picture = LargePicture(tiny, circles, cache_bytes=2 * size)
    views = [View((x, 0, 256, 256)) for x in (0, 128, 256)]
    for index in (0, 1, 0, 2, 0):
        picture.embedding(views[index])
    assert len(encoded) == 3 and picture.kept_views == (views[2], views[0])
    picture.cache_bytes = 0
    picture.embedding(views[1])
    assert picture.kept_views == ()


class Gigapixels:
    """A picture of 32768 x 32768 that is drawn where it is read: a disc of 300 pixels on a plain ground."""

    hw = (32_768, 32_768)
    centre_xy = (20_000, 30_000)

    def read(self, window):
        x, y, width, height = window
        rows, columns = np.ogrid[y : y + height, x : x + width]
        disc = (columns - self.centre_xy[0]) ** 2 + (rows - self.centre_xy[1]) ** 2 < 300**2
        return np.where(disc[..., None], np.uint8([180, 40, 50]), np.uint8([200, 205, 190]))


def test_a_gigapixel_takes_no_bitmap(tiny):
    picture, (x, y) = LargePicture(tiny, Gigapixels()), Gigapixels.centre_xy
    tracemalloc.start()
    found = picture.predict([[x, y]], [1], shown=(x - 500, y - 500, 1000, 1000))
    rle = found.picture_rle()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20, f"{peak / 2**20:.0f} MiB of arrays for a picture of 3072"
    assert abs(found.area / (np.pi * 300**2) - 1) < 0.1
    assert sum(rle["counts"]) == 2**30 and sum(rle["counts"][1::2]) == found.area
    np.testing.assert_allclose(rle_window(rle), (x - 300, y - 300, 600, 600), atol=20)


def test_a_prompt_is_needed(tiny, circles):
    with pytest.raises(ValueError, match="a prompt is needed"):
        LargePicture(tiny, circles).predict()
    with pytest.raises(ValueError, match="cache_bytes -1"):
        LargePicture(tiny, circles, cache_bytes=-1)


@pytest.mark.slow
@pytest.mark.data
def test_zoomed_views_give_small_objects_finer_masks(tiny):
    folder = Path(os.environ.get("SAM_DATA", ""), "val", "coco_val_subset")
    if not folder.is_dir():
        pytest.skip("SAM_DATA names no folder of pictures with masks")
    scores = np.array([score for path in sorted(folder.glob("*.jpg"))[:14] for score in zoom_scores(tiny, path)])
    assert len(scores) >= 14
    point, zoomed_point, box, zoomed_box = scores.mean(0)
    assert zoomed_point > point + 0.05 and zoomed_box > box + 0.1


def zoom_scores(tiny, path):
    """IoU of small objects: a point on the whole picture and zoomed in on, a box on the whole and in its view."""
    pixels = np.array(Image.open(path).convert("RGB"))
    layer = np.array(Image.open(path.with_suffix(".0.png")))
    picture, whole = LargePicture(tiny, pixels), encode(tiny, pixels)
    for segment in np.unique(layer)[1:]:
        truth = layer == segment
        rows, columns = np.nonzero(truth)
        side = max(np.ptp(rows), np.ptp(columns)) + 1
        middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        point = [[columns[middle] + 0.5, rows[middle] + 0.5]]
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        if len(rows) >= 64 and side < max(layer.shape) * 0.1:
            clicked, boxed = predict(tiny, whole, point, [1]), predict(tiny, whole, box=box, multimask_output=False)
            yield [
                mask_iou(clicked.masks[clicked.iou_predictions.argmax()], truth),
                mask_iou(in_picture(picture.predict(point, [1], shown=(0, 0, 4 * side, 4 * side))), truth),
                mask_iou(boxed.masks[0], truth),
                mask_iou(in_picture(picture.predict(box=box)), truth),
            ]
