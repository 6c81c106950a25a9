"""Datasets: three layouts on disk, one kind of record in the program; bad files are named."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from sam.datasets import LayeredRecord, find_records
from sam.datasets.instances import place_masks, to_runs
from sam.masks import decompress_counts

HW = (9, 13)
MASKS = st.lists(arrays(bool, HW), min_size=1, max_size=6).filter(lambda masks: any(mask.any() for mask in masks))
RECTANGLES = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 7), st.integers(1, 13), st.integers(1, 9)), min_size=1, max_size=8
)
"""x, y, width, height; they may reach over the border."""


def save_picture(path, hw=HW):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*hw, 3), 90, np.uint8)).save(path)


def save_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def compressed(mask):
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def uncompressed(mask):
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *changes.tolist(), flat.size]
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def coco(segmentations, *, file_name="one.png", hw=HW, **more):
    """A document of one picture whose annotations have the given segmentations."""
    annotations = [
        {"id": n, "image_id": 7, "category_id": 1 + n % 2, "segmentation": segmentation, **more}
        for n, segmentation in enumerate(segmentations)
    ]
    return {
        "images": [{"id": 7, "file_name": file_name, "height": hw[0], "width": hw[1]}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def sa1b(masks, hw=HW):
    return {
        "image": {"image_id": 1, "height": hw[0], "width": hw[1], "file_name": "one.jpg"},
        "annotations": [{"id": n, "segmentation": compressed(mask)} for n, mask in enumerate(masks)],
    }


def segments(record):
    """All masks of a record, as a sorted list of bytes, to compare them whatever their order."""
    layers = record.layers()
    return sorted((layer == k).tobytes() for layer in layers for k in np.unique(layer[layer > 0]))


def as_bytes(masks):
    return sorted(np.ascontiguousarray(mask).tobytes() for mask in masks if mask.any())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that Hypothesis may write into again and again."""
    path = tmp_path_factory.mktemp("pets")
    save_picture(path / "one.png")
    return path


# --- layered folders --------------------------------------------------------------------------------------------


def test_a_layered_folder_reads_palette_and_16_bit_layers(tmp_path):
    ids = np.arange(117, dtype=np.uint16).reshape(HW)
    save_picture(tmp_path / "leaves" / "one.jpg")
    palette = Image.fromarray(ids.astype(np.uint8), mode="P")
    palette.putpalette(list(range(256)) * 3)
    palette.save(tmp_path / "leaves" / "one.0.png")
    Image.fromarray(ids * 500).save(tmp_path / "leaves" / "one.1.png")
    (record,) = find_records(tmp_path)
    assert (record.source, record.name) == ("leaves", "one")
    first, second = record.layers()
    assert first.dtype == second.dtype == np.int32
    assert np.array_equal(first, ids) and np.array_equal(second, ids.astype(int) * 500)
    assert record.image().shape == (*HW, 3) and record.image().dtype == np.uint8
    assert record.categories == {}


@pytest.mark.parametrize("suffix", [".webp", ".jpg", ".jpeg", ".png", ".JPG"])
def test_every_kind_of_picture_is_found_and_no_layer_taken_for_one(tmp_path, suffix):
    save_picture(tmp_path / "leaves" / f"one.2{suffix}")
    for index in (10, 2, 0):
        Image.fromarray(np.full(HW, index, np.uint8)).save(tmp_path / "leaves" / f"one.2.{index}.png")
    save_picture(tmp_path / "leaves" / "without_layers.jpg")
    (record,) = find_records(tmp_path)
    assert record.name == "one.2"
    assert [int(layer[0, 0]) for layer in record.layers()] == [0, 2, 10]


def test_a_record_decodes_afresh(tmp_path):
    save_picture(tmp_path / "leaves" / "one.png")
    Image.fromarray(np.ones(HW, np.uint8)).save(tmp_path / "leaves" / "one.0.png")
    (record,) = find_records(tmp_path)
    record.layers()[0][:] = 0
    record.image()[:] = 0
    assert record.layers()[0].all() and record.image().any()


def test_pictures_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    (tmp_path / "leaves").mkdir()
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(tmp_path / "leaves" / "one.jpg", exif=exif)
    Image.fromarray(np.ones(HW[::-1], np.uint8)).save(tmp_path / "leaves" / "one.0.png")
    (record,) = find_records(tmp_path)
    assert record.image_hw() == record.image().shape[:2] == record.layers()[0].shape == HW[::-1]
    Image.fromarray(np.ones(HW, np.uint8)).save(tmp_path / "leaves" / "one.0.png")
    with pytest.raises(ValueError, match="before its EXIF orientation"):
        record.layers()


@pytest.mark.parametrize("orientation", range(10))
def test_every_exif_orientation_is_undone(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    colours = np.random.default_rng(0).integers(0, 255, (*HW, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "one.png", exif=exif)
    record = LayeredRecord(tmp_path / "one.png", "a", "one")
    with Image.open(tmp_path / "one.png") as file:
        assert np.array_equal(record.image(), np.asarray(ImageOps.exif_transpose(file)))
    assert record.image_hw() == record.image().shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_block_says_nothing(tmp_path):
    grey = Image.fromarray(np.zeros((*HW, 3), np.uint8))
    grey.save(tmp_path / "one.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert LayeredRecord(tmp_path / "one.jpg", "a", "one").image().shape == (*HW, 3)


@pytest.mark.parametrize("kind", ["grey", "grey16", "palette", "rgba", "transparent palette"])
def test_every_kind_of_picture_becomes_rgb(tmp_path, kind):
    grey = Image.fromarray(np.full(HW, 128, np.uint8))
    transparency = {"transparency": b"\x00\x80"} if kind == "transparent palette" else {}
    picture = {
        "grey": grey,
        "grey16": Image.fromarray(np.full(HW, 128 * 257, np.uint16)),
        "palette": grey.convert("P"),
        "rgba": grey.convert("RGBA"),
        "transparent palette": grey.convert("P"),
    }[kind]
    picture.save(tmp_path / "one.png", **transparency)
    image = LayeredRecord(tmp_path / "one.png", "a", "one").image()
    assert image.shape == (*HW, 3) and (image == 128).all()


def test_where_zero_is_unknown_is_said_by_the_source():
    assert LayeredRecord(Path("one.jpg"), "bsds500_test", "one").zero_is_unknown
    assert LayeredRecord(Path("one.jpg"), "camvid", "one").zero_is_unknown
    assert not LayeredRecord(Path("one.jpg"), "pets", "one").zero_is_unknown


def test_a_layer_of_another_size_is_named_with_both_sizes(tmp_path):
    save_picture(tmp_path / "leaves" / "one.png")
    Image.fromarray(np.ones((4, 5), np.uint8)).save(tmp_path / "leaves" / "one.0.png")
    (record,) = find_records(tmp_path)
    with pytest.raises(ValueError, match=r"one\.0\.png: made for 4 x 5 .*one\.png has 9 x 13"):
        record.layers()


def test_a_layer_in_colour_and_a_damaged_one_are_named(tmp_path):
    for name in ("one.png", "one.0.png", "two.png"):
        save_picture(tmp_path / "leaves" / name)
    Image.fromarray(np.ones(HW, np.uint8)).save(tmp_path / "leaves" / "two.0.png")
    record, other = find_records(tmp_path)
    with pytest.raises(ValueError, match=r"one\.0\.png: a layer holds one id a pixel .* this is RGB"):
        record.layers()
    (path,) = other.layer_paths
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"two\.0\.png: not a picture"):
        other.layers()


def test_layers_without_their_picture_and_pictures_that_share_layers_are_named(tmp_path):
    save_picture(tmp_path / "leaves" / "one.jpg")
    for name in ("one.0.png", "lost.0.png"):
        Image.fromarray(np.ones(HW, np.uint8)).save(tmp_path / "leaves" / name)
    with pytest.raises(ValueError, match=r"lost\.0\.png: there is no picture"):
        find_records(tmp_path)
    save_picture(tmp_path / "leaves" / "one.webp")
    with pytest.raises(ValueError, match=r"one\.0\.png: a layer of each of .*one\.webp"):
        find_records(tmp_path)


def test_a_folder_without_masks_is_named_with_the_layouts(tmp_path):
    save_picture(tmp_path / "one.jpg")
    for format in (None, "layered", "coco", "sa1b"):
        with pytest.raises(ValueError, match=r"(?s)no picture with masks in .*layered.*coco.*sa1b") as caught:
            find_records(tmp_path, format)
        assert str(tmp_path) in str(caught.value)
    with pytest.raises(ValueError, match="format 'voc' is unknown; use one of layered, coco, sa1b"):
        find_records(tmp_path, "voc")


# --- COCO ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(masks=MASKS, encode=st.sampled_from([compressed, uncompressed]))
def test_coco_run_lengths_round_trip(folder, masks, encode):
    save_json(folder / "labels.json", coco([encode(mask) for mask in masks]))
    (record,) = find_records(folder)
    assert (record.source, record.name) == (folder.name, "one")
    assert segments(record) == as_bytes(masks)


@settings(max_examples=40, deadline=None)
@given(rectangles=RECTANGLES)
def test_coco_polygons_round_trip(folder, rectangles):
    masks, polygons = [], []
    for x, y, w, h in rectangles:
        masks.append(np.zeros(HW, bool))
        masks[-1][y : y + h, x : x + w] = True
        polygons.append([[x, y, x + w, y, x + w, y + h, x, y + h]])
    save_json(folder / "labels.json", coco(polygons))
    (record,) = find_records(folder, "coco")
    assert segments(record) == as_bytes(masks)


def test_polygons_of_one_thing_are_one_mask_and_lines_are_nothing(folder):
    left, right, line = [0, 0, 2, 0, 2, 2, 0, 2], [8, 0, 10, 0, 10, 2, 8, 2], [0, 0, 5, 5]
    save_json(folder / "labels.json", coco([[left, right, line], [line]]))
    (layer,) = find_records(folder)[0].layers()
    assert layer.max() == 1 and layer.sum() == 8


@given(masks=MASKS)
def test_layers_are_as_few_as_disjoint_masks_allow_and_big_masks_come_first(masks):
    layers, places = place_masks([to_runs(compressed(mask), HW) for mask in masks], HW)
    for (layer, segment), index in places.items():
        assert np.array_equal(layers[layer] == segment, masks[index])
    areas = [masks[index].sum() for (layer, _), index in places.items() if layer == 0]
    assert areas == sorted(areas, reverse=True)
    overlap = sum(mask.astype(int) for mask in masks).max()
    assert overlap <= len(layers) <= len(masks)
    if overlap == 1:
        assert len(layers) == 1


@given(mask=arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_compressed_run_lengths_are_read_as_pycocotools_writes_them(mask):
    assert decompress_counts(compressed(mask)["counts"]).tolist() == uncompressed(mask)["counts"]
    assert np.array_equal(to_runs(compressed(mask), mask.shape).mask(), mask)


def test_categories_name_each_segment_and_crowds_are_left_out(folder):
    small, big = np.zeros(HW, bool), np.zeros(HW, bool)
    small[2:4, 2:4], big[:8, :8] = True, True
    document = coco([compressed(small), compressed(big)])
    document["annotations"].append({**document["annotations"][0], "iscrowd": 1})
    document["annotations"].append({"id": 9, "image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 2]})
    save_json(folder / "labels.json", document)
    (record,) = find_records(folder)
    assert record.categories == {(0, 1): "dog", (1, 1): "cat"}
    assert [int(layer.sum()) for layer in record.layers()] == [64, 4]


@pytest.mark.parametrize("pictures", ["set", "set/images", "val", "images"])
def test_coco_pictures_are_found_where_people_keep_them(tmp_path, pictures):
    save_picture(tmp_path / pictures / "deep" / "one.png")
    document = coco([compressed(np.ones(HW, bool))], file_name="deep/one.png")
    save_json(tmp_path / "set" / "instances_val.json", document)
    (record,) = find_records(tmp_path)
    assert record.layers()[0].all() and record.name == "deep/one"
    assert record.source == {"set": "set", "set/images": "set", "val": "val", "images": tmp_path.name}[pictures]


def test_coco_pictures_elsewhere_are_given_and_a_file_is_enough(tmp_path):
    save_picture(tmp_path / "elsewhere" / "one.png")
    labels = tmp_path / "set" / "labels.json"
    save_json(labels, coco([compressed(np.ones(HW, bool))]))
    with pytest.raises(ValueError, match=r"labels\.json: its picture one\.png is in none of .*images="):
        find_records(tmp_path / "set")
    (record,) = find_records(labels, images=tmp_path / "elsewhere")
    assert record.layers()[0].all()
    save_json(labels, [1, 2])
    with pytest.raises(ValueError, match=r"labels\.json: COCO annotations are an object"):
        find_records(labels)


def test_sizes_that_contradict_the_picture_are_named(folder):
    mask = compressed(np.ones((4, 5), bool))
    for document in (coco([mask]), coco([[[0, 0, 1, 0, 1, 1]]], hw=(4, 5))):
        save_json(folder / "labels.json", document)
        (record,) = find_records(folder)
        with pytest.raises(ValueError, match=r"labels\.json: made for 4 x 5 .*one\.png has 9 x 13"):
            record.layers()


@pytest.mark.parametrize(
    ("segmentation", "fault"),
    [
        ({"size": [9, 13], "counts": [5, 6]}, "11 pixels, but 9 x 13 are 117"),
        ({"size": [9, 13], "counts": [200, -83]}, "117 pixels"),
        ({"size": [9, 13], "counts": "zzzz"}, "damaged or cut off"),
        ({"size": [9, 13], "counts": "o" * 20 + "0"}, "more than 60 bits"),
        ({"size": 9, "counts": []}, "cannot unpack"),
        ({"counts": [117]}, "neither"),
        ([[0, 0, 1]], "x, y, x, y"),
        ([[0, 0, 1, 1, 1e9, 0]], "reaches"),
        ([[0, 0, 1, 1, float("nan"), 0]], "reaches"),
        ("a string", "neither"),
    ],
)
def test_malformed_masks_are_named(folder, segmentation, fault):
    save_json(folder / "labels.json", coco([segmentation]))
    (record,) = find_records(folder)
    with pytest.raises(ValueError, match=rf"labels\.json: a mask of one\.png is invalid: .*{fault}"):
        record.layers()


@pytest.mark.parametrize("broken", ['{"images": [', '{"images": [{"id": 1}], "annotations": [{"segmentation": [1]}]}'])
def test_broken_json_is_named(folder, broken):
    (folder / "labels.json").write_text(broken)
    with pytest.raises(ValueError, match=r"labels\.json: not "):
        find_records(folder)


def test_annotations_of_unlisted_pictures_are_named(folder):
    document = coco([compressed(np.ones(HW, bool))])
    document["annotations"][0]["image_id"] = 8
    save_json(folder / "labels.json", document)
    with pytest.raises(ValueError, match=r"labels\.json: .* image_id 8"):
        find_records(folder)


# --- SA-1B --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(masks=MASKS)
def test_sa1b_round_trip(tmp_path_factory, masks):
    folder = tmp_path_factory.getbasetemp() / "sa_000001"
    save_picture(folder / "one.jpg")
    save_json(folder / "one.json", sa1b(masks))
    (record,) = find_records(folder)
    assert (record.source, record.name) == ("sa_000001", "one")
    assert segments(record) == as_bytes(masks)
    assert record.categories == {}


def test_a_file_beside_a_picture_that_is_not_sa1bs_is_named(tmp_path):
    save_picture(tmp_path / "one.jpg")
    (tmp_path / "one.json").write_text('{"shapes": []}')
    (record,) = find_records(tmp_path, "sa1b")
    with pytest.raises(ValueError, match=r"one\.json: not SA-1B's"):
        record.layers()
    save_json(tmp_path / "one.json", sa1b([np.ones((4, 5), bool)], hw=(4, 5)))
    with pytest.raises(ValueError, match=r"one\.json: made for 4 x 5 .*one\.jpg has 9 x 13"):
        record.layers()


def test_layouts_mix_and_are_sorted(tmp_path):
    whole = np.ones(HW, bool)
    save_picture(tmp_path / "c" / "one.jpg")
    Image.fromarray(np.ones(HW, np.uint8)).save(tmp_path / "c" / "one.0.png")
    save_picture(tmp_path / "b" / "one.jpg")
    save_json(tmp_path / "b" / "one.json", sa1b([whole]))
    save_picture(tmp_path / "a" / "one.png")
    save_json(tmp_path / "a" / "labels.json", coco([compressed(whole)]))
    records = find_records(tmp_path)
    assert [record.source for record in records] == ["a", "b", "c"]
    assert all(record.layers()[0].all() for record in records)
    assert set(records) == set(find_records(tmp_path)) and pickle.loads(pickle.dumps(records)) == records
    for source, format in zip("abc", ("coco", "sa1b", "layered"), strict=True):
        assert [record.source for record in find_records(tmp_path, format)] == [source]


# --- the pictures this project trains on --------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.skipif("SAM_DATA" not in os.environ, reason="SAM_DATA names no folder of pictures with masks")
def test_the_training_data_reads():
    records = find_records(Path(os.environ["SAM_DATA"]) / "train")
    assert len(records) == 4196
    assert {r.source for r in records if r.zero_is_unknown} == {"bsds500_trainval", "camvid"}
    for record in records[::100]:
        layers = record.layers()
        assert layers and all(layer.shape == record.image().shape[:2] and layer.any() for layer in layers)
