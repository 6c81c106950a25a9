"""Prediction: state lives in values, threads share a model, and what does not fit is refused."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from sam import ImageEmbedding, SamPredictor, encode, predict
from sam.predictor import ResizeLongestSide, predict_low_res

CLICK = {"point_coords": [[30, 20]], "point_labels": [1]}
BOX = {"box": [10, 5, 70, 50]}


@pytest.fixture(scope="module")
def embedding(small_model, photo) -> ImageEmbedding:
    return encode(small_model, photo)


@pytest.fixture
def predictor(small_model, photo) -> SamPredictor:
    predictor = SamPredictor(small_model)
    predictor.set_image(photo)
    return predictor


def same(left, right) -> None:
    np.testing.assert_allclose(left.low_res_logits, right.low_res_logits, atol=1e-5)
    np.testing.assert_allclose(left.iou_predictions, right.iou_predictions, atol=1e-5)
    np.testing.assert_array_equal(left.masks, right.masks)


# --- values -----------------------------------------------------------------------------------------------------


def test_embedding_knows_its_picture_and_its_weights(embedding, small_model):
    assert embedding.features.shape == (1, 32, 8, 8) and embedding.features.dtype == torch.float32
    assert not embedding.features.requires_grad and not embedding.features.is_inference()
    assert (embedding.frame.original_hw, embedding.frame.resized_hw) == ((60, 90), (85, 128))
    assert (embedding.model_id, embedding.weights_hash) == ("custom", small_model.weights_hash())
    with pytest.raises(FrozenInstanceError):
        embedding.model_id = "other"


@pytest.mark.parametrize("multimask_output", [True, False])
def test_masks_have_the_pictures_size(small_model, embedding, multimask_output):
    answer = predict(small_model, embedding, **CLICK, multimask_output=multimask_output)
    count = 3 if multimask_output else 1
    assert answer.masks.shape == (count, 60, 90) and answer.masks.dtype == bool
    assert answer.low_res_logits.shape == (count, 32, 32) and answer.low_res_logits.dtype == np.float32
    assert answer.iou_predictions.shape == (count,)


def test_low_res_answer_holds_all_tokens_single_mask_first(small_model, embedding):
    logits, iou = predict_low_res(small_model, embedding, **CLICK)
    assert logits.shape == (4, 32, 32) and iou.shape == (4,)
    single = predict(small_model, embedding, **CLICK, multimask_output=False)
    several = predict(small_model, embedding, **CLICK)
    np.testing.assert_array_equal(logits, np.concatenate([single.low_res_logits, several.low_res_logits]))
    np.testing.assert_array_equal(iou, np.concatenate([single.iou_predictions, several.iou_predictions]))


def test_embedding_rebuilt_from_an_array_answers_the_same(small_model, embedding):
    stored = embedding.features.numpy().astype(np.float64)
    stored.setflags(write=False)
    rebuilt = ImageEmbedding.from_array(stored, embedding.frame, embedding.model_id, embedding.weights_hash)
    same(predict(small_model, rebuilt, **CLICK), predict(small_model, embedding, **CLICK))


def test_every_prompt_moves_the_answer(small_model, embedding):
    mask = {"mask_input": np.ones((1, 32, 32), np.float32)}
    prompts = [{}, CLICK, BOX, mask, CLICK | BOX, CLICK | mask, CLICK | BOX | mask]
    answers = [predict_low_res(small_model, embedding, **prompt)[0] for prompt in prompts]
    for index, answer in enumerate(answers):
        assert all(np.abs(answer - other).max() > 1e-4 for other in answers[:index]), prompts[index]


def test_lists_arrays_and_integers_are_the_same_prompt(small_model, embedding):
    as_array = {"point_coords": np.array([[30, 20]], np.int16), "point_labels": np.array([1], np.float32)}
    same(predict(small_model, embedding, **as_array), predict(small_model, embedding, **CLICK))
    same(
        predict(small_model, embedding, box=np.array([[10, 5, 70, 50]])), predict(small_model, embedding, **BOX)
    )  # Meta's examples pass a box as (1, 4)


def test_prediction_works_inside_and_outside_inference_mode(small_model, photo, embedding):
    with torch.inference_mode():
        inside = encode(small_model, photo)
        same(predict(small_model, inside, **CLICK), predict(small_model, embedding, **CLICK))
    same(predict(small_model, inside, **CLICK), predict(small_model, embedding, **CLICK))


def test_threads_share_a_model(small_model):
    pictures = [np.random.default_rng(seed).integers(0, 256, (40 + 8 * seed, 64, 3), np.uint8) for seed in range(6)]

    def segment(picture: np.ndarray):
        return predict(small_model, encode(small_model, picture), point_coords=[[20, 20]], point_labels=[1])

    alone = [segment(picture) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(segment, pictures * 3))
    for index, answer in enumerate(together):
        same(answer, alone[index % len(pictures)])


def test_threads_share_an_embedding(small_model, embedding):
    points = [[[x, y]] for x in range(0, 90, 30) for y in range(0, 60, 20)]
    alone = [predict(small_model, embedding, point, [1]) for point in points]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda point: predict(small_model, embedding, point, [1]), points))
    for left, right in zip(together, alone, strict=True):
        same(left, right)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint16),
        "picture.png",
        None,
    ],
)
def test_anything_but_a_uint8_colour_picture_is_refused(small_model, picture):
    with pytest.raises(ValueError, match=r"uint8 array \(H, W, 3\), got"):
        encode(small_model, picture)


def test_unknown_channel_order_is_refused(small_model, photo):
    with pytest.raises(ValueError, match="HSV"):
        encode(small_model, photo, image_format="HSV")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"point_coords": [[1, 2]]}, "point_coords needs point_labels"),
        ({"point_labels": [1]}, "point_labels needs point_coords"),
        ({"point_coords": [1, 2], "point_labels": [1]}, r"point_coords must have shape \(N, 2\), got \(2,\)"),
        ({"point_coords": [[1, 2, 3]], "point_labels": [1]}, r"got \(1, 3\)"),
        ({"point_coords": [[1, np.nan]], "point_labels": [1]}, "point_coords must be finite"),
        ({"point_coords": [[1, np.inf]], "point_labels": [1]}, "point_coords must be finite"),
        ({"point_coords": [["a", "b"]], "point_labels": [1]}, "point_coords must hold numbers"),
        ({"point_coords": [[1, 2], [3]], "point_labels": [1, 1]}, "point_coords must hold numbers"),
        ({"point_coords": [[1, 2]], "point_labels": [1, 0]}, "2 labels for 1 points"),
        ({"point_coords": [[1, 2]], "point_labels": [[1]]}, r"point_labels must have shape \(N\)"),
        ({"point_coords": [[1, 2]], "point_labels": [2]}, r"point_labels must be .* got \[2.0\]"),
        ({"point_coords": [[1, 2]], "point_labels": [0.5]}, "point_labels must be"),
        ({"box": [1, 2, 3]}, r"box must have shape \(4\), got \(3,\)"),
        ({"box": [1, 2, 3, np.nan]}, "box must be finite"),
        ({"box": [[1, 2, 3, 4], [1, 2, 3, 4]]}, r"got \(8,\)"),
        ({"mask_input": np.zeros((1, 8, 8))}, r"mask_input must have shape \(1, 32, 32\), got \(1, 8, 8\)"),
        ({"mask_input": np.zeros((32, 32))}, r"got \(32, 32\)"),
        ({"mask_input": np.full((1, 32, 32), np.nan)}, "mask_input must be finite"),
    ],
)
def test_prompt_that_does_not_fit_is_refused(small_model, embedding, predictor, prompt, message):
    for ask in (lambda: predict(small_model, embedding, **prompt), lambda: predictor.predict(**prompt)):
        with pytest.raises(ValueError, match=message):
            ask()


def test_embedding_of_other_weights_is_refused(small_config, random_model, embedding):
    other = random_model(small_config, seed=1)
    with pytest.raises(ValueError, match=f"{embedding.weights_hash[:12]}.*{other.weights_hash()[:12]}"):
        predict(other, embedding, **CLICK)


def test_embedding_of_another_shape_is_refused(small_model, embedding):
    features = np.zeros((1, 32, 4, 4), np.float32)
    wrong = ImageEmbedding.from_array(features, embedding.frame, "custom", embedding.weights_hash)
    with pytest.raises(ValueError, match=r"\(1, 32, 4, 4\).*\(1, 32, 8, 8\)"):
        predict(small_model, wrong, **CLICK)


# --- Meta's interface -------------------------------------------------------------------------------------------


def test_predictor_answers_as_the_functions_do(predictor, small_model, embedding):
    masks, iou, low_res = predictor.predict(
        np.array([[30, 20]]), np.array([1]), box=np.array([10, 5, 70, 50]), multimask_output=True
    )
    answer = predict(small_model, embedding, **CLICK, **BOX)
    np.testing.assert_array_equal(masks, answer.masks)
    np.testing.assert_allclose(iou, answer.iou_predictions, atol=1e-5)
    np.testing.assert_allclose(low_res, answer.low_res_logits, atol=1e-5)


def test_masks_are_the_logits_above_the_threshold(predictor):
    masks, _, _ = predictor.predict(**CLICK)
    logits, _, _ = predictor.predict(**CLICK, return_logits=True)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(masks, logits > 0)


def test_predictor_keeps_nothing_but_the_latest_picture(predictor, photo):
    first = predictor.embedding
    predictor.set_image(photo[:30])
    assert predictor.original_size == (30, 90) and predictor.input_size == (43, 128)
    assert predictor.features is predictor.get_image_embedding()
    assert first.frame.original_hw == (60, 90)
    predictor.reset_image()
    assert not predictor.is_image_set
    assert (predictor.features, predictor.original_size, predictor.input_size) == (None, None, None)


def test_predictor_without_a_picture_says_so(small_model, photo):
    predictor = SamPredictor(small_model)
    for ask in (lambda: predictor.predict(**CLICK), predictor.get_image_embedding):
        with pytest.raises(RuntimeError, match="set_image"):
            ask()
    predictor.set_image(photo)
    with pytest.raises(ValueError):
        predictor.set_image(photo[..., :2])
    assert not predictor.is_image_set


def test_bgr_picture_gives_the_embedding_of_its_rgb(predictor, photo):
    rgb = predictor.features
    predictor.set_image(np.ascontiguousarray(photo[..., ::-1]), image_format="BGR")
    assert torch.equal(predictor.features, rgb)


def test_torch_picture_of_the_wrong_size_is_refused(predictor):
    with pytest.raises(ValueError, match=r"\(1, 3, 85, 128\), got \(1, 3, 60, 90\)"):
        predictor.set_torch_image(torch.zeros(1, 3, 60, 90), (60, 90))


def test_a_batch_of_prompts_is_answered_one_by_one(predictor):
    boxes = np.array([[10, 5, 70, 50], [0, 0, 30, 30], [40, 20, 90, 60]])
    moved = predictor.transform.apply_boxes_torch(torch.tensor(boxes), (60, 90))
    masks, iou, low_res = predictor.predict_torch(None, None, moved, multimask_output=False)
    assert masks.shape == (3, 1, 60, 90) and masks.dtype == torch.bool and iou.shape == (3, 1)
    for box, logits in zip(boxes, low_res, strict=True):
        np.testing.assert_allclose(predictor.predict(box=box, multimask_output=False)[2], logits, atol=1e-5)


def test_transform_gives_arrays_and_tensors_the_same_coordinates():
    transform = ResizeLongestSide(1024)
    coords, boxes = np.array([[3.0, 7.0], [100.0, 50.0]]), np.array([1.0, 2.0, 30.0, 40.0])
    moved = transform.apply_coords_torch(torch.tensor(coords), (200, 300))
    np.testing.assert_allclose(moved, transform.apply_coords(coords, (200, 300)), rtol=1e-6)
    moved = transform.apply_boxes_torch(torch.tensor(boxes), (200, 300))
    assert moved.shape == (1, 4)
    np.testing.assert_allclose(moved, transform.apply_boxes(boxes, (200, 300)), rtol=1e-6)
    assert transform.apply_image(np.zeros((200, 300, 3), np.uint8)).shape == (683, 1024, 3)
    assert transform.apply_image_torch(torch.zeros(1, 3, 200, 300)).shape == (1, 3, 683, 1024)


def test_medsam_stretches_the_picture_and_its_prompts(small_config, random_model, photo):
    medsam = random_model({**small_config.to_dict(), "preprocessing": "medsam"})
    predictor = SamPredictor(medsam)
    predictor.set_image(photo)
    assert predictor.input_size == (128, 128)
    np.testing.assert_allclose(predictor.transform.apply_coords(np.array([45.0, 30.0]), (60, 90)), [64, 64])
    resized = predictor.transform.apply_image(photo)
    pixels = medsam.preprocess(torch.tensor(resized.copy()).permute(2, 0, 1)[None].float())
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert predictor.predict(**BOX)[0].shape == (3, 60, 90)
    from_tensor = medsam.encode_image(torch.tensor(photo.copy()).permute(2, 0, 1)[None])
    torch.testing.assert_close(from_tensor.detach(), predictor.features)


def test_picture_resized_by_the_transform_becomes_a_tensor_and_gives_the_same_embedding(predictor, photo):
    resized = torch.as_tensor(predictor.transform.apply_image(photo)).permute(2, 0, 1)[None]
    features = predictor.get_image_embedding()
    predictor.set_torch_image(resized, photo.shape[:2])
    assert torch.equal(predictor.get_image_embedding(), features)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_answers_in_float32(small_config, random_model, photo, dtype):
    model = random_model(small_config)
    prompt = {"point_coords": [[30, 20]], "point_labels": [1], "box": [5, 5, 60, 50]}
    expected = predict(model, encode(model, photo), **prompt)
    mask = expected.low_res_logits[:1] / 100
    model = model.to(dtype)
    embedding = encode(model, photo)
    answer = predict(model, embedding, **prompt)
    assert embedding.features.dtype == torch.float32 and answer.low_res_logits.dtype == np.float32
    close = 0.02 if dtype == torch.float16 else 0.2
    spread = expected.low_res_logits.std()
    assert np.abs(answer.low_res_logits - expected.low_res_logits).mean() < close * spread
    assert predict(model, embedding, mask_input=mask).masks.shape == expected.masks.shape
    batch = {"image": torch.rand(1, 3, 60, 90) * 255, "boxes": torch.tensor([[[5.0, 5, 60, 50]]])}
    with torch.no_grad():
        assert model(batch)["low_res_logits"].dtype == torch.float32
