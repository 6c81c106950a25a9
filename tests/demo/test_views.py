"""Closer views over real HTTP: encoded by themselves, on a grid, never in the way of pictures."""

import io
import json
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from demo_world import Browser, png, wait_until
from PIL import Image
from safetensors.numpy import load as load_safetensors

from demo.app import create_app
from demo.service import DemoService, LoadedModel
from sam import predictor
from sam.large import LargePicture
from sam.masks import decompress_counts, rle_decode

WIDTH, HEIGHT = 400, 300
VIEW = (128, 64, 128, 128)
PICTURE = png(WIDTH, HEIGHT, seed=3)


@pytest.fixture
def picture(browser) -> dict:
    return browser.upload(PICTURE)


def view_of(browser: Browser, picture: dict, window: tuple[int, ...]):
    return browser.get(picture["views_url"].format(view=",".join(map(str, window))))


def pixels() -> np.ndarray:
    return np.array(Image.open(io.BytesIO(PICTURE)))


def cropped(window: tuple[int, ...]) -> np.ndarray:
    x, y, width, height = window
    return pixels()[y : y + height, x : x + width]


def test_a_view_is_the_window_encoded_by_itself(browser, picture, model):
    reply = view_of(browser, picture, VIEW).json()
    assert (tuple(reply["window"]), reply["resized_width"], reply["resized_height"]) == (VIEW, 1024, 1024)
    assert reply["seconds"] > 0 and reply["model"] == picture["model"]
    body = browser.get(reply["embedding_url"]).content
    wanted = predictor.encode(model, cropped(VIEW)).features.numpy()
    assert np.array_equal(load_safetensors(body)["image_embeddings"], wanted.astype(np.float16))
    metadata = json.loads(body[8 : 8 + struct.unpack("<Q", body[:8])[0]])["__metadata__"]
    assert metadata["window"] == "128,64,128,128" and metadata["image_id"] == picture["id"]


def test_a_views_embedding_is_immutable_and_no_other_pictures(browser, picture):
    address = view_of(browser, picture, VIEW).json()["embedding_url"]
    first, whole = browser.get(address), browser.get(picture["embedding_url"])
    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert first.headers["etag"] != whole.headers["etag"] and first.content != whole.content
    assert browser.get(address, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_the_view_of_everything_is_the_picture_itself(browser, picture):
    reply = view_of(browser, picture, (0, 0, WIDTH, HEIGHT)).json()
    assert browser.get(reply["embedding_url"]).content == browser.get(picture["embedding_url"]).content


@pytest.mark.parametrize(
    ("window", "nearest"),
    [
        ((130, 64, 128, 128), [128, 64, 128, 128]),
        ((64, 64, 128, 100), [64, 64, 128, 128]),
        ((0, 0, 64, 64), [0, 0, 128, 128]),
        ((390, 290, 128, 128), [272, 172, 128, 128]),
        ((999999, 0, 128, 128), [272, 0, 128, 128]),
        ((0, 0, 0, 0), [0, 0, 128, 128]),
    ],
)
def test_what_is_no_view_is_refused_naming_the_nearest(browser, picture, window, nearest):
    answer = view_of(browser, picture, window)
    document = answer.json()
    assert (answer.status_code, document["type"]) == (422, "/problems/unfit-view")
    assert document["nearest"] == nearest and f"{WIDTH} x {HEIGHT}" in document["detail"]
    assert view_of(browser, picture, nearest).status_code == 200


@pytest.mark.parametrize("address", ["1,2,3", "a,b,c,d", "-1,0,128,128", "1e9,0,1,1"])
def test_an_address_that_names_no_window_is_refused(browser, picture, address):
    answer = browser.get(picture["views_url"].format(view=address))
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad-request")


def test_the_view_of_a_picture_that_is_not_here_is_404(browser, model):
    for address in (f"/api/images/{'0' * 64}/views/0,0,128,128",):
        assert browser.get(address).json()["type"] == "/problems/unknown-picture"


def test_a_view_is_encoded_once_and_shared(service, model):
    encodes = []
    service.model.encode = lambda pixels: (encodes.append(pixels.shape), predictor.encode(model, pixels))[1]
    browser = Browser(create_app(service))
    picture = browser.upload(PICTURE)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: view_of(browser, picture, VIEW).status_code, range(4)))
    assert replies == [200] * 4
    assert encodes == [(HEIGHT, WIDTH, 3), (128, 128, 3)]


def test_views_wait_behind_pictures_and_are_bounded_per_picture(service, model):
    order, gate = [], threading.Event()

    def encode(pixels):
        order.append(pixels.shape[1])
        if pixels.shape[1] == 128:
            gate.wait(300)
        return predictor.encode(model, pixels)

    service.model.encode = encode
    browser = Browser(create_app(service))
    picture = browser.upload(PICTURE)
    browser.get(picture["embedding_url"])
    with ThreadPoolExecutor(4) as pool:
        views = [pool.submit(view_of, browser, picture, (x, 0, 128, 128)) for x in (0, 64)]
        [lane] = service._views.lanes
        wait_until(lambda: order == [WIDTH, 128] and len(lane) == 2)  # one is being encoded, the other waits for it
        third = view_of(browser, picture, (128, 0, 128, 128))
        assert (third.status_code, third.json()["type"]) == (503, "/problems/busy")
        assert int(third.headers["retry-after"]) > 0
        others = [browser.upload(png(200 + at, 100)) for at in range(2)]
        gate.set()
        assert [view.result().status_code for view in views] == [200, 200]
        assert all(browser.get(other["embedding_url"]).status_code == 200 for other in others)
    assert order[:3] == [WIDTH, 128, 200], "a picture that came meanwhile goes before the next view"
    assert sorted(order[3:]) == [128, 201]


def test_an_encode_of_a_view_that_fails_is_tried_again(service, model):
    failures = iter([RuntimeError("no memory")])

    def encode(pixels):
        if pixels.shape[1] == 128 and (error := next(failures, None)):
            raise error
        return predictor.encode(model, pixels)

    service.model.encode = encode
    browser = Browser(create_app(service))
    picture = browser.upload(PICTURE)
    assert view_of(browser, picture, VIEW).json()["type"] == "/problems/encode-failed"
    assert view_of(browser, picture, VIEW).status_code == 200


def test_whoever_zooms_about_costs_nobody_a_picture(model):
    service = DemoService(LoadedModel(model), cache_bytes=4 * 8_500_000)
    browser = Browser(create_app(service))
    first = browser.upload(PICTURE)
    second = browser.upload(png(50, 40))
    for x in range(0, 257, 64):
        assert view_of(browser, first, (x, 0, 128, 128)).status_code == 200
    assert browser.get(second["embedding_url"]).status_code == 200
    assert 3 * 8_000_000 < service.health().cached_bytes <= 4 * 8_500_000, "two pictures and one view"
    service.close()


# ---- prompts


def predict(browser: Browser, picture: dict, **request) -> list[dict]:
    answer = browser.post(picture["predict_url"], json=request)
    assert answer.status_code == 200, answer.text
    return [best for (best,) in answer.json()["answers"]]


def mask_of(reply: dict) -> np.ndarray:
    return rle_decode({"size": reply["mask"]["size"], "counts": decompress_counts(reply["mask"]["counts"])})


@pytest.mark.parametrize(
    "prompt",
    [{"points": [[180, 130]], "labels": [1]}, {"box": [170, 110, 200, 140]}, {"points": [[3, 3]], "labels": [1]}],
)
def test_what_is_shown_decides_the_view_as_in_the_library(browser, picture, model, prompt):
    shown = (140, 90, 100, 80)
    (reply,) = predict(browser, picture, prompts=[prompt], shown=shown)
    asked = {"box": prompt["box"]} if "box" in prompt else {"point_coords": prompt["points"], "point_labels": [1]}
    wanted = LargePicture(model, pixels()).predict(**asked, shown=shown)
    assert reply["view"] == (None if wanted.view.window == (0, 0, WIDTH, HEIGHT) else list(wanted.view.window))
    x, y, width, height = wanted.window
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = wanted.crop()
    assert (mask_of(reply) != mask).mean() < 1e-3  # the library enlarges only where an edge may be
    assert reply["box"] == pytest.approx([x, y, x + width, y + height], abs=1)


def test_without_what_is_shown_the_whole_picture_answers(browser, picture):
    (reply,) = predict(browser, picture, prompts=[{"box": [170, 110, 200, 140]}])
    assert reply["view"] is None


def test_a_mask_is_corrected_in_the_view_that_it_was_seen_in(browser, picture, model):
    click = {"points": [[180, 130]], "labels": [1], "view": VIEW}
    (first,) = predict(browser, picture, prompts=[click], format="logits")
    assert first["view"] == list(VIEW)
    more = {"points": [[180, 130], [200, 140]], "labels": [1, 0], "view": VIEW, "mask": first["mask"]}
    (second,) = predict(browser, picture, prompts=[more], shown=(0, 0, WIDTH, HEIGHT), format="logits")
    assert second["view"] == list(VIEW) and second["mask"] != first["mask"]


def test_decoding_in_a_view_is_what_the_browser_computes_there(browser, picture, model):
    body = {"points": [[180, 130]], "labels": [1], "view": VIEW}
    tensors = load_safetensors(browser.post(picture["decode_url"], json=body).content)
    wanted, _ = predictor.predict_low_res(model, predictor.encode(model, cropped(VIEW)), [[52, 66]], [1])
    np.testing.assert_allclose(tensors["low_res_logits"], wanted, atol=0.05)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"points": [[5, 5]], "labels": [1], "view": VIEW}, "bad-request"),
        ({"points": [[180, 130]], "labels": [1], "view": [129, 64, 128, 128]}, "unfit-view"),
        ({"points": [[180, 130]], "labels": [1], "view": [0, 0, 500]}, "bad-request"),
    ],
)
def test_prompts_that_fit_no_view_are_refused(browser, picture, body, kind):
    answer = browser.post(picture["decode_url"], json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{kind}")
    if kind == "bad-request":
        assert "view" in answer.json()["detail"]


def test_prompts_outside_the_picture_have_no_view(browser, picture):
    request = {"prompts": [{"points": [[500, 10]], "labels": [1]}], "shown": [0, 0, 100, 100]}
    answer = browser.post(picture["predict_url"], json=request)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unfit-view")
