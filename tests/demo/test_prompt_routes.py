"""The API that asks the model, over real HTTP: batches of prompts, everything mode, and what the API says of itself."""

import asyncio
import base64
import io
import json
from contextlib import aclosing

import httpx
import numpy as np
import pytest
from demo_world import LIMITS, Browser, DecoderGate, png, serving, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from demo.app import create_app
from demo.lanes import Lane
from demo.schemas import EverythingRequest, PredictRequest
from demo.service import DemoService, LoadedModel
from sam.automatic import SamAutomaticMaskGenerator, by_area, without_duplicates
from sam.automatic.decoder import PointDecoder
from sam.masks import rle_decode, rle_decompress
from sam.predictor import SamPredictor

CLICK, BOX = {"points": [[20, 14]], "labels": [1]}, {"box": [4, 6, 50, 40]}
ANYTHING = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "least_share": 0}
"""Random weights answer nothing that passes a filter."""
FEW_POINTS = {**ANYTHING, "points_per_side": 8}


@pytest.fixture(scope="module")
def address(shared_service):
    with serving(create_app(shared_service), lent=True) as address:
        yield address


@pytest.fixture(scope="module")
def image_id(address) -> str:
    return upload(address)


def test_all_work_waits_in_the_turns_of_whoever_asked_for_it(shared_service, monkeypatch):
    """Work of nobody may fill a whole line: only what is made once for all visitors is nobody's."""
    waited, submit = set(), Lane.submit

    def noted(lane, work, *arguments, visitor="", **options):
        waited.add((lane.name, visitor))
        return submit(lane, work, *arguments, visitor=visitor, **options)

    monkeypatch.setattr(Lane, "submit", noted)
    browser = Browser(create_app(shared_service))
    picture = browser.upload(png(300, 200, seed=95))
    view = "0,0,128,128"
    for address in ("events_url", "embedding_url", "picture_url"):
        assert browser.get(picture[address]).status_code == 200
    assert browser.get(picture["views_url"].format(view=view)).status_code == 200
    assert browser.get(f"{picture['embedding_url']}/{view}").status_code == 200
    assert browser.post(picture["decode_url"], json=CLICK).status_code == 200
    assert browser.post(picture["predict_url"], json={"prompts": [CLICK]}).status_code == 200
    search = {**ANYTHING, "points_per_side": 4, "preset": "fine"}
    assert browser.post(picture["everything_url"], json=search).status_code == 200
    ours = {"read pictures", "encode pictures", "decode prompts", "find everything"}
    assert ours <= {lane for lane, visitor in waited if visitor == "127.0.0.1"}
    assert not ours & {lane for lane, visitor in waited if not visitor}


def upload(address: str, seed: int = 0) -> str:
    return httpx.post(f"{address}/api/images", content=png(seed=seed)).json()["id"]


def predict(address: str, image_id: str, **request) -> dict:
    answer = httpx.post(f"{address}/api/images/{image_id}/predict", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int, kind: str) -> dict:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (answer.status_code, document["type"]) == (status, f"/problems/{kind}"), answer.text
    return document


def mask_of(reply: dict) -> np.ndarray:
    return rle_decode(rle_decompress(reply["mask"]))


# ---- prompts


def test_a_batch_is_answered_prompt_by_prompt_as_the_library_answers(address, image_id, model):
    predictor = SamPredictor(model)
    predictor.set_image(np.array(Image.open(io.BytesIO(png()))))
    reply = predict(address, image_id, prompts=[CLICK, BOX, CLICK | BOX])
    assert reply["size"] == [48, 64] and reply["model"]["weights_hash"] == model.weights_hash()
    for (answer,), prompt in zip(reply["answers"], [CLICK, BOX, CLICK | BOX], strict=True):
        masks, iou, _ = predictor.predict(
            point_coords=np.array(prompt["points"]) if "points" in prompt else None,
            point_labels=np.array(prompt["labels"]) if "labels" in prompt else None,
            box=np.array(prompt["box"]) if "box" in prompt else None,
            multimask_output="box" not in prompt,
        )
        best = int(np.argmax(iou))
        assert np.array_equal(mask_of(answer), masks[best])
        assert answer["score"] == pytest.approx(iou[best], abs=1e-4)
        assert answer["area"] == masks[best].sum() and 0 <= answer["stability"] <= 1


def test_all_masks_come_best_first(address, image_id):
    (answers,) = predict(address, image_id, prompts=[BOX], masks="all")["answers"]
    scores = [answer["score"] for answer in answers]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def test_a_png_shows_the_mask_of_the_run_lengths(address, image_id):
    ((as_rle,),) = predict(address, image_id, prompts=[BOX])["answers"]
    ((as_png,),) = predict(address, image_id, prompts=[BOX], format="png")["answers"]
    picture = Image.open(io.BytesIO(base64.b64decode(as_png["mask"])))
    assert picture.size == (64, 48)
    assert np.array_equal(np.array(picture), mask_of(as_rle))


def test_logits_of_one_answer_are_the_mask_of_the_next_question(address, image_id):
    ((first,),) = predict(address, image_id, prompts=[CLICK], format="logits")["answers"]
    assert len(base64.b64decode(first["mask"])) == 2 * 256 * 256
    ((plain,), (corrected,)) = predict(address, image_id, prompts=[CLICK, CLICK | {"mask": first["mask"]}])["answers"]
    assert corrected["mask"] != plain["mask"] or corrected["score"] != plain["score"]


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"prompts": []}, "prompts"),
        ({"prompts": [CLICK] * 33}, "at most 32 items"),
        ({"prompts": [{"points": [[1, 2]], "labels": [1, 0]}]}, "1 points with 2 labels"),
        ({"prompts": [CLICK | {"mask": base64.b64encode(bytes(2 * 128 * 128)).decode()}]}, "32768 bytes; 131072"),
        ({"prompts": [CLICK | {"mask": "%"}]}, "not base64"),
        ({"prompts": [CLICK], "format": "bmp"}, "format"),
        ({"prompts": [CLICK], "colour": "red"}, "colour"),
        ({"prompts": [{"box": [9, 9, 1, 1]}]}, "is not x0 <= x1"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_name(address, image_id, request_, named):
    answer = httpx.post(f"{address}/api/images/{image_id}/predict", json=request_)
    assert named in refused(answer, 422, "bad-request")["detail"]


def test_a_body_that_is_too_long_is_refused_while_it_arrives(address, image_id):
    def body():
        for _ in range(90):
            yield b" " * 100_000

    answer = httpx.post(f"{address}/api/images/{image_id}/predict", content=body())
    assert refused(answer, 413, "too-many-bytes")["limit"] == 8_000_000


@pytest.mark.parametrize("route", ["predict", "everything", "decode"])
def test_a_picture_that_was_never_here_is_unknown_to_every_route(address, route):
    body = {"predict": {"prompts": [CLICK]}, "everything": {}, "decode": CLICK}[route]
    refused(httpx.post(f"{address}/api/images/{'0' * 64}/{route}", json=body), 404, "unknown-picture")


@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["prompts", "points", "labels", "box", "mask", "format", "masks"]), inner)
        ),
    )
)
def test_no_json_makes_a_route_fail(browser, body):
    image_id = browser.upload(png())["id"]
    for route in ("predict", "decode"):
        answer = browser.post(
            f"/api/images/{image_id}/{route}", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (200, 422), answer.text


# ---- everything


def search(address: str, image_id: str, **request):
    """The events of a search, to be read one by one."""
    with httpx.stream("POST", f"{address}/api/images/{image_id}/everything", json=request) as answer:
        if answer.status_code != 200:
            answer.read()
            yield answer
            return
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


def test_what_is_added_and_not_retracted_is_what_the_library_finds(address, image_id, model):
    shown, parents = {}, {}
    events = list(search(address, image_id, **FEW_POINTS))
    assert [name for name, _ in (events[0], events[-1])] == ["started", "done"]
    assert events[0][1]["total"] == 64
    for _, update in events[1:-1]:
        for number in update["retracted"]:
            del shown[number]
        shown |= {each["id"]: each for each in update["added"]}
        parents = {int(part): whole for part, whole in update["parents"].items()}
        assert parents.keys() <= shown.keys() and set(parents.values()) <= shown.keys()
    assert events[-2][1]["done"] == 64
    generator = SamAutomaticMaskGenerator.preset(
        model, "balanced", points_per_side=8, pred_iou_thresh=0, stability_score_thresh=0
    )
    records = generator.generate(np.array(Image.open(io.BytesIO(png()))))
    expected = without_duplicates(by_area(records, 0), 0.9)
    found = sorted(mask_of(each).tobytes() for each in shown.values())
    assert found == sorted(record["segmentation"].tobytes() for record in expected)


def test_specks_are_not_shown(address, image_id):
    events = list(search(address, image_id, **FEW_POINTS | {"least_share": 0.05}))
    areas = [each["area"] for name, update in events if name == "update" for each in update["added"]]
    assert min(areas, default=1e9) >= 0.05 * 64 * 48


@pytest.mark.parametrize(
    ("request_", "named"),
    [({"points_per_side": 0}, "points_per_side"), ({"points_per_side": 65}, "64"), ({"preset": "all"}, "preset"),
     ({"least_share": 2}, "least_share"), ({"pred_iou_thresh": "high"}, "pred_iou_thresh")],
)  # fmt: skip
def test_a_search_that_makes_no_sense_is_refused_by_name(address, image_id, request_, named):
    (answer,) = search(address, image_id, **request_)
    assert named in refused(answer, 422, "bad-request")["detail"]


def test_a_grid_that_has_no_points_left_in_a_crop_is_refused(address, image_id):
    (answer,) = search(address, image_id, preset="fine", points_per_side=1)
    assert "points_per_side" in refused(answer, 422, "bad-request")["detail"]


def test_who_closes_the_connection_stops_the_work_within_one_batch(address, image_id, shared_service, monkeypatch):
    gate = DecoderGate(monkeypatch, let_through=2)
    events = search(address, image_id, **FEW_POINTS)
    assert next(events)[0] == "started"
    wait_until(lambda: gate.begun == 3)
    events.close()
    wait_until(lambda: shared_service.health().searches == 0)
    gate.open()
    list(search(address, image_id, **ANYTHING | {"points_per_side": 1}))  # the lane is free again: its turn came
    assert gate.begun == 4


def test_who_leaves_while_the_first_event_is_sent_leaves_nothing_of_the_search(shared_service, image_id):
    app, told = create_app(shared_service), []

    async def leave() -> None:
        asked = iter([{"type": "http.request", "body": json.dumps(FEW_POINTS).encode(), "more_body": False}])
        sending = asyncio.Event()

        async def receive() -> dict:
            if message := next(asked, None):
                return message
            await sending.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            if message.get("body"):
                told.append(message["body"])
                sending.set()
                await asyncio.Event().wait()

        headers = [(b"host", b"demo.test"), (b"content-type", b"application/json")]
        address = {"path": f"/api/images/{image_id}/everything", "query_string": b"", "headers": headers}
        scope = {"type": "http", "method": "POST", "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1)}
        await app(scope | address, receive, send)
        assert shared_service.health().searches == 0

    asyncio.run(leave())
    url = json.loads(told[0].partition(b"data: ")[2])["search_url"]
    refused(Browser(app).request("DELETE", url), 404, "unknown-search")


def test_a_delete_stops_the_work_within_one_batch_and_ends_the_stream(address, image_id, monkeypatch):
    gate = DecoderGate(monkeypatch, let_through=2)
    events = search(address, image_id, **FEW_POINTS)
    url = address + next(events)[1]["search_url"]
    wait_until(lambda: gate.begun == 3)
    assert httpx.delete(url).status_code == 204
    gate.open()
    assert list(events)[-1] == ("cancelled", {})
    assert gate.begun == 3
    refused(httpx.delete(url), 404, "unknown-search")


def test_hovering_and_encoding_go_on_while_a_search_is_held_up(address, image_id, monkeypatch):
    gate = DecoderGate(monkeypatch, let_through=0)
    events = search(address, image_id, **FEW_POINTS)
    next(events)
    wait_until(lambda: gate.begun == 1)
    assert httpx.post(f"{address}/api/images/{image_id}/decode", json=CLICK).status_code == 200
    assert predict(address, upload(address, seed=77), prompts=[BOX])["answers"]
    gate.open()
    assert list(events)[-1] == ("done", {})


def test_searches_take_turns(shared_service):
    order = []

    async def follow(name: str, image_id: str) -> None:
        async with aclosing(shared_service.everything(image_id, request, visitor=name)) as updates:
            async for _ in updates:
                order.append(name)

    async def visit() -> None:
        picture, _ = await shared_service.add(png())
        await asyncio.gather(follow("anna", picture.id), follow("ben", picture.id))

    request = EverythingRequest(**FEW_POINTS)
    asyncio.run(visit())
    both = order[: 2 * min(order.index("anna") + order.count("anna"), order.count("ben")) - 2]
    ahead = np.cumsum([1 if name == "anna" else -1 for name in both])
    assert order.count("anna") == order.count("ben") >= 5
    assert abs(ahead).max() <= 2


def test_too_many_searches_of_one_visitor_are_told_to_come_back(address, image_id, monkeypatch):
    monkeypatch.setattr("demo.service.everything.RUNS_PER_VISITOR", 1)
    gate = DecoderGate(monkeypatch, let_through=0)
    first = search(address, image_id, **FEW_POINTS)
    next(first)
    (answer,) = search(address, image_id, **FEW_POINTS)
    document = refused(answer, 503, "busy")
    assert int(answer.headers["retry-after"]) == document["retry_after_s"] > 0
    gate.open()
    assert list(first)[-1] == ("done", {})
    assert list(search(address, image_id, **ANYTHING | {"points_per_side": 1}))[-1] == ("done", {})


def test_a_search_that_fails_says_so_in_its_stream(address, image_id, monkeypatch):
    monkeypatch.setattr(PointDecoder, "answer", lambda *_: 1 / 0)
    name, problem = list(search(address, image_id, **FEW_POINTS))[-1]
    assert (name, problem["type"]) == ("failed", "/problems/unexpected")
    assert "division" not in json.dumps(problem)


def test_fine_looks_at_the_picture_itself(model):
    service = DemoService(LoadedModel(model), limits=LIMITS)
    browser = Browser(create_app(service))
    body = {**ANYTHING, "preset": "fine", "points_per_side": 2}
    answer = browser.post(f"/api/images/{browser.upload(png(seed=3))['id']}/everything", json=body)
    assert '"total":8' in answer.text and answer.text.rstrip().endswith("event: done\ndata: {}")
    service.close()


# ---- the reference


def test_every_route_is_described_with_its_refusals(browser):
    document = browser.get("/api/openapi.json").json()
    served = {route for route in document["paths"]}
    assert {"/api/images", "/api/images/{image_id}/predict", "/api/images/{image_id}/everything"} <= served
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            assert route["summary"], path
            assert path in ("/healthz", "/api/model", "/api/models") or any(
                status >= "4" for status in route["responses"]
            ), path
            assert method in ("get", "delete") or path.endswith("/load") or "requestBody" in route


def test_all_references_of_the_document_lead_somewhere(browser):
    document = browser.get("/api/openapi.json").json()
    names = [part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]]
    assert names and set(names) <= document["components"]["schemas"].keys()


@pytest.mark.parametrize("request_", [PredictRequest, EverythingRequest])
def test_examples_are_requests(request_):
    for example in request_.model_config["json_schema_extra"]["examples"]:
        request_.model_validate(example)


def test_the_page_of_the_api_names_every_route_and_needs_no_script(browser):
    page = browser.get("/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text and "http://" not in page.text and "https://" not in page.text
    for path in browser.get("/api/openapi.json").json()["paths"]:
        assert f" {path}</code>" in page.text
