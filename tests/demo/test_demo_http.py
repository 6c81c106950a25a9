"""The app over HTTP: limits, refusals, headers, bodies that travel, events, and joining."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import threading
from contextlib import ExitStack
from functools import partial

import httpx
import numpy as np
import pytest
import zstandard
from demo_world import Browser, all_wait, client_of, events_in, png, serving
from PIL import Image
from safetensors.numpy import load as load_safetensors

from demo.app import create_app
from demo.pictures import PictureLimits
from demo.service import DemoService, LoadedModel
from sam import predictor

PROBLEM = "application/problem+json"


def metadata_of(body: bytes) -> dict:
    length = int.from_bytes(body[:8], "little")
    return json.loads(body[8 : 8 + length])["__metadata__"]


def refused(answer, status: int, slug: str) -> dict:
    """The problem document, after checking the shape that every refusal shares."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    document = answer.json()
    assert document["type"] == f"/problems/{slug}"
    assert document["status"] == status
    assert document["title"] and document["detail"]
    return document


# ---- upload


def test_an_upload_is_named_by_its_content_and_described(browser, model):
    data = png(90, 60, seed=1)
    answer = browser.post("/api/images", content=data, headers={"Content-Type": "image/png"})
    assert answer.status_code == 201
    reply = answer.json()
    assert reply["id"] == hashlib.sha256(data).hexdigest()
    assert (reply["width"], reply["height"]) == (90, 60)
    assert (reply["resized_width"], reply["resized_height"]) == (1024, 683)
    assert reply["model"] == {"id": "tiny", "weights_hash": model.weights_hash()}
    assert reply["embedding_url"] == f"/api/embeddings/{reply['id']}/{model.weights_hash()}/fp16"


def test_a_picture_that_browsers_cannot_show_comes_back_as_png_upright(browser):
    pixels = np.random.default_rng(3).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(file, "TIFF", exif=exif)
    answer = browser.get(browser.upload(file.getvalue())["picture_url"])
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(Image.open(io.BytesIO(answer.content)), np.rot90(pixels, -1))
    refused(browser.get(f"/api/images/{'0' * 64}/picture"), 404, "unknown-picture")


def test_the_same_bytes_again_are_known(browser):
    first = browser.upload(png(seed=2))
    again = browser.post("/api/images", content=png(seed=2))
    assert again.status_code == 200
    assert again.json() == first


def test_a_multipart_form_and_a_raw_body_are_the_same_picture(browser):
    raw = browser.upload(png(seed=3))
    answer = browser.post("/api/images", files={"file": ("a.png", png(seed=3), "image/png")})
    assert answer.status_code == 200
    assert answer.json()["id"] == raw["id"]


def test_a_form_without_the_field_is_refused(browser):
    answer = browser.post("/api/images", files={"photo": ("a.png", png(), "image/png")})
    assert refused(answer, 422, "bad-request")["fields"] == ["photo"]


def test_a_body_over_the_limit_is_refused_by_its_length(browser, shared_service):
    limit = shared_service.limits.max_bytes
    document = refused(browser.post("/api/images", content=b"x" * (limit + 1)), 413, "too-many-bytes")
    assert (document["limit"], document["given"]) == (limit, limit + 1)


def test_a_body_without_a_length_is_cut_off_at_the_limit(browser, shared_service):
    limit = shared_service.limits.max_bytes

    async def long_body():
        for _ in range(2 + limit // 10_000):
            yield b"x" * 10_000

    document = refused(browser.post("/api/images", content=long_body()), 413, "too-many-bytes")
    assert document["limit"] == limit and "given" not in document


def test_no_more_than_the_limit_is_ever_taken_from_the_wire(shared_service):
    limit, taken = shared_service.limits.max_bytes, 0

    async def receive() -> dict:
        nonlocal taken
        taken += 10_000
        return {"type": "http.request", "body": b"x" * 10_000, "more_body": taken < 10 * limit}

    status = asyncio.run(bare_upload(create_app(shared_service), receive, [(b"content-type", b"image/png")]))
    assert status == 413
    assert taken <= limit + 10_000


def test_an_endless_form_is_cut_off_too(shared_service):
    limit, taken = shared_service.limits.max_bytes, 0
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

    async def receive() -> dict:
        nonlocal taken
        body = head if taken == 0 else b"x" * 10_000
        taken += len(body)
        return {"type": "http.request", "body": body, "more_body": taken < 10 * limit}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    status = asyncio.run(bare_upload(create_app(shared_service), receive, headers))
    assert status == 413
    assert taken <= limit + 100_000


async def bare_upload(app, receive, headers) -> int:
    """POST /api/images at the level of ASGI, where what is read can be counted."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/images",
        "raw_path": b"/api/images",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("test", 1),
        "server": ("test", 80),
    }
    statuses = []

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


def test_too_many_pixels_name_the_limit(browser, shared_service):
    blank = io.BytesIO()
    Image.new("L", (1500, 1000)).save(blank, "PNG")
    document = refused(browser.post("/api/images", content=blank.getvalue()), 413, "too-many-pixels")
    assert (document["limit"], document["given"]) == (shared_service.limits.max_pixels, 1_500_000)


def test_a_damaged_picture_is_refused_and_forgotten(browser):
    broken = png(seed=4)[:200]
    refused(browser.post("/api/images", content=broken), 422, "broken-picture")
    image_id = hashlib.sha256(broken).hexdigest()
    refused(browser.get(f"/api/images/{image_id}/events"), 404, "unknown-picture")


def test_what_is_no_picture_is_refused(browser):
    document = refused(browser.post("/api/images", content=b"<svg/>"), 415, "unsupported-picture")
    assert "PNG" in document["allowed"]


def test_an_address_is_not_fetched(browser):
    answer = browser.post("/api/images", json={"url": "http://127.0.0.1:1/a.png"})
    refused(answer, 415, "unsupported-picture")


# ---- embeddings


def test_the_embedding_is_the_models_own_and_says_what_it_is(browser, model):
    reply = browser.upload(png(80, 50, seed=5))
    half = browser.get(reply["embedding_url"])
    full = browser.get(reply["embedding_url"].replace("fp16", "fp32"))
    assert half.status_code == full.status_code == 200
    wanted = predictor.encode(model, pixels_of(png(80, 50, seed=5))).features.numpy()
    tensors = [load_safetensors(answer.content)["image_embeddings"] for answer in (half, full)]
    assert [tensor.dtype for tensor in tensors] == [np.float16, np.float32]
    assert np.array_equal(tensors[1], wanted)
    assert np.array_equal(tensors[0], wanted.astype(np.float16))
    assert metadata_of(half.content) == {
        "format": "sam-embedding",
        "version": "1",
        "model_id": "tiny",
        "weights_hash": model.weights_hash(),
        "image_id": reply["id"],
        "window": "0,0,80,50",
        "original_height": "50",
        "original_width": "80",
        "resized_height": "640",
        "resized_width": "1024",
        "prompt_frame": "1024",
    }


def pixels_of(data: bytes) -> np.ndarray:
    from demo.pictures import read_picture

    return read_picture(data)


def test_an_embedding_is_immutable_and_revalidates(browser):
    address = browser.upload(png(seed=6))["embedding_url"]
    answer = browser.get(address, headers={"Accept-Encoding": "identity"})
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["vary"] == "Accept-Encoding"
    headers = {"If-None-Match": answer.headers["etag"], "Accept-Encoding": "identity"}
    again = browser.get(address, headers=headers)
    assert (again.status_code, again.content) == (304, b"")


def test_compression_is_negotiated_and_exact(browser):
    address = browser.upload(png(seed=7))["embedding_url"]
    plain = browser.get(address, headers={"Accept-Encoding": "gzip, br, zstd;q=0"})
    packed = browser.get(address, headers={"Accept-Encoding": "gzip, zstd"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "zstd"
    assert packed.headers["etag"] != plain.headers["etag"]
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert packed.content == plain.content or zstandard.decompress(packed.content) == plain.content


def test_the_address_of_other_weights_is_refused(browser, model):
    reply = browser.upload(png(seed=8))
    other = reply["embedding_url"].replace(model.weights_hash(), "0" * 64)
    document = refused(browser.get(other), 409, "other-weights")
    assert document["loaded"] == model.weights_hash()


def test_a_picture_that_was_never_here_is_404(browser, model):
    address = f"/api/embeddings/{'0' * 64}/{model.weights_hash()}/fp16"
    refused(browser.get(address), 404, "unknown-picture")


@pytest.mark.parametrize("address", ["/api/embeddings/zz/yy/fp16", f"/api/images/{'G' * 64}/events"])
def test_an_address_that_is_no_hash_is_refused(browser, address):
    refused(browser.get(address), 422, "bad-request")


def test_an_unknown_precision_is_refused(browser):
    refused(browser.get(browser.upload(png())["embedding_url"].replace("fp16", "int4")), 422, "bad-request")


def test_a_picture_that_made_room_for_others_is_404_and_can_come_back(model):
    room_for_two = 2 * 8_500_000
    service = DemoService(LoadedModel(model), cache_bytes=room_for_two)
    browser = Browser(create_app(service))
    addresses = [browser.upload(png(seed=seed))["embedding_url"] for seed in range(3)]
    assert all(browser.get(address).status_code == 200 for address in addresses[2:])
    refused(browser.get(addresses[0]), 404, "unknown-picture")
    assert service.health().cached_bytes <= room_for_two
    browser.upload(png(seed=0))
    assert browser.get(addresses[0]).status_code == 200
    service.close()


# ---- decoding on the server


def mask_field(logits: np.ndarray) -> str:
    """Logits as the field "mask" carries them."""
    return base64.b64encode(logits.astype("<f2").tobytes()).decode()


MASK = np.random.default_rng(0).normal(0, 8, (1, 256, 256)).astype(np.float16)


def test_a_mask_that_is_fed_back_matters(browser):
    address = browser.upload(png(seed=9))["decode_url"]
    prompts = {"points": [[20, 30]], "labels": [1]}
    without, given = (browser.post(address, json=body) for body in (prompts, prompts | {"mask": mask_field(MASK)}))
    assert given.status_code == 200
    assert given.content != without.content


@pytest.mark.parametrize(
    "prompts",
    [
        {"points": [[20, 30]], "labels": [1]},
        {"points": [[20, 30], [50.5, 10]], "labels": [1, 0]},
        {"points": [], "labels": [], "box": [5, 5, 60, 40]},
        {"points": [[20, 30]], "labels": [0], "box": [5, 5, 60, 40]},
        {"points": [[20, 30], [50.5, 10]], "labels": [1, 0], "mask": mask_field(MASK)},
    ],
)
def test_decoding_on_the_server_is_sam_predict(browser, model, prompts):
    data = png(80, 50, seed=9)
    reply = browser.upload(data)
    answer = browser.post(reply["decode_url"], json=prompts)
    assert answer.status_code == 200, answer.text
    tensors = load_safetensors(answer.content)
    embedding = predictor.encode(model, pixels_of(data))
    arrays = {
        "point_coords": np.array(prompts["points"], np.float32) if prompts["points"] else None,
        "point_labels": np.array(prompts["labels"]) if prompts["points"] else None,
        "box": np.array(prompts["box"], np.float32) if prompts.get("box") else None,
        "mask_input": MASK.astype(np.float32) if prompts.get("mask") else None,
    }
    several = predictor.predict(model, embedding, multimask_output=True, **arrays)
    single = predictor.predict(model, embedding, multimask_output=False, **arrays)
    wanted = np.concatenate([single.low_res_logits, several.low_res_logits])
    assert tensors["low_res_logits"].shape == (4, 256, 256)
    assert np.allclose(tensors["low_res_logits"], wanted, atol=1e-4, rtol=2e-3)
    assert np.allclose(tensors["iou_predictions"], [*single.iou_predictions, *several.iou_predictions], atol=1e-5)
    assert metadata_of(answer.content)["weights_hash"] == model.weights_hash()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "neither a point nor a box"),
        ({"points": [[1, 2]], "labels": []}, "1 points with 0 labels"),
        ({"points": [[1, 2]], "labels": [7]}, "labels.0"),
        ({"points": [[1, 2, 3]], "labels": [1]}, "points.0"),
        ({"points": [[1e9, 2]], "labels": [1]}, "points.0.0"),
        ({"box": [9, 9, 1, 1]}, "x0 <= x1"),
        ({"box": [1, 1, 2]}, "box"),
        ({"points": [[1, 2]] * 257, "labels": [1] * 257}, "256"),
        ({"points": [[1, 2]], "labels": [1], "image_url": "http://a"}, "image_url"),
        ({"mask": mask_field(MASK)}, "neither a point nor a box"),
        ({"points": [[1, 2]], "labels": [1], "mask": "no base64!"}, "mask: not base64"),
        ({"points": [[1, 2]], "labels": [1], "mask": [0.5]}, "mask: not base64"),
        ({"points": [[1, 2]], "labels": [1], "mask": mask_field(MASK[:, :9])}, "4608 bytes; 131072 are needed"),
        ({"points": [[1, 2]], "labels": [1], "mask": mask_field(MASK * np.float16(np.nan))}, "NaN or infinite"),
    ],
)
def test_prompts_that_make_no_sense_are_refused_by_name(browser, body, named):
    address = browser.upload(png())["decode_url"]
    assert named in refused(browser.post(address, json=body), 422, "bad-request")["detail"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"points": [[NaN, 1]], "labels": [1]}'])
def test_prompts_that_are_not_json_are_refused(browser, text):
    refused(browser.post(browser.upload(png())["decode_url"], content=text), 422, "bad-request")


def test_a_long_prompt_body_is_refused(browser):
    answer = browser.post(browser.upload(png())["decode_url"], content=b" " * 270_000)
    assert refused(answer, 413, "too-many-bytes")["limit"] == 262_144


# ---- the model and its decoders


def test_the_model_lists_decoders_that_are_served_by_hash(browser, model):
    reply = browser.get("/api/model").json()
    assert reply["model"] == {"id": "tiny", "weights_hash": model.weights_hash()}
    assert (reply["prompt_frame"], reply["mask_threshold"]) == (1024, 0.0)
    assert reply["embedding_precisions"] == ["fp16", "fp32"]
    assert reply["limits"] == {"max_bytes": 300_000, "max_pixels": 1_000_000}
    assert [decoder["precision"] for decoder in reply["decoders"]] == ["int8", "fp16"]
    for decoder in reply["decoders"]:
        assert (decoder["contract"], decoder["contract_version"]) == ("hover", 2)
        assert {"prepare", "prepare_with_mask", "point"} <= set(decoder["files"])
        for file in decoder["files"].values():
            answer = browser.get(file["url"])
            assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
            assert len(answer.content) == file["bytes"]
            assert "immutable" in answer.headers["cache-control"]


def test_a_graph_travels_packed_as_the_client_wants_it(browser):
    file = browser.get("/api/model").json()["decoders"][0]["files"]["point"]
    kinds = {"identity": "identity", "gzip": "gzip", "zstd": "br, gzip, zstd"}
    answers = {coding: browser.get(file["url"], headers={"Accept-Encoding": kinds[coding]}) for coding in kinds}
    assert [answer.headers.get("content-encoding", "identity") for answer in answers.values()] == list(kinds)
    assert len({answer.headers["etag"] for answer in answers.values()}) == 3
    lengths = {coding: int(answer.headers["content-length"]) for coding, answer in answers.items()}
    assert max(lengths["gzip"], lengths["zstd"]) < lengths["identity"] == file["bytes"]
    assert answers["gzip"].content == answers["identity"].content


def test_a_decoder_with_another_hash_is_404(browser):
    refused(browser.get(f"/api/decoders/{'0' * 64}"), 404, "unknown-decoder")


def test_a_decoder_that_cannot_be_exported_is_left_out(service, monkeypatch):
    monkeypatch.setattr("demo.service.decoders.export_hover_pair", lambda *a, **k: 1 / 0)
    assert Browser(create_app(service)).get("/api/model").json()["decoders"] == []


def test_health_names_the_model_and_the_queue(browser, model):
    health = browser.get("/healthz").json()
    assert health["status"] == "ok"
    assert health["model"]["weights_hash"] == model.weights_hash()
    assert health["encoder"] == {"way": "torch", "seconds": {}} == browser.get("/api/model").json()["encoder"]
    assert health["queue"] == 0


# ---- headers and addresses


@pytest.mark.parametrize("address", ["/", "/healthz", "/nowhere", "/static/nowhere.js", "/api/images/x/events"])
def test_every_answer_has_the_security_headers(browser, address):
    headers = browser.get(address).headers
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "script-src 'self' 'wasm-unsafe-eval';" in policy
    assert "unsafe-inline" not in policy and "http" not in policy


def test_a_fault_of_ours_is_a_problem_with_headers_and_without_details(service, monkeypatch):
    monkeypatch.setattr(service, "health", lambda: 1 / 0)
    answer = Browser(create_app(service)).get("/healthz")
    document = refused(answer, 500, "unexpected")
    assert "ZeroDivision" not in answer.text and "zero" not in document["detail"]
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/healthz", 405),
        ("GET", "/docs", 404),
        ("GET", "/static/../demo/app.py", 404),
    ],
)
def test_the_routers_own_refusals_are_problems_too(browser, method, address, status):
    answer = browser.request(method, address)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert answer.json()["type"] == "about:blank"


def test_static_files_have_types_and_caching(service, tmp_path):
    (tmp_path / "vendor" / "runtime-1.0").mkdir(parents=True)
    (tmp_path / "vendor" / "runtime-1.0" / "a.wasm").write_bytes(b"\0asm")
    (tmp_path / "main.mjs").write_text("export {}")
    (tmp_path / "index.html").write_text("<!doctype html>")
    browser = Browser(create_app(service, static=tmp_path))
    module, wasm = browser.get("/static/main.mjs"), browser.get("/static/vendor/runtime-1.0/a.wasm")
    assert module.headers["content-type"] == "text/javascript; charset=utf-8"
    assert module.headers["cache-control"] == "no-cache"
    assert wasm.headers["content-type"] == "application/wasm"
    assert "immutable" in wasm.headers["cache-control"]
    again = browser.get("/static/main.mjs", headers={"If-None-Match": module.headers["etag"]})
    assert again.status_code == 304
    assert browser.get("/").headers["content-type"].startswith("text/html")


def test_files_travel_in_the_packed_form_that_lies_beside_them(service, tmp_path):
    folder = tmp_path / "vendor" / "runtime-1.0"
    folder.mkdir(parents=True)
    wasm = b"\0asm" * 1000
    (folder / "a.wasm").write_bytes(wasm)
    (folder / "a.wasm.gz").write_bytes(gzip.compress(wasm))
    (folder / "a.wasm.br").write_bytes(b"what the build made of it")
    browser, address = Browser(create_app(service, static=tmp_path)), "/static/vendor/runtime-1.0/a.wasm"
    packed = browser.get(address, headers={"Accept-Encoding": "deflate, gzip;q=0.5"})
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", wasm)
    assert int(packed.headers["content-length"]) < len(wasm)
    plain = browser.get(address, headers={"Accept-Encoding": "br;q=0, gzip;q=0"})
    assert "content-encoding" not in plain.headers and plain.content == wasm
    best = browser.request("HEAD", address, headers={"Accept-Encoding": "gzip, br"})
    assert best.headers["content-encoding"] == "br"
    for answer in (packed, plain, best):
        assert answer.headers["content-type"] == "application/wasm"
        assert answer.headers["vary"] == "Accept-Encoding" and "immutable" in answer.headers["cache-control"]
    assert len({answer.headers["etag"] for answer in (packed, plain, best)}) == 3


def test_texts_of_the_page_are_packed_and_revalidate(service, tmp_path):
    module = tmp_path / "main.js"
    module.write_text("export const same = 'same';\n" * 100)
    browser = Browser(create_app(service, static=tmp_path))
    packed = browser.get("/static/main.js", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and packed.text == module.read_text()
    assert int(packed.headers["content-length"]) < 200
    known = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}
    again = browser.get("/static/main.js", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    module.write_text("export const other = 'other';\n" * 100)
    assert "other" in browser.get("/static/main.js", headers=known).text


def test_a_missing_page_is_a_plain_refusal(service, tmp_path):
    assert Browser(create_app(service, static=tmp_path / "none")).get("/").status_code == 404


# ---- events


def test_events_tell_of_an_encode_until_it_is_done(service):
    """The first picture is held until three events have come of it, the second waits behind it."""
    inner, began, gate = service.model.encode, threading.Event(), threading.Event()
    service.model.encode = lambda pixels: (began.set(), gate.wait(60), inner(pixels))[2]
    service.warm_up = lambda: None  # no decoder graph is needed here
    with serving(create_app(service)) as address, httpx.Client(base_url=address) as client:
        replies = [client.post("/api/images", content=png(seed=seed)).json() for seed in (20, 21)]
        assert began.wait(60)
        with ExitStack() as stack:
            streams = [stack.enter_context(client.stream("GET", reply["events_url"])) for reply in replies]
            assert all(stream.headers["content-type"].startswith("text/event-stream") for stream in streams)
            texts = [stream.iter_text() for stream in streams]
            told = ["", next(texts[1])]
            while told[0].count("event: ") < 3:
                told[0] += next(texts[0])
            gate.set()
            first, second = (events_in(begun + "".join(rest)) for begun, rest in zip(told, texts, strict=True))
    assert [name for name, _ in first] == ["encoding"] * (len(first) - 1) + ["done"]
    elapsed = [data["elapsed_s"] for _, data in first[:-1]]
    assert elapsed == sorted(elapsed) and elapsed[0] < elapsed[2]
    assert second[0] == ("queued", {"position": 1}) and second[-1][0] == "done"
    assert first[-1][1]["seconds"] > 0 and second[-1][1]["seconds"] > 0


def test_events_of_a_finished_picture_are_just_done(browser):
    reply = browser.upload(png(seed=22))
    browser.get(reply["embedding_url"])
    assert [name for name, _ in events_in(browser.get(reply["events_url"]).text)] == ["done"]


def test_a_failed_encode_is_told_and_tried_again_on_the_next_upload(service):
    inner = service.model.encode
    service.model.encode = lambda pixels: 1 / 0
    browser = Browser(create_app(service))
    reply = browser.upload(png(seed=23))
    name, problem = events_in(browser.get(reply["events_url"]).text)[-1]
    assert (name, problem["type"]) == ("failed", "/problems/encode-failed")
    refused(browser.get(reply["embedding_url"]), 500, "encode-failed")
    service.model.encode = inner
    browser.upload(png(seed=23))
    assert browser.get(reply["embedding_url"]).status_code == 200


# ---- many at once


def test_64_parallel_uploads_of_8_pictures_run_8_encodes(service):
    encoded, found = [], service.model.encode(np.zeros((40, 64, 3), np.uint8))
    service.model.encode = lambda pixels: (encoded.append(pixels.shape), found)[1]

    async def visit() -> list:
        async with client_of(create_app(service)) as client:
            upload = partial(client.post, "/api/images")
            replies = await asyncio.gather(*(upload(content=png(64, 40 + i % 8)) for i in range(64)))
            assert sorted({reply.status_code for reply in replies}) == [200, 201]
            assert sum(reply.status_code == 201 for reply in replies) == 8
            return await asyncio.gather(*(client.get(reply.json()["embedding_url"]) for reply in replies))

    bodies = asyncio.run(visit())
    assert len(encoded) == 8
    assert {body.status_code for body in bodies} == {200}
    assert len({body.content for body in bodies}) == 8


def test_the_event_loop_stays_free_while_a_picture_is_encoded(service):
    gate, inner = threading.Event(), service.model.encode
    service.model.encode = lambda pixels: (gate.wait(60), inner(pixels))[1]

    async def visit() -> None:
        async with client_of(create_app(service)) as client:
            reply = (await client.post("/api/images", content=png(seed=30))).json()
            waiting = asyncio.ensure_future(client.get(reply["embedding_url"]))
            await all_wait()
            assert (await client.get("/healthz")).json()["queue"] == 1 and not waiting.done()
            gate.set()
            assert (await waiting).status_code == 200

    asyncio.run(visit())


def test_a_visitor_who_leaves_does_not_take_the_encode_along(service):
    gate, inner = threading.Event(), service.model.encode
    service.model.encode = lambda pixels: (gate.wait(60), inner(pixels))[1]

    async def visit() -> int:
        async with client_of(create_app(service)) as client:
            reply = (await client.post("/api/images", content=png(seed=31))).json()
            leaving, staying = (asyncio.ensure_future(client.get(reply["embedding_url"])) for _ in range(2))
            await all_wait()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            gate.set()
            return (await staying).status_code

    assert asyncio.run(visit()) == 200


def test_a_full_queue_says_when_to_come_back(model, monkeypatch):
    monkeypatch.setattr("demo.service.pictures.WAITING_BYTES", 32_000_000)  # half of it for one visitor
    service = DemoService(LoadedModel(model), limits=PictureLimits())
    gate, inner = threading.Event(), service.model.encode
    service.model.encode = lambda pixels: (gate.wait(60), inner(pixels))[1]
    browser = Browser(create_app(service))
    for seed in (40, 41):
        browser.upload(png(seed=seed))
    answer = browser.post("/api/images", content=png(seed=42))
    gate.set()
    document = refused(answer, 503, "busy")
    assert int(answer.headers["retry-after"]) == document["retry_after_s"] > 0
    image_id = hashlib.sha256(png(seed=42)).hexdigest()
    refused(browser.get(f"/api/images/{image_id}/events"), 404, "unknown-picture")
    service.close()


def test_the_icon_is_where_pages_look_for_it_unasked(browser):
    answer = browser.get("/favicon.ico")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("image/svg+xml")
