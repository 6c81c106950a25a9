"""The worked example of a head of one's own: mask pooling, training on a frozen model, storing, classifying."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sam import SAM, encode, predict
from sam.datasets import find_records
from sam.training.heads import (
    ClassHead,
    by_category,
    by_source,
    classify,
    draw_masks,
    fit_class_head,
    judge,
    label_masks,
    layer_in_frame,
    main,
    pool_under_masks,
    split,
    true_masks,
)
from sam.transforms import ImageFrame

COLOURS = {"cherries": (220, 20, 20), "plums": (40, 30, 170)}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"img_size": 256, "widths": (16, 16, 32, 32), "depths": (1, 1, 1, 1), "num_heads": 2, "out_chans": 64}
    return SAM.from_variant("tiny", **sizes).eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight pictures of cherries (red on grey) and eight of plums (blue on grey)."""
    folder = tmp_path_factory.mktemp("fruit")
    rng = np.random.default_rng(0)
    for source, colour in COLOURS.items():
        (folder / source).mkdir()
        for number in range(8):
            ids = np.zeros((96, 128), np.uint8)
            top, left = rng.integers(0, 40), rng.integers(0, 60)
            ids[top : top + 50, left : left + 60] = 1
            ids[94:, 126:] = 2  # too small to name
            picture = np.where(ids[..., None] == 1, colour, (128, 128, 128)).astype(np.uint8)
            Image.fromarray(picture).save(folder / source / f"{number}.jpg", quality=95)
            Image.fromarray(ids).save(folder / source / f"{number}.0.png")
    return folder


@pytest.fixture(scope="module")
def head(model, data):
    return fit_class_head(model, split(find_records(data))[0], steps=30)


# --- pooling ------------------------------------------------------------------------------------------------------


def test_pooling_is_the_mean_under_the_mask():
    embeddings = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    masks = torch.zeros(4, 16, 16, dtype=torch.bool)
    masks[:, :4, :8] = True  # the first two cells of the first row
    pooled = pool_under_masks(embeddings, masks)
    assert pooled.shape == (4, 3)
    expected = embeddings[:, :, 0, :2].mean(-1).repeat_interleave(2, 0)  # two masks a picture, consecutive
    torch.testing.assert_close(pooled, expected)


def test_a_cell_counts_by_the_area_that_is_covered():
    embeddings = torch.tensor([[[[1.0, 5.0]]]])
    masks = torch.zeros(1, 4, 8)
    masks[:, :, :4] = 1
    masks[:, :2, 4:6] = 1  # a quarter of the second cell
    torch.testing.assert_close(pool_under_masks(embeddings, masks), torch.tensor([[(1 + 0.25 * 5) / 1.25]]))


@given(value=st.floats(-10, 10), share=st.floats(0.05, 1), seed=st.integers(0, 2**31))
@settings(deadline=None)
def test_a_constant_embedding_is_its_own_mean_under_any_mask(value, share, seed):
    masks = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(seed)) < share
    masks[:, 0, 0] = True
    pooled = pool_under_masks(torch.full((1, 2, 4, 4), value), masks)
    torch.testing.assert_close(pooled, torch.full((3, 2), value), atol=1e-4, rtol=1e-4)


def test_an_empty_mask_gives_zeros_and_other_shapes_are_refused():
    embeddings = torch.ones(2, 3, 4, 4)
    assert pool_under_masks(embeddings, torch.zeros(2, 16, 16)).abs().sum() == 0
    for shape in ((3, 16, 16), (2, 1, 16, 16)):
        with pytest.raises(ValueError, match="N a multiple of the 2 pictures"):
            pool_under_masks(embeddings, torch.zeros(shape))


# --- examples -----------------------------------------------------------------------------------------------------


@given(st.integers(20, 300), st.integers(20, 300))
@settings(max_examples=30, deadline=None)
def test_a_layer_lies_in_the_frame_where_its_picture_lies(height, width):
    frame = ImageFrame.fit((height, width), 256)
    small = layer_in_frame(np.ones((height, width), np.int32), frame, (64, 64))
    rows, columns = (small.any(axis).sum() for axis in (1, 0))
    assert (rows, columns) == pytest.approx([side / 4 for side in frame.resized_hw], abs=1)
    assert small[:rows, :columns].all()


def test_masks_of_a_record_have_its_sources_name_and_specks_are_left_out(data, model):
    record = find_records(data)[0]
    masks, labels = true_masks(record, model.frame((96, 128)), model.config.low_res_hw, by_source)
    assert labels == ("cherries",) and masks.shape == (1, 64, 64) and masks.dtype == torch.bool
    assert masks.sum() == pytest.approx(50 * 60 / 4, rel=0.1)


def test_categories_can_be_the_classes(tmp_path, model):
    Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(tmp_path / "one.png")
    square = [0, 0, 60, 0, 60, 60, 0, 60]
    document = {
        "images": [{"id": 1, "file_name": "one.png"}],
        "annotations": [
            {"image_id": 1, "category_id": 5, "segmentation": [square]},
            {"image_id": 1, "category_id": 6, "segmentation": [[v + 30 for v in square]]},
        ],
        "categories": [{"id": 5, "name": "pear"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(document))
    (example,) = label_masks(model, find_records(tmp_path), by_category)
    assert example.labels == ("pear",) and example.pooled().shape == (1, 64)


def test_every_fourth_picture_of_a_source_is_held_out(data):
    train, held_out = split(find_records(data))
    assert [(r.source, r.name) for r in held_out] == [(s, n) for s in ("cherries", "plums") for n in ("3", "7")]
    assert len(train) == 12 and not set(train) & set(held_out)
    train, held_out = split(find_records(data), 4)
    assert (len(train), len(held_out)) == (6, 2) and {r.source for r in held_out} == set(COLOURS)


# --- training and use ---------------------------------------------------------------------------------------------


def test_a_head_learns_what_the_frozen_model_sees(model, data, head):
    report = judge(model, head, split(find_records(data))[1])
    assert head.class_names == ("cherries", "plums")
    assert report.masks == 4 and report.majority == 0.5
    assert report.accuracy == 1 and report.per_class == {"cherries": 1, "plums": 1}
    assert 0 <= report.own_masks <= 1


def test_training_leaves_the_model_as_it_was_and_repeats_itself(model, data):
    before = model.weights_hash()
    records = split(find_records(data))[0][::3]
    one, other = (fit_class_head(model, records, steps=5) for _ in range(2))
    assert model.weights_hash() == before and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_class_comes_with_every_mask_of_an_answer(model, data, head):
    embedding = encode(model, find_records(data)[0].image())
    answer = predict(model, embedding, point_coords=[[50, 50]], point_labels=[1])
    classes = classify(model, head, embedding, answer.low_res_logits)
    assert len(classes) == 3
    assert all(name in COLOURS and 0.5 <= probability <= 1 for name, probability in classes)


def test_the_models_own_masks_answer_the_true_ones_boxes(model, data):
    (example,) = label_masks(model, find_records(data)[:1])
    drawn = draw_masks(model, example)
    assert drawn.shape == example.masks.shape and drawn.dtype == torch.bool


def test_a_head_is_stored_with_its_names(tmp_path, head):
    head.save(tmp_path / "head.safetensors")
    loaded = ClassHead.load(tmp_path / "head.safetensors")
    pooled = torch.randn(5, 64)
    assert torch.equal(loaded(pooled), head(pooled)) and not loaded.training
    assert (loaded.class_names, loaded.weights_hash) == (head.class_names, head.weights_hash)


def test_a_file_that_is_no_head_is_named(tmp_path, model):
    model.save(tmp_path / "sam.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("sam", "text"):
        with pytest.raises(ValueError, match=rf"{name}\.safetensors: not a class head"):
            ClassHead.load(tmp_path / f"{name}.safetensors")


def test_an_embedding_of_other_weights_is_refused(data, head):
    torch.manual_seed(1)
    other = SAM.from_variant("tiny", img_size=64, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_heads=1, out_chans=64)
    embedding = encode(other.eval(), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="trained on embeddings of the weights"):
        classify(other, head, embedding, torch.ones(1, 16, 16))


def test_one_class_or_no_mask_is_refused(model, data, tmp_path):
    cherries = [record for record in find_records(data) if record.source == "cherries"][:1]
    with pytest.raises(ValueError, match=r"two classes at least, these are of \['cherries'\]"):
        fit_class_head(model, cherries)
    for act in (fit_class_head, lambda *arguments, **more: judge(arguments[0], None, arguments[1], **more)):
        with pytest.raises(ValueError, match=r"no.* mask"):
            act(model, cherries, label_of=by_category)


def test_the_command_trains_judges_and_writes(model, data, tmp_path, capsys):
    model.save(tmp_path / "sam.safetensors")
    output = tmp_path / "head.safetensors"
    main(["--data", str(data), "--output", str(output), "--checkpoint", f"{tmp_path}/sam.safetensors", "--steps=30"])
    printed = capsys.readouterr().out
    assert "12 pictures to train on, 2 classes" in printed and "right: 100.0%" in printed
    assert ClassHead.load(output).weights_hash == model.weights_hash()
