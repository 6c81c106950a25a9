"""Models over HTTP: chosen by id in every route, loaded again without a word, downloaded after a yes and not before."""

import asyncio
import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import torch
from demo_world import LIMITS, Browser, client_of, events_in, png, wait_until
from file_server import file_server, page, ranges, status, whole
from safetensors.numpy import load as read_tensors

from demo.app import create_app
from demo.service import DemoService, LoadedModel, ModelShelf, Offer
from demo.service.offers import offers_of
from sam import SAM, load_sam
from sam.hub import downloads
from sam.hub.published import Published, RemoteFile

OTHER, THIRD = "other", "third"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Three models of the variant tiny with random weights, and what is no model."""
    folder, files = tmp_path_factory.mktemp("models"), {}
    for seed, name in enumerate(("one", OTHER, THIRD)):
        torch.manual_seed(seed)
        files[name] = folder / f"{name}.safetensors"
        SAM.from_variant("tiny").eval().save(files[name])
    files["broken"] = folder / "broken.pth"
    files["broken"].write_bytes(b"no weights")
    return files


@pytest.fixture
def world(files):
    """The application over the models, the first of them loaded, with room for one more."""
    made = []

    def build(*more: Offer, downloads: bool = False) -> Browser:
        first = LoadedModel(load_sam(files["one"]))
        offers = [*offers_of(map(str, files.values())), *more]
        shelf = ModelShelf(offers, _load, max_bytes=int(2.5 * first.bytes), downloads=downloads)
        service = DemoService(first, shelf=shelf, limits=LIMITS)
        made.append(service)
        browser = Browser(create_app(service))
        browser.service = service
        return browser

    yield build
    for service in made:
        service.close()


def _load(offer: Offer) -> LoadedModel:
    return LoadedModel(load_sam(offer.source))


def offer_of(browser: Browser, model: str) -> dict:
    return next(each for each in browser.get("/api/models").json()["models"] if each["id"] == model)


def make_room(browser: Browser) -> None:
    """Load the third model, for which the other one goes as soon as nobody uses it."""
    browser.post(f"/api/models/{THIRD}/load")
    browser.get(f"/api/models/{THIRD}/events")
    assert offer_of(browser, THIRD)["state"] == "loaded"
    wait_until(lambda: offer_of(browser, OTHER)["state"] == "on_disk")


def type_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.json()["type"].removeprefix("/problems/")


# ---- which model --------------------------------------------------------------------------------------


def test_the_list_tells_what_there_is_and_how_it_stands(world, files):
    models = world().get("/api/models").json()["models"]
    assert [(each["id"], each["state"], each["default"]) for each in models] == [
        ("one", "loaded", True),
        (OTHER, "on_disk", False),
        (THIRD, "on_disk", False),
        ("broken", "on_disk", False),
    ]
    assert models[0]["bytes"] == files["one"].stat().st_size


def test_who_names_no_model_gets_the_first_and_addresses_without_one(world):
    browser = world()
    reply = browser.upload(png(seed=1))
    assert "?" not in reply["events_url"] + reply["predict_url"] + reply["everything_url"] + reply["decode_url"]
    assert reply["model"] == browser.get("/api/model").json()["model"]
    assert browser.get("/api/model").json()["id"] == "one"
    assert offer_of(browser, OTHER)["state"] == "on_disk"


def test_each_model_answers_as_itself_from_one_upload(world, files):
    browser = world()
    first = browser.upload(png(seed=2))
    second = browser.get(f"/api/images/{first['id']}?model={OTHER}").json()
    assert second["id"] == first["id"] and second["model"] != first["model"]
    assert offer_of(browser, OTHER)["state"] == "loaded"
    click, seen = {"points": [[30, 20]], "labels": [1]}, []
    for reply, name in ((first, "one"), (second, OTHER)):
        assert events_in(browser.get(reply["events_url"]).text)[-1][0] == "done"
        seen.append(read_tensors(browser.get(reply["embedding_url"]).content)["image_embeddings"])
        assert browser.post(reply["decode_url"], json=click).status_code == 200
        answer = browser.post(reply["predict_url"], json={"prompts": [click]}).json()
        assert answer["model"]["weights_hash"] == load_sam(files[name]).weights_hash() == reply["model"]["weights_hash"]
        found = browser.post(reply["everything_url"], json={"preset": "few", "points_per_side": 1})
        assert events_in(found.text)[-1][0] == "done"
    assert abs(seen[0] - seen[1]).max() > 0.1, "two models saw the same"
    assert browser.get("/healthz").json()["cached_pictures"] == 1, "the file is kept once"


def test_a_picture_may_be_uploaded_for_a_model_at_once(world):
    browser = world()
    answer = browser.post(f"/api/images?model={OTHER}", content=png(seed=3))
    assert answer.status_code == 201 and answer.json()["events_url"].endswith(f"?model={OTHER}")
    assert browser.post("/api/images", content=png(seed=3)).status_code == 200, "the picture is here already"


def test_a_model_that_made_room_is_loaded_again_for_whoever_has_its_addresses(world):
    browser = world()
    reply = browser.upload(png(seed=4))
    other = browser.get(f"/api/images/{reply['id']}?model={OTHER}").json()
    browser.get(other["embedding_url"])
    make_room(browser)
    second = browser.upload(png(seed=5))
    address = f"/api/embeddings/{second['id']}/{other['model']['weights_hash']}/fp16"
    assert browser.get(address).status_code == 200
    answer = browser.post(
        f"/api/images/{second['id']}/predict?model={OTHER}", json={"prompts": [{"box": [0, 0, 9, 9]}]}
    )
    assert answer.json()["model"] == other["model"]


def test_the_decoder_of_a_model_that_made_room_is_still_served(world):
    browser = world()
    described = browser.get(f"/api/models/{OTHER}").json()
    assert described["id"] == OTHER
    make_room(browser)
    file = described["decoders"][0]["files"]["point"]
    answer = browser.get(file["url"])
    assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("POST", "/api/images?model=nobody"),
        ("GET", "/api/models/nobody"),
        ("POST", "/api/models/nobody/load"),
        ("POST", "/api/models/nobody/download"),
        ("DELETE", "/api/models/nobody/download"),
        ("GET", "/api/models/nobody/events"),
    ],
)
def test_a_model_that_nobody_offers_is_refused_with_what_there_is(world, method, address):
    answer = world().request(method, address, content=b"{}", headers={"Content-Type": "application/json"})
    assert type_of(answer) == "unknown-model" and answer.status_code == 404
    assert "one, other, third, broken" in answer.json()["detail"]


def test_a_model_that_cannot_be_loaded_is_told_everywhere_and_the_others_go_on(world):
    browser = world()
    assert browser.post("/api/models/broken/load").status_code == 202
    assert events_in(browser.get("/api/models/broken/events").text)[-1][0] == "failed"
    assert offer_of(browser, "broken")["problem"]["type"] == "/problems/model-failed"
    assert type_of(browser.post("/api/images?model=broken", content=png(seed=6))) == "model-failed"
    assert browser.upload(png(seed=6))["id"]


def test_events_tell_of_a_load_until_it_is_done(world):
    browser = world()
    assert browser.post(f"/api/models/{OTHER}/load").json()["state"] in ("loading", "loaded")
    events = events_in(browser.get(f"/api/models/{OTHER}/events").text)
    assert events[-1] == ("done", {"state": "loaded"})
    assert {name for name, _ in events[:-1]} <= {"loading"}


# ---- downloads ----------------------------------------------------------------------------------------


@pytest.fixture
def published(files, tmp_path, monkeypatch):
    """A checkpoint published at a server that answers so; its weights are those of the second model."""
    monkeypatch.setenv("SAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "PAUSE_S", 0.001)
    content = files[OTHER].read_bytes()

    def at(server, **known) -> Offer:
        file = RemoteFile("far.safetensors", server.address, len(content), hashlib.sha256(content).hexdigest())
        checkpoint = Published("far", "Far away", replace(file, **known), "Apache-2.0", "Somebody et al.")
        return Offer("far", checkpoint.title, str(downloads.cached_path(checkpoint)), published=checkpoint)

    at.content = content
    return at


AGREED = {"agreed": True}


def test_a_download_shows_its_progress_and_then_the_model_is_there(world, published):
    with file_server(published.content, ranges()) as server:
        browser = world(published(server), downloads=True)
        assert offer_of(browser, "far")["state"] == "not_downloaded"
        assert browser.post("/api/models/far/download", json=AGREED).status_code == 202
        events = events_in(browser.get("/api/models/far/events").text)
        assert events[-1] == ("done", {"state": "on_disk"})
        assert {name for name, _ in events[:-1]} <= {"downloading"}
        assert len(server.asked) == 1
    browser.post("/api/models/far/load")
    assert events_in(browser.get("/api/models/far/events").text)[-1] == ("done", {"state": "loaded"})


def test_nothing_is_fetched_without_a_yes_and_the_refusal_says_to_what(world, published):
    with file_server(published.content, ranges()) as server:
        browser = world(published(server), downloads=True)
        for body in ({}, {"agreed": False}):
            answer = browser.post("/api/models/far/download", json=body)
            assert (answer.status_code, type_of(answer)) == (403, "not-agreed")
            assert "Apache-2.0" in answer.json()["detail"] and server.address in answer.json()["detail"]
        assert type_of(browser.post("/api/models/far/download", json={"agreed": "gladly"})) == "bad-request"
        assert type_of(browser.post("/api/models/far/load")) == "not-downloaded"
        assert type_of(browser.post("/api/images?model=far", content=png(seed=7))) == "not-downloaded"
        assert server.asked == []


@pytest.mark.parametrize(("known", "said"), [({}, "verified against SHA-256"), ({"sha256": ""}, "unverified: no SHA")])
def test_visitors_are_told_what_verifies_a_download_before_they_agree(world, published, known, said):
    with file_server(published.content, ranges()) as server:
        offer = published(server, **known)
        browser = world(offer, downloads=True)
        assert offer_of(browser, "far")["sha256"] == (offer.published.weights.sha256 or None)
        assert f"; {said}" in browser.post("/api/models/far/download", json={}).json()["detail"]


def test_visitors_cannot_agree_where_the_operator_did_not(world, published):
    with file_server(published.content, ranges()) as server:
        browser = world(published(server), downloads=False)
        answer = browser.post("/api/models/far/download", json=AGREED)
        assert (answer.status_code, type_of(answer)) == (403, "no-download")
        assert "--offer-downloads" in answer.json()["detail"]
        assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "known", "named"),
    [
        (ranges(), {"sha256": "0" * 64}, "SHA-256"),
        (status(404), {}, "does not exist"),
        (page, {}, "login"),
        (whole(announce=10**15), {"size": None}, "do not fit"),
    ],
)
def test_a_download_that_fails_says_why_and_can_be_tried_again(world, published, answer, known, named):
    with file_server(published.content, answer) as server:
        browser = world(published(server, **known), downloads=True)
        browser.post("/api/models/far/download", json=AGREED)
        name, problem = events_in(browser.get("/api/models/far/events").text)[-1]
        assert (name, problem["type"]) == ("failed", "/problems/download-failed")
        assert named in problem["detail"]
        assert offer_of(browser, "far")["state"] == "failed"
        before = len(server.asked)
        assert browser.post("/api/models/far/download", json=AGREED).status_code == 202
        browser.get("/api/models/far/events")
        assert len(server.asked) > before


def test_a_cancelled_download_goes_on_from_where_it_was(world, published):
    half, let_go = len(published.content) // 2, threading.Event()

    def slow(request, content: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("ETag", '"one"')
        request.end_headers()
        request.wfile.write(content[:half])
        request.wfile.flush()
        let_go.wait(120)
        request.wfile.write(content[half : half + 65_536])
        request.wfile.flush()
        request.close_connection = True

    with file_server(published.content, slow, ranges()) as server:
        browser = world(published(server), downloads=True)
        browser.post("/api/models/far/download", json=AGREED)
        wait_until(lambda: server.asked)
        assert offer_of(browser, "far")["state"] == "downloading"
        assert browser.request("DELETE", "/api/models/far/download").json()["state"] == "not_downloaded"
        assert events_in(browser.get("/api/models/far/events").text) == [("done", {"state": "not_downloaded"})]
        let_go.set()
        browser.post("/api/models/far/download", json=AGREED)
        assert events_in(browser.get("/api/models/far/events").text)[-1] == ("done", {"state": "on_disk"})
        assert server.asked[-1][0] not in (None, "bytes=0-"), "it began anew"


def test_many_who_agree_at_once_cause_one_download(world, published):
    with file_server(published.content, ranges()) as server:
        app = world(published(server), downloads=True).app

        async def all_at_once() -> list[int]:
            async with client_of(app) as client:
                asked = [client.post("/api/models/far/download", json=AGREED) for _ in range(6)]
                answers = await asyncio.gather(*asked)
                async with client.stream("GET", "/api/models/far/events") as stream:
                    text = "".join([part async for part in stream.aiter_text()])
                assert json.loads(text.rsplit("data: ", 1)[1])["state"] == "on_disk"
                return [answer.status_code for answer in answers]

        assert asyncio.run(all_at_once()) == [202] * 6
        assert len(server.asked) == 1
