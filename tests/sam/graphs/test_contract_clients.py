"""Every frontend's own steps, on files exported for it, give the predictor's masks: inputs built and outputs read as
its client does it."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sam import encode, predict
from sam.export import export_decoder, export_encoder
from sam.graphs.contracts import ends, paste
from sam.transforms import masks_to_original, resize_image

CLICK, SECOND, BACKGROUND = (30, 20), (62, 41), (5, 50)
MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])


@pytest.fixture(scope="module")
def model(small_config, random_model):
    """A small SAM whose masks cover a fifth to four fifths of the picture: nearly empty ones all look the same."""
    return random_model(small_config, seed=116)


@pytest.fixture(scope="module")
def decoder(model):
    """A session on the small model's decoder for a frontend."""
    return lambda contract: onnxruntime.InferenceSession(export_decoder(model, contract).bytes)


@pytest.fixture(scope="module")
def encoder(model):
    """A session on the small model's encoder for a frontend."""
    return lambda contract: onnxruntime.InferenceSession(export_encoder(model, contract).bytes)


@pytest.fixture(scope="module")
def embedding(model, photo):
    return encode(model, photo)


@pytest.fixture
def expected(model, embedding):
    """The predictor's masks."""

    def masks(points=(), labels=(), **others):
        clicks = {"point_coords": np.array(points), "point_labels": np.array(labels)} if len(points) else {}
        return predict(model, embedding, **clicks, **others)

    return masks


def best(masks):
    """The mask that the predictor itself thinks most of."""
    return masks.masks[masks.iou_predictions.argmax()]


def assert_same_mask(ours, theirs):
    """Equal but for a few pixels where a logit is 0 within rounding."""
    assert (ours.astype(bool) != theirs.astype(bool)).sum() <= 3


def scaled(model, points, shape):
    """Pixels of the picture times long side over long side, as pages do it; the small frame has 128."""
    return np.float32(points) * (model.config.image_size / max(shape[:2]))


def no_mask(model):
    return {
        "mask_input": np.zeros((1, 1, *model.config.low_res_hw), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
    }


def with_padding(points, labels):
    return (
        np.concatenate([np.float32(points), np.zeros((1, 2), np.float32)])[None],
        np.float32([*labels, -1])[None],
    )


def normalised(model, photo):
    """What labelme, EdgeSAM's tools and samexporter do: resize, mean and deviation, then zeros to a square."""
    resized = resize_image(photo, model.frame(photo.shape[:2])).astype(np.float32)
    height, width = model.config.image_encoder.input_hw
    picture = np.pad((resized - MEAN) / STD, ((0, height - resized.shape[0]), (0, width - resized.shape[1]), (0, 0)))
    return picture.transpose(2, 0, 1)[None].astype(np.float32)


def resized_masks(model, low_res, shape):
    """What EdgeSAM's tools and samexporter do with low-resolution logits: up, cut, up to the picture."""
    return masks_to_original(torch.from_numpy(low_res), model.frame(shape[:2])).numpy()


def test_masks_that_are_compared_here_are_neither_empty_nor_everything(expected):
    for masks in (expected([CLICK], [1]), expected(box=np.array([12, 8, 70, 50]))):
        assert 0.2 < masks.masks.mean((1, 2)).min() < masks.masks.mean((1, 2)).max() < 0.8


# --- official --------------------------------------------------------------------------------------------------------


def ask_official(model, session, embedding, points, labels, **mask):
    coords, labels = np.float32(points)[None], np.float32(labels)[None]
    height_width = np.float32(embedding.frame.original_hw)
    feeds = {"image_embeddings": embedding.features.numpy(), "point_coords": coords, "point_labels": labels}
    return session.run(None, feeds | no_mask(model) | mask | {"orig_im_size": height_width})


def test_metas_web_demo_shows_the_predictors_best_mask_for_a_click(model, decoder, embedding, expected, photo):
    coords, labels = with_padding(scaled(model, [CLICK], photo.shape), [1])  # it pads where there is no box
    masks, *_ = ask_official(model, decoder("official"), embedding, coords[0], labels[0])
    assert_same_mask(masks[0, 0] > 0, best(expected([CLICK], [1])))


def test_metas_web_demo_shows_the_single_mask_for_two_clicks(model, decoder, embedding, expected, photo):
    coords, labels = with_padding(scaled(model, [CLICK, BACKGROUND], photo.shape), [1, 0])
    masks, *_ = ask_official(model, decoder("official"), embedding, coords[0], labels[0])
    (single,) = expected([CLICK, BACKGROUND], [1, 0], multimask_output=False).masks
    assert_same_mask(masks[0, 0] > 0, single)


def test_box_without_padding_gets_the_ambiguous_choice(model, decoder, embedding, expected, photo):
    corners = scaled(model, [(12, 8), (70, 50)], photo.shape)
    masks, *_ = ask_official(model, decoder("official"), embedding, corners, [2, 3])
    assert_same_mask(masks[0, 0] > 0, best(expected(box=np.array([12, 8, 70, 50]))))


def test_a_mask_that_is_fed_back_refines_as_in_the_predictor(model, decoder, embedding, expected, photo):
    session = decoder("official")
    coords, labels = with_padding(scaled(model, [CLICK], photo.shape), [1])
    _, _, low_res = ask_official(model, session, embedding, coords[0], labels[0])
    coords, labels = with_padding(scaled(model, [CLICK, SECOND], photo.shape), [1, 1])
    fed_back = {"mask_input": low_res, "has_mask_input": np.ones(1, np.float32)}
    masks, *_ = ask_official(model, session, embedding, coords[0], labels[0], **fed_back)
    (single,) = expected([CLICK, SECOND], [1, 1], mask_input=low_res[0], multimask_output=False).masks
    assert_same_mask(masks[0, 0] > 0, single)


def test_runtimes_own_javascript_example_reads_one_mask_of_the_frame(model, decoder, embedding):
    side = model.config.image_size
    feeds = {
        "image_embeddings": embedding.features.numpy(),
        "point_coords": np.float32([[[40, 30]]]),  # no padding
        "point_labels": np.float32([[1]]),
        **no_mask(model),
        "orig_im_size": np.float32([side, side]),
    }
    (masks,) = decoder("official").run(["masks"], feeds)  # toImageData: one mask, or a picture of the wrong height
    assert masks.shape == (1, 1, side, side) and masks.dtype == np.float32


# --- official-multi --------------------------------------------------------------------------------------------------


def test_samexporter_hands_the_resized_picture_over_and_unpacks_three_outputs(model, encoder, decoder, photo):
    session, resized = encoder("official-multi"), resize_image(photo, model.frame(photo.shape[:2]))
    (entry,) = session.get_inputs()
    assert len(entry.shape) == 3  # by which it knows that the graph normalises
    features = session.run(None, {entry.name: resized.astype(np.float32)})[0]
    coords, labels = with_padding(scaled(model, [(12, 8), (70, 50)], photo.shape), [2, 3])  # pads a box too
    masks, iou_predictions, low_res_masks = decoder("official-multi").run(
        None,
        {
            "image_embeddings": features,
            "point_coords": coords,
            "point_labels": labels,
            **no_mask(model),
            "orig_im_size": np.float32(resized.shape[:2]),  # (684, 1024): the size of its encoder's input
        },
    )
    tokens = model.mask_decoder.num_mask_tokens
    assert masks.shape == (1, tokens, *resized.shape[:2]) and iou_predictions.shape == (1, tokens)
    frame = model.frame(photo.shape[:2])
    with torch.no_grad():
        points = torch.from_numpy(coords), torch.from_numpy(labels)
        sparse = model.prompt_encoder.embed_points(*points)
        dense = model.prompt_encoder.embed_no_mask(1)
        positions = model.prompt_encoder.get_dense_pe()
        features = encode(model, photo).features
        logits, _ = model.mask_decoder.predict_masks(features, positions, sparse, dense)
    upscaled = F.interpolate(logits, frame.padded_hw, mode="bilinear")[..., : resized.shape[0], : resized.shape[1]]
    np.testing.assert_allclose(low_res_masks, logits, rtol=0, atol=1e-3)
    np.testing.assert_allclose(masks, upscaled, rtol=0, atol=1e-3)


# --- labelme ---------------------------------------------------------------------------------------------------------


def test_labelme_paints_the_mask_of_its_own_blend(model, encoder, decoder, photo):
    session = encoder("labelme")
    height, width = session.get_inputs()[0].shape[2:]  # it asks the encoder for its size
    assert (height, width) == model.config.image_encoder.input_hw
    features = session.run(None, {"x": normalised(model, photo)})[0]
    frame = model.frame(photo.shape[:2])
    coords, labels = with_padding(frame.points_to_model([CLICK]), [1])
    feeds = {"image_embeddings": features, "point_coords": coords, "point_labels": labels, **no_mask(model)}
    feeds |= {"has_mask_input": np.float32([-1]), "orig_im_size": np.float32(photo.shape[:2])}
    masks, _, low_res = decoder("labelme").run(None, feeds)
    expected = blend(model, torch.from_numpy(features), coords, labels, has=-1)
    np.testing.assert_allclose(low_res[0, 0], expected, rtol=0, atol=1e-3)
    upscaled = resized_masks(model, low_res, photo.shape)
    assert_same_mask(masks[0, 0] > 0.0, upscaled[0, 0] > 0)
    unmasked = blend(model, torch.from_numpy(features), coords, labels, has=0)
    assert (expected - unmasked).abs().max() > 1e-2  # a branch on has > 0 would give this


@torch.no_grad()
def blend(model, features, coords, labels, has):
    """PyTorch's best mask where the empty mask is taken `has` times, and no mask 1 - `has` times."""
    parts, empty = model.prompt_encoder, torch.zeros(1, 1, *model.config.low_res_hw)
    dense = has * parts.mask_downscaling(empty) + (1 - has) * parts.embed_no_mask(1)
    sparse = parts.embed_points(torch.from_numpy(coords), torch.from_numpy(labels))
    logits, iou = model.mask_decoder.predict_masks(features, parts.get_dense_pe(), sparse, dense)
    return logits[0, 1 + int(iou[0, 1:].argmax())]


# --- CVAT ------------------------------------------------------------------------------------------------------------


def ask_cvat(model, session, embedding, clicks, labels, low_res=None):
    """CVAT's worker: clicks as they are, the answer by name, the mask as bytes to paste at its bounds."""
    mask = {} if low_res is None else {"mask_input": low_res, "has_mask_input": np.ones(1, np.float32)}
    names = [output.name for output in session.get_outputs()]
    answers = ask_official(
        model, session, embedding, scaled(model, clicks, embedding.frame.original_hw), labels, **mask
    )
    results = dict(zip(names, answers, strict=True))
    left, top, right, bottom = (int(results[side].reshape(-1)[0]) for side in ("xtl", "ytl", "xbr", "ybr"))
    canvas = np.zeros(embedding.frame.original_hw, np.uint8)
    width = right - left + 1
    canvas[top : bottom + 1, left : right + 1] = results["masks"].reshape(-1, width)
    return canvas, results


def test_cvat_pastes_the_predictors_mask_for_a_click(model, decoder, embedding, expected):
    canvas, results = ask_cvat(model, decoder("cvat"), embedding, [CLICK], [1])
    assert_same_mask(canvas, best(expected([CLICK], [1])))
    assert results["masks"].dtype == np.uint8 and set(np.unique(results["masks"])) <= {0, 1}
    rows, columns = np.nonzero(canvas)
    bounds = [int(results[side]) for side in ("xtl", "ytl", "xbr", "ybr")]
    assert bounds == [columns.min(), rows.min(), columns.max(), rows.max()]


def test_cvat_feeds_the_mask_back_with_the_next_click(model, decoder, embedding, expected):
    session = decoder("cvat")
    _, first = ask_cvat(model, session, embedding, [CLICK], [1])
    low_res = first["low_res_masks"]
    canvas, _ = ask_cvat(model, session, embedding, [CLICK, BACKGROUND], [1, 0], low_res)
    prompt = expected([CLICK, BACKGROUND], [1, 0], mask_input=low_res[0], multimask_output=False)
    assert_same_mask(canvas, prompt.masks[0])


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_ends_are_the_first_and_the_last_painted_place_or_the_whole(painted):
    first, last = (int(end) for end in ends(torch.tensor(painted).float()))
    places = [place for place, is_painted in enumerate(painted) if is_painted] or [0, len(painted) - 1]
    assert (first, last) == (places[0], places[-1])


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_cut_out_masks_paste_back_to_what_they_were(height, width, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width)), np.uint8)
    mask = mask.reshape(1, 1, height, width)
    left, right = ends(torch.from_numpy(mask[0, 0].max(0)).float())
    top, bottom = ends(torch.from_numpy(mask[0, 0].max(1)).float())
    box = {"xtl": left, "ytl": top, "xbr": right, "ybr": bottom}
    cut = {"masks": mask[:, :, top : bottom + 1, left : right + 1], "iou_predictions": 0, "low_res_masks": 0, **box}
    np.testing.assert_array_equal(paste({"orig_im_size": np.float32([height, width])}, cut)["masks"], mask)


# --- transformers.js -------------------------------------------------------------------------------------------------


def test_transformers_js_gets_three_masks_for_every_prompt_of_every_picture(model, encoder, decoder, photo):
    pictures = [photo, np.ascontiguousarray(photo[:, ::-1])]
    pixels = np.concatenate([normalised(model, picture) for picture in pictures])
    seen = dict(
        zip(
            ("image_embeddings", "image_positional_embeddings"),
            encoder("transformers-js").run(None, {"pixel_values": pixels}),
            strict=True,
        )
    )
    points = np.array([[[CLICK, BACKGROUND], [SECOND, CLICK], [BACKGROUND, SECOND]]] * 2)
    labels = np.array([[[1, 0], [1, 1], [0, 1]]] * 2, np.int64)
    feeds = {"input_points": scaled(model, points, photo.shape), "input_labels": labels, **seen}
    iou_scores, pred_masks = decoder("transformers-js").run(["iou_scores", "pred_masks"], feeds)
    assert pred_masks.shape == (2, 3, 3, *model.config.low_res_hw) and iou_scores.shape == (2, 3, 3)
    for index, picture in enumerate(pictures):
        embedding = encode(model, picture)
        for prompt in range(3):
            answer = predict(model, embedding, points[index, prompt], labels[index, prompt])
            np.testing.assert_allclose(pred_masks[index, prompt], answer.low_res_logits, rtol=0, atol=1e-3)
            np.testing.assert_allclose(iou_scores[index, prompt], answer.iou_predictions, rtol=0, atol=1e-3)


# --- EdgeSAM ---------------------------------------------------------------------------------------------------------


def test_edgesams_tools_read_scores_first_and_resize_the_masks_themselves(model, encoder, decoder, photo):
    features = encoder("edgesam").run(None, {"image": normalised(model, photo)})[0]
    coords = model.frame(photo.shape[:2]).points_to_model([CLICK, (0, 0)])[None].astype(np.float32)
    outputs = decoder("edgesam").run(
        None, {"image_embeddings": features, "point_coords": coords, "point_labels": np.float32([[1, -1]])}
    )
    scores, low_res = outputs[0], outputs[1]
    masks = resized_masks(model, low_res, photo.shape) > 0
    answer = predict(model, encode(model, photo), np.array([CLICK]), np.array([1]))
    np.testing.assert_allclose(scores[0, 1:], answer.iou_predictions, rtol=0, atol=1e-3)
    assert_same_mask(masks[0, 1:], answer.masks)
