"""`--private`: a picture is reachable for whoever uploaded it, and nobody else learns that it is there."""

import asyncio
import hashlib
import re

import httpx
import pytest
from demo_world import Browser, png, serving
from hypothesis import given
from hypothesis import strategies as st

from demo.app import create_app
from demo.guard.safeguards import Safeguards
from demo.guard.visitors import COOKIE
from demo.pictures import is_picture_of, picture_name
from demo.settings import parse_settings

CLICK = {"points": [[9, 9]], "labels": [1]}


@pytest.fixture(scope="module")
def app(shared_service):
    return create_app(shared_service, safeguards=Safeguards(private=True))


@pytest.fixture(scope="module")
def server(app):
    with serving(app, lent=True) as address:
        yield address


@pytest.fixture
def visit(server):
    """Visitors, one a call, each with a cookie jar of its own."""
    clients = []

    def begin() -> httpx.Client:
        clients.append(httpx.Client(base_url=server, timeout=120))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()


def upload(client: httpx.Client, data: bytes) -> tuple[int, dict]:
    answer = client.post("/api/images", content=data)
    return answer.status_code, answer.json()


def test_who_uploaded_a_picture_has_all_of_it(visit):
    ann = visit()
    status, picture = upload(ann, png(seed=100))
    assert status == 201
    assert upload(ann, png(seed=100)) == (200, picture)
    assert ann.get(picture["embedding_url"]).status_code == 200
    assert ann.get(picture["picture_url"]).status_code == 200
    assert "event: done" in ann.get(picture["events_url"]).text
    assert ann.post(picture["decode_url"], json=CLICK).status_code == 200
    assert ann.post(picture["predict_url"], json={"prompts": [CLICK]}).status_code == 200


def test_nobody_else_reaches_it_on_any_route_and_all_look_as_if_it_never_was(app, visit):
    """The routes are those of the OpenAPI document: one that comes later is asked too."""
    ann, ben, nobody = visit(), visit(), visit()
    _, picture = upload(ann, png(seed=101))
    upload(ben, png(seed=102))
    weights, asked = picture["model"]["weights_hash"], 0
    for path, methods in app.openapi()["paths"].items():
        if "{image_id}" not in path:
            continue
        for method in methods:
            asked += 1
            address = path.replace("{weights_hash}", weights).replace("{precision}", "fp16")
            address = re.sub(r"{(?!image_id).*?}", "0,0,64,48", address)
            body = {"json": {"prompts": [CLICK]} if "predict" in path else CLICK if "decode" in path else {}}
            options = body if method == "post" else {}
            real, unreal = (
                [c.request(method, address.replace("{image_id}", image), **options) for c in (ben, nobody)]
                for image in (picture["id"], "0" * 64)
            )
            for one, other in zip(real, unreal, strict=True):
                assert one.status_code == other.status_code == 404, address
                assert one.json() | {"id": ""} == other.json() | {"id": ""}
                assert {*one.headers} == {*other.headers} and "etag" not in one.headers
    assert asked >= 6


def test_the_hash_of_a_picture_tells_nobody_whether_another_has_it(visit):
    ann, ben = visit(), visit()
    data = png(seed=103)
    first, second = upload(ann, data), upload(ben, data)
    assert (first[0], second[0]) == (201, 201), "200 would say that it is here already"
    names = {first[1]["id"], second[1]["id"]}
    assert len(names) == 2 and hashlib.sha256(data).hexdigest() not in names
    assert ben.get(first[1]["embedding_url"]).status_code == 404


def test_the_encode_of_one_visitor_saves_another_no_time(service):
    """Else the time until it is done would tell."""
    encoded, inner = [], service.model.encode
    service.model.encode = lambda pixels: (encoded.append(1), inner(pixels))[1]
    browser = Browser(create_app(service, safeguards=Safeguards(private=True)))
    for _ in range(2):  # without a jar every upload is another visitor's
        answer = browser.post("/api/images", content=png(seed=104))
        cookies = {COOKIE: answer.cookies[COOKIE]}
        assert browser.get(answer.json()["embedding_url"], cookies=cookies).status_code == 200
    assert len(encoded) == 2


def test_nothing_private_stays_in_a_cache(visit):
    ann = visit()
    _, picture = upload(ann, png(seed=105))
    for address in (picture["embedding_url"], picture["picture_url"]):
        answer = ann.get(address, headers={"If-None-Match": "*"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "private, no-store" and "etag" not in answer.headers


def test_the_cookie_comes_with_the_page_once_and_no_script_reads_it(app):
    browser = Browser(app)
    cookie = browser.get("/").headers["set-cookie"]
    assert re.fullmatch(rf"{COOKIE}=[\w-]{{22}}; HttpOnly; Path=/; SameSite=Lax", cookie)
    assert "set-cookie" not in browser.get("/", cookies={COOKIE: "mine"}).headers
    assert "set-cookie" not in browser.get("/static/gallery/gallery.json").headers


def test_under_tls_the_cookie_is_for_this_host_alone_and_works_in_a_frame(app):
    browser = Browser(app)
    cookie = browser.get("https://demo.test/").headers["set-cookie"]
    assert re.fullmatch(rf"__Host-{COOKIE}=[\w-]{{22}}; HttpOnly; Path=/; SameSite=None; Secure; Partitioned", cookie)
    tossed = browser.get("https://demo.test/", cookies={COOKIE: "a neighbouring host's"})
    assert tossed.headers["set-cookie"].startswith("__Host-")


def test_without_private_there_is_no_cookie_and_names_are_hashes(browser):
    answer = browser.post("/api/images", content=png(seed=106))
    assert "set-cookie" not in answer.headers
    assert answer.json()["id"] == hashlib.sha256(png(seed=106)).hexdigest()


def test_gradios_visits_share_no_encode_either(service, tmp_path):
    pytest.importorskip("gradio")
    from demo.gradio_app.visits import Visits
    from demo.gradio_app.work import Work

    encoded, inner = [], service.model.encode
    service.model.encode = lambda pixels: (encoded.append(1), inner(pixels))[1]
    work = Work(service)

    async def open_in(visits: Visits, session: str) -> None:
        async for _ in work.open(visits.of("somebody", session), work.example("coffee.jpg")):
            pass

    for private, encodes in ((True, 2), (False, 3)):
        visits = Visits(tmp_path, private=private)
        for session in ("a", "b"):
            asyncio.run(open_in(visits, session))
        assert len(encoded) == encodes


@given(st.binary(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_a_name_is_its_owners_alone(data, owner, other):
    name = picture_name(data, owner)
    assert re.fullmatch(r"[0-9a-f]{64}", name)
    assert is_picture_of(name, owner) is bool(owner)
    assert is_picture_of(name, other) is (bool(owner) and owner == other)


@given(st.text(max_size=80), st.text(min_size=1, max_size=20))
def test_no_made_up_name_is_anybodys(name, owner):
    assert not is_picture_of(name, owner)


def test_private_is_a_setting():
    assert parse_settings(["--private"], {}).safeguards.private
    assert parse_settings([], {"SAM_DEMO_PRIVATE": "yes"}).safeguards.private
    assert not parse_settings([], {}).safeguards.private
