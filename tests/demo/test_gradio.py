"""Gradio's page over HTTP: visitors and their files apart, nothing fetched by address, only its own routes; clients."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from demo_world import LIMITS, client_of, png, serving, wait_until
from PIL import Image

from demo.app import create_app
from demo.service import DemoService, LoadedModel
from sam import load_sam

pytest.importorskip("gradio")
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from test_gradio_steps import pixels_of

from demo.gradio_app import mount_gradio
from demo.gradio_app.mounting import temporary_folder
from demo.gradio_app.views import CANDIDATES
from demo.guard.visitors import COOKIE

PATIENT = {"timeout": 120}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def app(shared_service):
    return mount_gradio(create_app(shared_service), shared_service)


def ask(app, method: str, address: str, **options):
    async def send():
        async with client_of(app) as client:
            return await client.request(method, address, **options)

    return asyncio.run(send())


@pytest.fixture(scope="module")
def address():
    service = DemoService(LoadedModel(load_sam("tiny")), limits=LIMITS)
    service.warm_up = lambda: None  # no decoder graph is needed here
    with serving(mount_gradio(create_app(service), service)) as address:
        yield address + "/gradio/"


@pytest.fixture
def visit(address, tmp_path):
    """Clients of visitors, one a call; each keeps what it downloads in a folder of its own."""
    clients = []

    def begin() -> Client:
        folder = tmp_path / f"visitor {len(clients)}"
        clients.append(Client(address, download_files=folder, verbose=False, httpx_kwargs=PATIENT))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "blobs.png"
    path.write_bytes(png(120, 90, seed=70))
    return handle_file(str(path))


# ---- clients


def test_a_client_opens_clicks_keeps_and_exports(visit, picture):
    client = visit()
    assert client.predict(picture, api_name="/open")["picture"] == {"name": "blobs.png", "width": 120, "height": 90}
    desk = client.predict("add", 30, 40, api_name="/click")
    assert len(desk["candidates"]) == 4 and desk["chosen"] in (1, 2, 3)
    assert client.predict(0, api_name="/choose")["chosen"] == 0
    kept = client.predict("cup", api_name="/keep")["objects"]
    assert [item["label"] for item in kept] == ["cup"] and pixels_of(kept[0]["mask"]).shape == (90, 120)
    coco = json.loads(Path(client.predict("coco", api_name="/export")).read_text())
    assert coco["categories"][0]["name"] == "cup"
    with Image.open(client.predict(api_name="/look")) as image:
        assert image.size == (1280, 960)
    assert client.predict(0, api_name="/remove")["objects"] == []
    assert len(client.predict(api_name="/undo")["objects"]) == 1


def test_a_client_sees_objects_appear_and_keeps_them(visit):
    client = visit()
    client.predict("coffee.jpg", api_name="/open_example")
    job = client.submit("few", api_name="/everything")
    job.result()
    updates = job.outputs()
    assert updates[-1]["done"] == updates[-1]["total"] > updates[0]["done"]
    found = updates[-1]["objects"]
    kept = client.predict(api_name="/take_all")["objects"] if found else []
    assert len(kept) == len(found) > 0


def test_a_search_ends_on_the_server_when_its_client_cancels(visit):
    client = visit()
    client.predict("coffee.jpg", api_name="/open_example")
    job = client.submit("fine", api_name="/everything")
    wait_until(lambda: job.outputs())
    job.cancel()
    after = client.predict("few", api_name="/everything")  # would wait in line behind a search that goes on
    assert after["done"] == after["total"]


@pytest.mark.parametrize(
    ("endpoint", "arguments", "sentence"),
    [
        ("/click", ("add", 1, 1), "No picture is open; open one first"),
        ("/open_example", ("dog.jpg",), "There is no example 'dog.jpg'; there are astronaut.jpg"),
        ("/export", ("coco", "sharp"), "open one first"),
    ],
)
def test_a_client_is_told_in_a_sentence_what_cannot_be(visit, endpoint, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        visit().predict(*arguments, api_name=endpoint)


def test_a_picture_that_is_none_is_refused_in_a_sentence(visit, tmp_path):
    (tmp_path / "a.png").write_bytes(b"<svg/>")
    with pytest.raises(AppError, match="none of JPEG"):
        visit().predict(handle_file(str(tmp_path / "a.png")), api_name="/open")


def call(address: str, endpoint: str, data: list, cookies: dict | None = None) -> str:
    """What curl does: the events of one call, as they are written."""
    with httpx.Client(base_url=address, timeout=120, cookies=cookies) as client:
        event = client.post(f"gradio_api/call/{endpoint}", json={"data": data}).json()["event_id"]
        return client.get(f"gradio_api/call/{endpoint}/{event}").text


# ---- visitors apart


def test_two_clients_never_see_each_other(visit, picture):
    anna, ben = visit(), visit()
    anna.predict(picture, api_name="/open")
    anna.predict("add", 30, 40, api_name="/click")
    with pytest.raises(AppError, match="No picture is open"):
        ben.predict(api_name="/clear")
    ben.predict(picture, api_name="/open")
    assert ben.predict("add", 80, 20, api_name="/click")["points"] == [[80, 20]]
    assert anna.predict("add", 31, 41, api_name="/click")["points"] == [[30, 40], [31, 41]]


def test_who_guesses_a_session_finds_nothing_there(visit, picture):
    anna, thief = visit(), visit()
    anna.predict(picture, api_name="/open")
    thief.session_hash = anna.session_hash
    with pytest.raises(AppError, match="No picture is open"):
        thief.predict("add", 30, 40, api_name="/click")
    assert anna.predict("add", 30, 40, api_name="/click")["points"] == [[30, 40]]


def file_url(client: Client, address: str, endpoint: str, *arguments) -> str:
    """The address that a client is given for a file."""
    client.download_files = False
    fresh = Client(address, download_files=False, verbose=False, httpx_kwargs=PATIENT)
    fresh.cookies, fresh.session_hash = client.cookies, client.session_hash
    answer = fresh.predict(*arguments, api_name=endpoint)
    fresh.close()
    return answer["url"] if isinstance(answer, dict) else answer


def test_a_visitor_cannot_fetch_another_s_files(visit, address, picture):
    anna, ben = visit(), visit()
    anna.predict(picture, api_name="/open")
    anna.predict("add", 30, 40, api_name="/click")
    for endpoint, arguments in (("/look", ()), ("/export", ("masks", "sharp"))):
        url = file_url(anna, address, endpoint, *arguments)
        assert httpx.get(url, cookies=anna.cookies).status_code == 200
        for cookies in (ben.cookies, {}, {COOKIE: "guess"}):
            assert httpx.get(url, cookies=cookies).status_code == 404
        around = url.replace("/file=", "/file=/x/..")
        assert httpx.get(around, cookies=ben.cookies).status_code == 404


def test_a_visitor_cannot_open_another_s_file_as_a_picture(visit, address, picture):
    anna, ben = visit(), visit()
    anna.predict(picture, api_name="/open")
    path = httpx.URL(file_url(anna, address, "/look")).path.split("/file=")[1]
    told = call(address, "open", [{"path": path, "meta": {"_type": "gradio.FileData"}}], ben.cookies)
    assert "event: error" in told and "was not uploaded" in told


def test_the_files_of_a_visit_go_when_the_server_does(shared_service, tmp_path):
    service = DemoService(shared_service.model, limits=LIMITS)
    service.warm_up = lambda: None
    before = set(temporary_folder().glob("visits-*"))
    with serving(mount_gradio(create_app(service), service)) as address:
        client = Client(address + "/gradio/", download_files=tmp_path, verbose=False, httpx_kwargs=PATIENT)
        client.predict("coffee.jpg", api_name="/open_example")
        client.predict(api_name="/look")
        assert set(temporary_folder().glob("visits-*")) - before
        client.close()
    assert set(temporary_folder().glob("visits-*")) == before


# ---- what Gradio could do, and must not


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


def test_a_visitor_gets_one_cookie_that_scripts_cannot_read(app):
    cookie = ask(app, "GET", "/gradio/config").headers["set-cookie"]
    assert re.match(rf"{COOKIE}=[\w-]{{22}}; HttpOnly; Path=/; SameSite=Lax$", cookie)
    again = ask(app, "GET", "/gradio/config", cookies={COOKIE: "mine"})
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/gradio/gradio_api/proxy=http://127.0.0.1:1/"),
        ("GET", "/gradio/gradio_api/file=http://127.0.0.1:1/a.png"),
        ("GET", "/gradio/gradio_api/file=HTTP://127.0.0.1:1/a.png"),
        ("GET", "/gradio/gradio_api/file=https%3A%2F%2F127.0.0.1/a.png"),
        ("GET", "/gradio/gradio_api/file/http://127.0.0.1:1/a.png"),
        ("GET", "/gradio/gradio_api/file=/etc/hostname"),
        ("GET", f"/gradio/gradio_api/file={ROOT}/static/gallery/../index.html"),
        ("GET", f"/gradio/gradio_api/file={ROOT}/README.md"),
        ("POST", "/gradio/gradio_api/run/predict"),
        ("POST", "/gradio/gradio_api/api/open"),
        ("POST", "/gradio/gradio_api/run-history/connect"),
        ("POST", "/gradio/gradio_api/vibe-edit"),
        ("GET", "/gradio/monitoring"),
        ("GET", "/gradio/custom_component/1/client/component/index.js"),
    ],
)
def test_routes_that_nobody_needs_are_closed(app, method, address):
    answer = ask(app, method, address)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_gallery_is_for_everybody(app):
    file = ROOT / "static" / "gallery" / "coffee.jpg"
    assert ask(app, "GET", f"/gradio/gradio_api/file={file}").content == file.read_bytes()


@pytest.mark.parametrize("route", ["queue/join", "upload"])
def test_a_large_body_is_refused_when_it_is_announced(app, route):
    answer = ask(app, "POST", f"/gradio/gradio_api/{route}", content=b" " * 9_000_000)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


@pytest.mark.parametrize("route", ["queue/join", "upload"])
def test_a_large_body_is_refused_while_it_arrives(address, route):
    """No length is announced; Gradio would answer with an error of its own."""

    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(40):
            yield b" " * 20_000

    headers = {"Content-Type": "multipart/form-data; boundary=x" if route == "upload" else "application/json"}
    answer = httpx.post(f"{address}gradio_api/{route}", content=body(), headers=headers, timeout=120)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert answer.json()["limit"] > LIMITS.max_bytes


def test_no_endpoint_fetches_a_picture_by_address(address, monkeypatch):
    """Gradio's own guard against private addresses is taken away: ours must do."""
    asked = []

    async def fetch(url: str, *_, **__):
        asked.append(url)
        raise AssertionError("fetched")

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_get", fetch)
    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", fetch, raising=False)
    with httpx.Client(base_url=address, timeout=120) as client:
        functions = client.get("config").json()["dependencies"]
        target = "http://127.0.0.1:1/a.png"
        file = {"path": target, "url": target, "meta": {"_type": "gradio.FileData"}}
        for function in functions:
            body = {
                "data": [file for _ in function["inputs"]],
                "fn_index": function["id"],
                "session_hash": f"thief{function['id']}",
                "event_data": {"index": [1, 1], "value": None, "selected": True},
            }
            client.post("gradio_api/queue/join", json=body).raise_for_status()
            stream = client.stream("GET", "gradio_api/queue/data", params={"session_hash": body["session_hash"]})
            with stream as answer:
                lines = (json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line)
                assert any(message["msg"] == "process_completed" for message in lines)
    assert len(functions) > 30 and not asked


@pytest.mark.parametrize("path", ["/etc/hostname", str(ROOT / "static/screenshot.jpg")])
def test_a_file_of_the_server_is_not_opened(address, path):
    told = call(address, "open", [{"path": path, "meta": {"_type": "gradio.FileData"}}])
    assert "event: error" in told and "Only uploaded files are opened" in told


def test_the_call_routes_of_the_documented_protocol_answer(address):
    assert '"coffee.jpg"' in call(address, "open_example", ["coffee.jpg"])


def test_the_page_alone_leads_to_itself_and_has_nothing_else(shared_service, monkeypatch):
    from demo.gradio_app import __main__ as alone
    from demo.settings import Settings

    monkeypatch.setattr(alone, "load", lambda _: shared_service)
    app = alone.build(Settings(root_path="/sam", allowed_hosts="demo.test"))
    answer = ask(app, "GET", "/sam/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/sam/gradio/")
    assert ask(app, "GET", "/sam/gradio/").status_code == 200
    assert ask(app, "GET", "/sam/api/model").status_code == 404
    assert ask(app, "GET", "/sam/healthz").json()["status"] == "ok"


def test_previews_of_wide_pictures_keep_their_shape(visit, tmp_path):
    Image.fromarray(np.zeros((100, 900, 3), np.uint8)).save(tmp_path / "wide.png")
    client = visit()
    client.predict(handle_file(str(tmp_path / "wide.png")), api_name="/open")
    with Image.open(client.predict(api_name="/look")) as image:
        assert image.size == (1280, 142)


def test_candidates_are_called_what_the_page_calls_them():
    names = (ROOT / "static" / "js" / "panels" / "sketch.js").read_text("utf-8")
    assert f"const NAMES = {list(CANDIDATES)};" in names
