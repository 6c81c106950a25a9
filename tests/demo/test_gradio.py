"""The fallback UI: sessions apart, nothing fetched by address, nothing beyond its own routes."""

import asyncio
import http.server
import io
import json
import threading

import httpx
import numpy as np
import pytest
from demo_world import LIMITS, client_of, png, serving
from PIL import Image

from demo.app import create_app
from demo.service import DemoService

gr = pytest.importorskip("gradio")
from demo.gradio_app import ADD, REMOVE, Fallback, mount_fallback  # noqa: E402
from demo.schemas import Prompts  # noqa: E402

OPEN, CLICK, CLEAR = range(3)  # Gradio numbers the events in the order of their definition


def click_at(x: int, y: int) -> gr.SelectData:
    return gr.SelectData(None, {"index": [x, y], "value": None, "selected": True})


@pytest.fixture(scope="module")
def fallback(shared_service) -> Fallback:
    return Fallback(shared_service)


@pytest.fixture(scope="module")
def app(shared_service):
    return mount_fallback(create_app(shared_service), shared_service)


def test_two_visitors_do_not_see_each_others_clicks(fallback):
    async def visit():
        (anna, _), (ben, _) = await fallback.open(png(seed=50)), await fallback.open(png(seed=50))
        anna_clicked, _ = await fallback.click(anna, ADD, click_at(5, 5))
        ben_clicked, _ = await fallback.click(ben, REMOVE, click_at(40, 30))
        return anna, anna_clicked, ben_clicked

    before, anna, ben = asyncio.run(visit())
    assert before.points == ()
    assert (anna.points, anna.labels) == (((5.5, 5.5),), (1,))
    assert (ben.points, ben.labels) == (((40.5, 30.5),), (0,))


def test_the_overlay_tints_the_mask_of_the_service(fallback, shared_service):
    async def visit():
        session, preview = await fallback.open(png(64, 48, seed=51))
        clicked, overlay = await fallback.click(session, ADD, click_at(10, 12))
        prompts = Prompts(points=list(clicked.points), labels=list(clicked.labels))
        return preview, overlay, (await shared_service.segment(session.image_id, prompts)).mask

    preview, overlay, mask = asyncio.run(visit())
    changed = (preview != overlay).any(axis=2)
    rows, columns = np.ogrid[:48, :64]
    away_from_click = (columns - 10) ** 2 + (rows - 12) ** 2 > 36
    assert mask.shape == (48, 64)
    assert (changed == mask)[away_from_click].mean() > 0.99


def test_clicks_on_the_preview_are_in_pixels_of_the_original(service):
    file = io.BytesIO()
    Image.new("RGB", (2000, 400)).save(file, "PNG")

    async def visit():
        fallback = Fallback(service)
        session, preview = await fallback.open(file.getvalue())
        return preview, (await fallback.click(session, ADD, click_at(1023, 0)))[0]

    preview, session = asyncio.run(visit())
    assert preview.shape == (205, 1024, 3)
    ((x, y),) = session.points
    assert (x, y) == pytest.approx((2000 - 0.5 * 2000 / 1024, 0.5 * 400 / 205))


def test_clear_keeps_the_picture_and_forgets_the_clicks(fallback):
    async def visit():
        session, preview = await fallback.open(png(seed=52))
        clicked, _ = await fallback.click(session, ADD, click_at(5, 5))
        return preview, *fallback.clear(clicked)

    preview, session, shown = asyncio.run(visit())
    assert session.points == session.labels == ()
    assert np.array_equal(shown, preview)


def test_without_a_picture_nothing_happens(fallback):
    assert asyncio.run(fallback.open(None)) == (None, None)
    assert asyncio.run(fallback.click(None, ADD, click_at(1, 1))) == (None, None)
    assert fallback.clear(None) == (None, None)


def test_a_refusal_is_shown_to_the_visitor(fallback):
    with pytest.raises(gr.Error, match="none of JPEG"):
        asyncio.run(fallback.open(b"<svg/>"))


# ---- what Gradio could do, and must not


def ask(app, method: str, address: str, **options):
    async def send():
        async with client_of(app) as client:
            return await client.request(method, address, **options)

    return asyncio.run(send())


def test_the_page_is_served_with_its_own_policy_and_names_no_other_host(app):
    answer = ask(app, "GET", "/gradio/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "'unsafe-inline'" in policy and "default-src 'self'" in policy
    for host in ("fonts.googleapis.com", "fonts.gstatic.com", "cdnjs.cloudflare.com"):
        assert host not in answer.text
    config = ask(app, "GET", "/gradio/config").json()
    assert not config["analytics_enabled"]
    assert not any("http" in str(sheet) for sheet in config.get("stylesheets") or [])


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/gradio/gradio_api/proxy=http://127.0.0.1:1/"),
        ("GET", "/gradio/gradio_api/file=http://127.0.0.1:1/a.png"),
        ("GET", "/gradio/gradio_api/file=HTTP://127.0.0.1:1/a.png"),
        ("GET", "/gradio/gradio_api/file=https%3A%2F%2F127.0.0.1/a.png"),
        ("GET", "/gradio/gradio_api/file/http://127.0.0.1:1/a.png"),
        ("POST", "/gradio/gradio_api/run/predict"),
        ("POST", "/gradio/gradio_api/call/open"),
        ("POST", "/gradio/gradio_api/run-history/connect"),
        ("POST", "/gradio/gradio_api/vibe-edit"),
        ("GET", "/gradio/monitoring"),
        ("GET", "/gradio/custom_component/1/client/component/index.js"),
    ],
)
def test_routes_that_the_page_does_not_use_are_closed(app, method, address):
    answer = ask(app, method, address)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_local_file_outside_the_uploads_is_not_served(app):
    assert ask(app, "GET", "/gradio/gradio_api/file=/etc/hostname").status_code in (403, 404)


def test_a_large_body_is_refused(app):
    answer = ask(app, "POST", "/gradio/gradio_api/queue/join", content=b" " * 9_000_000)
    assert answer.status_code == 413


@pytest.fixture
def elsewhere():
    """A server that only notes whether it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/a.png", asked
    server.shutdown()


@pytest.fixture(scope="module")
def address(model):
    service = DemoService(model, limits=LIMITS)
    service.warm_up = lambda: None  # no decoder graph is needed here
    with serving(mount_fallback(create_app(service), service)) as address:
        yield address + "/gradio"


def call(address: str, function: int, data: list, session: str, event: dict | None = None) -> dict:
    """What the page does for one event: join the queue, then read until the event is complete."""
    body = {
        "data": data,
        "fn_index": function,
        "session_hash": session,
        "event_data": event,
        "trigger_id": None,
    }
    with httpx.Client(timeout=60) as client:
        client.post(f"{address}/gradio_api/queue/join", json=body).raise_for_status()
        with client.stream("GET", f"{address}/gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                if line and (message := json.loads(line.removeprefix("data: ")))["msg"] == "process_completed":
                    return message
    raise AssertionError("the stream ended before the event")


def upload(address: str, data: bytes) -> dict:
    path = httpx.post(f"{address}/gradio_api/upload", files={"files": ("a.png", data, "image/png")}).json()[0]
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def test_sessions_are_apart_through_the_whole_stack(address):
    file = upload(address, png(seed=53))
    for visitor in ("anna", "ben"):
        assert call(address, OPEN, [file], visitor)["success"]
    click = {"index": [20, 20], "value": None, "selected": True}
    first = call(address, CLICK, [None, ADD], "anna", click)
    stranger = call(address, CLICK, [None, ADD], "carl", click)
    assert first["success"] and first["output"]["data"][1]["url"]
    assert stranger["output"]["data"][1] is None


@pytest.mark.parametrize("function", range(3))
def test_no_event_fetches_a_picture_by_address(address, elsewhere, function, monkeypatch):
    """Gradio's own guard against private addresses is taken away: ours must do."""
    target, asked = elsewhere

    async def fetch(url: str, *_, **__):
        return httpx.get(url)

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_get", fetch)
    file = {"path": target, "url": target, "meta": {"_type": "gradio.FileData"}}
    answer = call(address, function, [file] * (2 if function == CLICK else 1), f"thief-{function}")
    assert not asked
    assert not answer["success"] or function == CLEAR  # the state of a session is never taken from the client


def test_a_file_outside_the_uploads_is_not_opened(address):
    file = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    assert not call(address, OPEN, [file], "snoop")["success"]
