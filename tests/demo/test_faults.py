"""What a crowd and a broken part do to the service: turns, work that does not come back, closing time."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import numpy as np
import pytest
from demo_world import LIMITS, Browser, Deadline, Hanging, all_wait, client_of, events_in, png, serving

from demo.app import create_app
from demo.lanes import REPLACEMENTS
from demo.problems import Busy
from demo.schemas import EncoderReply
from demo.service import DemoService, LoadedModel
from sam import predictor
from sam.predictor import ImageEmbedding


@pytest.fixture(scope="module")
def embedding(model) -> ImageEmbedding:
    """Of some picture: what these tests are about is when an encode ends, not what it finds."""
    return predictor.encode(model, np.zeros((40, 60, 3), np.uint8))


@pytest.fixture
def gate(service, embedding):
    """Holds every encode of `service` until it is set; then they take no time."""
    gate = threading.Event()
    service.model.encode = lambda pixels: (gate.wait(), embedding)[1]
    yield gate
    gate.set()


def test_a_visitor_with_many_pictures_lets_others_go_between(service, gate):
    """Eight pictures of one visitor, then one of another: it is encoded next but one."""
    order, inner = [], service.model.encode
    service.model.encode = lambda pixels: (inner(pixels), order.append(pixels.shape[1]))[0]

    async def visit():
        app = create_app(service)
        async with client_of(app, "10.0.0.1") as many, client_of(app, "10.0.0.2") as one:
            uploads = [(await many.post("/api/images", content=png(60 + i, 40))).json() for i in range(8)]
            mine = (await one.post("/api/images", content=png(100, 40))).json()
            gate.set()
            for reply in (*uploads, mine):
                assert (await many.get(reply["embedding_url"])).status_code == 200

    asyncio.run(visit())
    assert order[0] == 60 and order.index(100) <= 2
    assert [width for width in order if width != 100] == list(range(60, 68))


def test_who_would_wait_too_long_is_refused_before_the_file_is_read_and_a_newcomer_is_not(model, embedding):
    """Encodes are believed to take 25 seconds, and nobody is to wait for more than 60."""
    gate, way = threading.Event(), EncoderReply(way="torch", seconds={"torch": 25.0})
    slow = LoadedModel(model, lambda pixels: (gate.wait(), embedding)[1], way)
    service = DemoService(slow, limits=LIMITS, longest_wait_s=60)

    async def visit():
        app = create_app(service)
        async with client_of(app, "10.0.0.1") as many, client_of(app, "10.0.0.2") as one:
            answers = [await many.post("/api/images", content=png(60 + i, 40)) for i in range(3)]
            refused = await many.post("/api/images", content=b"a picture that nobody looks at")
            answers.append(await one.post("/api/images", content=png(100, 40)))
            gate.set()
            done = [await many.get(answer.json()["embedding_url"]) for answer in answers]
            return refused, answers, done

    try:
        refused, answers, done = asyncio.run(visit())
    finally:
        gate.set()
        service.close()
    assert [answer.status_code for answer in answers] == [201] * 4 and [each.status_code for each in done] == [200] * 4
    assert refused.status_code == 503 and refused.json()["type"] == "/problems/busy"
    assert 25 <= int(refused.headers["retry-after"]) <= 26
    assert "3 of them yours; one more would wait 75 seconds" in refused.json()["detail"]


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """An encode that never ends."""
    hanging = Hanging()
    yield hanging
    hanging.let_go()


@pytest.fixture
def impatient(model, hanging, monkeypatch) -> Iterator[DemoService]:
    """A service that believes of an encode that it will never end when its test says so, and encodes that never do."""
    monkeypatch.setattr(threading, "Timer", Deadline)
    service = DemoService(LoadedModel(model, hanging), limits=LIMITS)
    yield service
    hanging.let_go()
    service.close()


async def given_up(service: DemoService, hanging: Hanging, data: bytes) -> tuple[httpx.Response, str]:
    """What somebody is told who waits for an encode that never ends, and the last that its events tell."""
    async with client_of(create_app(service)) as client:
        reply = (await client.post("/api/images", content=data)).json()
        waiting = asyncio.gather(client.get(reply["embedding_url"]), client.get(reply["events_url"]))
        await all_wait()
        await asyncio.to_thread(hanging.give_up)
        answer, events = await waiting
    return answer, events_in(events.text)[-1][1]["type"]


def test_an_encode_that_never_ends_is_a_503_and_the_next_picture_is_encoded(impatient, hanging, embedding):
    answer, told = asyncio.run(given_up(impatient, hanging, png(seed=1)))
    assert answer.status_code == 503 and answer.json()["type"] == told == "/problems/stalled"
    assert int(answer.headers["retry-after"]) >= 1
    browser = Browser(create_app(impatient))
    health = browser.get("/healthz")
    assert health.status_code == 200 and health.json()["lost_threads"] == 1
    impatient.model.encode = lambda pixels: embedding
    assert browser.get(browser.upload(png(seed=2))["embedding_url"]).status_code == 200
    assert browser.get(browser.upload(png(seed=1))["embedding_url"]).status_code == 200


def test_a_server_without_a_worker_left_is_unwell_and_still_serves_what_it_has(impatient, hanging, embedding):
    browser = Browser(create_app(impatient))
    impatient.model.encode = lambda pixels: embedding
    done = browser.upload(png(seed=3))
    assert browser.get(done["embedding_url"]).status_code == 200
    impatient.model.encode = hanging
    for seed in range(REPLACEMENTS + 1):
        assert asyncio.run(given_up(impatient, hanging, png(seed=10 + seed)))[1] == "/problems/stalled"
    health = browser.get("/healthz")
    assert health.status_code == 503 and health.json()["status"] == "stalled"
    assert browser.post("/api/images", content=png(seed=20)).status_code == 503
    assert browser.get(done["embedding_url"]).status_code == 200
    assert browser.post(done["decode_url"], json={"points": [[5, 5]], "labels": [1]}).status_code == 200


def test_short_memory_is_a_503_and_the_same_picture_may_come_again(service, embedding, monkeypatch):
    def short(*_):
        gate.wait()
        raise MemoryError

    async def visit() -> httpx.Response:
        async with client_of(app) as client:
            reply = (await client.post("/api/images", content=png(seed=4))).json()
            waiting = asyncio.ensure_future(client.get(reply["embedding_url"]))
            await all_wait()
            gate.set()
            return await waiting

    app, gate = create_app(service), threading.Event()
    service.model.encode = short
    answer = asyncio.run(visit())
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    browser = Browser(app)
    with monkeypatch.context() as patch:
        patch.setattr("PIL.ImageFile.ImageFile.load", short)
        assert browser.post("/api/images", content=png(seed=4)).status_code == 503
    service.model.encode = lambda pixels: embedding
    assert browser.get(browser.upload(png(seed=4))["embedding_url"]).status_code == 200


def test_a_clock_that_is_set_back_changes_nothing(service, gate, monkeypatch):
    browser = Browser(create_app(service))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    reply = browser.upload(png(seed=5))
    gate.set()
    assert events_in(browser.get(reply["events_url"]).text)[-1][0] == "done"
    assert browser.get(reply["embedding_url"]).status_code == 200


def test_closing_time_answers_everybody_who_waits(service, gate):
    """Also who waits for the encode that runs, which may take too long, and whoever comes late."""

    async def visit():
        async with client_of(create_app(service)) as client:
            uploads = [client.post("/api/images", content=png(seed=seed)) for seed in range(3)]
            replies = [answer.json() for answer in await asyncio.gather(*uploads)]
            waiting = [asyncio.ensure_future(client.get(reply["embedding_url"])) for reply in replies]
            await all_wait()
            service.refuse(Busy("the server restarts", retry_after_s=10))
            gate.set()
            late = await client.post("/api/images", content=png(seed=9))
            return [*await asyncio.gather(*waiting), late]

    answers = asyncio.run(visit())
    assert [answer.status_code for answer in answers] == [503] * 4
    assert {answer.headers["retry-after"] for answer in answers} == {"10"}


def test_an_upload_that_is_broken_off_is_no_fault_of_the_server(service, caplog):
    service.warm_up = lambda: None  # no decoder graph is needed here
    with serving(create_app(service)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as visitor:
            head = b"POST /api/images HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"
            visitor.sendall(head)
            assert visitor.recv(1000).startswith(b"HTTP/1.1 100"), "it waits for the body"
            visitor.sendall(b"half")
        assert httpx.get(f"{address}/healthz").status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_visitors_who_stop_reading_hold_up_nobody(service, gate):
    """Ten ask for an embedding and read none of it; the eleventh has it at once."""
    gate.set()
    service.warm_up = lambda: None
    with (
        serving(create_app(service)) as address,
        httpx.Client(base_url=address) as client,
        ExitStack() as opened,
    ):
        host, port = address.removeprefix("http://").split(":")
        reply = client.post("/api/images", content=png()).json()
        request = f"GET {reply['embedding_url']} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        for _ in range(10):
            opened.enter_context(socket.create_connection((host, int(port)))).sendall(request)
        answer = client.get(reply["embedding_url"])
        assert answer.status_code == 200 and len(answer.content) > 1_000_000
