"""Everything mode on small random models: what may be asked, how the work goes on, what it costs nothing to know."""

import threading

import numpy as np
import pytest
import torch

import sam
from sam import SamAutomaticMaskGenerator, encode
from sam.automatic import PRESETS, Settings
from sam.automatic.decoder import COPIES, PointDecoder, points_at_once
from sam.automatic.grids import crops, point_grid, point_grids, scattered
from sam.automatic.search import encode_crop

LENIENT = {"pred_iou_thresh": 0.2, "stability_score_thresh": 0.4, "box_nms_thresh": 0.5}
LENIENT |= {"points_per_side": 5, "points_per_batch": 4}
"""A small grid, and thresholds that let duplicates come and go."""
CROPPED = {**LENIENT, "crop_n_layers": 1, "min_mask_region_area": 20}


def decode(model, embedding, points_xy):
    """What the model's own decoder says to single points in model pixels: logits (B, 1+M, h, w), IoU (B, 1+M)."""
    with torch.no_grad():
        return model.decode(embedding.features, (points_xy[:, None], torch.ones(len(points_xy), 1)))


def assert_same_records(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


# --- the decoder -----------------------------------------------------------------------------------------------------


def test_a_batch_of_points_gets_the_models_answers(small_model, photo):
    embedding = encode(small_model, photo)
    points = torch.rand(7, 2, generator=torch.Generator().manual_seed(1)) * 100
    logits, iou = decode(small_model, embedding, points)
    decoder = PointDecoder(small_model, embedding.features)
    with torch.no_grad():
        answers = decoder.answer(points)
        found = decoder.upscale(answers, np.arange(7), np.ones((7, 4), bool), (32, 32)).view(7, 4, 32, 32)
        single = decoder.upscale(answers, np.array([2]), np.ones((1, 4), bool), (32, 32))
        part = decoder.upscale(answers, np.array([3, 5]), np.array([[0, 0, 1, 0], [0, 1, 1, 0]], bool), (13, 30))
    torch.testing.assert_close(answers.iou, iou, rtol=0, atol=1e-4)
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-3)
    torch.testing.assert_close(single, logits[2], rtol=0, atol=1e-3)
    torch.testing.assert_close(part, logits[[3, 5, 5], [2, 1, 2], :13, :30], rtol=0, atol=1e-3)


def test_points_are_asked_as_the_cache_has_it_or_an_accelerators_memory():
    mib = 2**20
    assert points_at_once("cpu", 2 * mib, 0) == points_at_once("cpu", 2 * mib, 10**12) == 4
    assert points_at_once("cpu", 100 * mib, 0) == 1
    assert points_at_once("cuda", 4 * mib, 80 * 1024 * mib) > 256
    few, many = (points_at_once("mps", 4 * mib, free * 1024 * mib) for free in (1, 8))
    assert few > 1 and many >= 8 * few
    assert many * 4 * mib * COPIES <= 4 * 1024 * mib, "half of what is free stays free"
    assert points_at_once("mps", 4 * mib, 0) == 1


def test_upscaling_many_points_at_once_finds_the_same(tiny, shapes, monkeypatch):
    settings = {**LENIENT, "output_mode": "coco_rle"}
    expected = [record["bbox"] for record in SamAutomaticMaskGenerator(tiny, **settings).generate(shapes)]
    monkeypatch.setattr(PointDecoder, "upscaled_at_once", 64)
    found = [record["bbox"] for record in SamAutomaticMaskGenerator(tiny, **settings).generate(shapes)]
    assert found == expected and found


def test_bf16_stays_close(small_model, photo):
    embedding = encode(small_model, photo)
    points = torch.rand(5, 2, generator=torch.Generator().manual_seed(1)) * 100
    logits, iou = decode(small_model, embedding, points)
    decoder = PointDecoder(small_model, embedding.features, "bf16")
    with torch.no_grad():
        answers = decoder.answer(points)
        found = decoder.upscale(answers, np.arange(5), np.ones((5, 4), bool), (32, 32)).view(5, 4, 32, 32)
    assert (answers.iou - iou).abs().max() < 0.03 * iou.abs().max()
    assert ((found > 0) == (logits > 0)).float().mean() > 0.97


@torch.no_grad()
def test_bf16_moves_a_trained_models_masks_a_little(tiny, shapes):
    points = torch.tensor(point_grid(4) * (1024, 768))
    found = {}
    for precision in ("fp32", "bf16"):
        decoder = PointDecoder(tiny, encode_crop(tiny, shapes, precision).features, precision)
        answers = decoder.answer(points)
        chosen = np.tile([False, True, True, True], (16, 1))
        masks = decoder.upscale(answers, np.arange(16), chosen, (192, 256)) > 0
        found[precision] = answers.iou[:, 1:].flatten(), masks
    (iou, masks), (iou_bf16, masks_bf16) = found["fp32"], found["bf16"]
    assert (iou_bf16 - iou).abs().max() < 0.01
    better = iou > iou.median()
    shared = (masks & masks_bf16).sum((1, 2)) / (masks | masks_bf16).sum((1, 2)).clamp(min=1)
    assert shared[better].median() > 0.98


# --- Meta's interface ------------------------------------------------------------------------------------------------


def test_records_describe_their_masks(tiny, shapes):
    records = SamAutomaticMaskGenerator(tiny, **LENIENT).generate(shapes)
    assert records
    for record in records:
        rows, columns = np.nonzero(record["segmentation"])
        left, top, width, height = record["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width, top + height) == (columns.max(), rows.max())
        assert record["area"] == len(rows)
        assert record["crop_box"] == [0, 0, 160, 120]
    scores = [record["predicted_iou"] for record in records]
    assert scores == sorted(scores, reverse=True)


def test_no_point_belongs_to_a_batch(tiny, shapes):
    whole = SamAutomaticMaskGenerator(tiny, **LENIENT | {"points_per_batch": 64}).generate(shapes)
    assert_same_records(SamAutomaticMaskGenerator(tiny, **LENIENT).generate(shapes), whole)


def test_thresholds_that_nothing_passes_find_nothing(tiny, shapes):
    assert SamAutomaticMaskGenerator(tiny, points_per_side=3, pred_iou_thresh=1e9).generate(shapes) == []


def test_point_grids_may_be_given(tiny, shapes):
    own = LENIENT | {"points_per_side": None, "point_grids": [point_grid(5)]}
    expected = SamAutomaticMaskGenerator(tiny, **LENIENT).generate(shapes)
    assert_same_records(SamAutomaticMaskGenerator(tiny, **own).generate(shapes), expected)


def test_a_known_embedding_is_not_computed_again(tiny, shapes, monkeypatch):
    generator = SamAutomaticMaskGenerator(tiny, **LENIENT)
    expected, embedding = generator.generate(shapes), encode(tiny, shapes)
    monkeypatch.setattr("sam.automatic.search.encode", None)
    assert_same_records(generator.generate(shapes, embedding=embedding), expected)
    with pytest.raises(ValueError, match=r"\(120, 160\), this one has \(30, 160\)"):
        generator.generate(shapes[:30], embedding=embedding)


def test_an_embedding_of_other_weights_is_refused(tiny, small_model, shapes):
    with pytest.raises(ValueError, match="belongs to weights"):
        SamAutomaticMaskGenerator(tiny).generate(shapes, embedding=encode(small_model, shapes))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"points_per_side": None}, "exactly one of points_per_side and point_grids"),
        ({"point_grids": [point_grid(2)]}, "exactly one of points_per_side and point_grids"),
        ({"points_per_side": 0}, "points_per_side 0 must be at least 1"),
        ({"points_per_batch": 0}, "points_per_batch 0"),
        ({"output_mode": "png"}, "'png' is unknown; use one of binary_mask"),
        ({"precision": "fp8"}, "'fp8' is unknown"),
        ({"crop_overlap_ratio": 1.5}, "crop_overlap_ratio 1.5"),
        ({"stability_score_offset": -1.0}, "stability_score_offset -1.0"),
        ({"crop_n_layers": 3, "points_per_side": 4, "crop_n_points_downscale_factor": 2}, "a grid of no points"),
        ({"points_per_side": None, "point_grids": [point_grid(2)], "crop_n_layers": 1}, "crop_n_layers 1 needs 2"),
        ({"points_per_side": None, "point_grids": [np.zeros((0, 2))]}, r"point_grids\[0\] must have shape"),
        ({"points_per_side": None, "point_grids": [np.full((1, 2), 7)]}, "shares of width and height"),
    ],
)
def test_wrong_parameters_are_named(tiny, wrong, message):
    with pytest.raises(ValueError, match=message):
        SamAutomaticMaskGenerator(tiny, **wrong)


def test_a_picture_that_is_none_is_refused(tiny, shapes):
    generator = SamAutomaticMaskGenerator(tiny)
    for wrong in (shapes / 255, shapes[..., 0], shapes[:0]):
        with pytest.raises(ValueError, match="the picture must be"):
            generator.generate(wrong)


# --- progress --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [LENIENT, CROPPED], ids=["plain", "crops"])
def test_updates_add_up_to_the_answer(tiny, shapes, settings):
    generator = SamAutomaticMaskGenerator(tiny, **settings)
    shown, retracted = {}, 0
    for update in generator.generate_iter(shapes):
        for number in update.retracted:
            del shown[number]
        assert not shown.keys() & update.added.keys()
        shown |= update.added
        retracted += len(update.retracted)
        assert set(update.order) == shown.keys()
    assert update.done == update.total and retracted
    assert_same_records([shown[number] for number in update.order], generator.generate(shapes))


def test_cancelling_stops_before_the_next_batch_of_the_decoder(tiny, shapes, monkeypatch):
    monkeypatch.setattr(PointDecoder, "batch", 3)
    asked, cancel = [], threading.Event()
    answer = PointDecoder.answer

    def count(self, points):
        asked.append(len(points))
        cancel.set()
        return answer(self, points)

    monkeypatch.setattr(PointDecoder, "answer", count)
    assert not list(SamAutomaticMaskGenerator(tiny).generate_iter(shapes, cancelled=cancel.is_set))
    assert asked == [3]


def test_the_first_points_cover_the_picture():
    order = scattered(1024)
    assert sorted(order) == list(range(1024))
    first = point_grid(32)[order[:64]]
    assert len({tuple(cell) for cell in (first * 4).astype(int)}) == 16  # some in each cell of a 4 x 4 grid


# --- where to ask ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hw", [(480, 640), (97, 33), (2, 2), (1, 5)])
def test_every_layer_of_crops_covers_the_picture(hw):
    found = crops(hw, Settings(crop_n_layers=2))
    for layer in range(3):
        covered = np.zeros(hw, bool)
        for crop in found:
            if crop.layer == layer:
                crop.cut(covered)[:] = True
        assert covered.all()


def test_crops_overlap_by_the_ratio_of_the_short_side():
    boxes = [crop.box for crop in crops((600, 900), Settings(crop_n_layers=1, crop_overlap_ratio=1 / 3))]
    assert boxes[1:3] == [(0, 0, 550, 400), (0, 200, 550, 600)]


def test_grids_get_coarser_with_the_layers():
    grids = point_grids(Settings(points_per_side=8, crop_n_layers=2, crop_n_points_downscale_factor=2))
    assert [len(grid) for grid in grids] == [64, 16, 4]
    assert grids[2].tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings_and_may_be_changed(tiny, name):
    generator = SamAutomaticMaskGenerator.preset(tiny, name, stability_score_thresh=0.5)
    assert generator.settings == Settings.preset(name, tiny.config.model_id, stability_score_thresh=0.5)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="'many' is unknown; use one of few, balanced, fine"):
        Settings.preset("many")


def test_the_generator_is_where_segment_anything_has_it():
    assert sam.SamAutomaticMaskGenerator is SamAutomaticMaskGenerator
