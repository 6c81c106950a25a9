"""The service with its encoder on Ray Serve: the same answers, from two replicas, of which one is killed."""

import asyncio
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from demo_world import LIMITS, Browser, client_of, events_in, png, wait_until
from safetensors.numpy import load as load_safetensors

from demo.app import create_app
from demo.pictures import read_picture
from demo.problems import Busy
from demo.service import DemoService, LoadedModel
from demo.service.on_ray import RemoteEncoder, Replicas
from sam import predictor

pytest.importorskip("ray", reason='Ray is not installed (pip install ".[ray]")')


@pytest.fixture(scope="module")
def remote(model, tmp_path_factory):
    """Two replicas of the encoder on this machine."""
    import ray
    from ray import serve

    checkpoint = tmp_path_factory.mktemp("weights") / "random.safetensors"
    model.save(checkpoint)
    ray.init(num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
    yield RemoteEncoder(model, str(checkpoint), None, Replicas(2, 2, deadline_s=120))
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(params=["here", "on Ray"])
def service(request, model):
    """The service with its encoder in this process, and with two on Ray."""
    if request.param == "here":
        service = DemoService(LoadedModel(model), limits=LIMITS)
    else:
        remote = request.getfixturevalue("remote")
        service = DemoService(LoadedModel(model, remote), limits=LIMITS, encodes_at_once=remote.replicas.in_flight)
    yield service
    service.close()


# ---- the same here and there ----------------------------------------------------------------------


def test_an_upload_becomes_the_models_own_embedding(service, model):
    browser, data = Browser(create_app(service)), png(90, 60, seed=1)
    reply = browser.upload(data)
    assert events_in(browser.get(reply["events_url"]).text)[-1][0] == "done"
    body = load_safetensors(browser.get(reply["embedding_url"].replace("fp16", "fp32")).content)
    expected = predictor.encode(model, read_picture(data)).features
    np.testing.assert_allclose(body["image_embeddings"], expected, atol=1e-4)


def test_a_prompt_is_answered_from_it(service, model):
    browser, data = Browser(create_app(service)), png(90, 60, seed=2)
    answer = browser.post(browser.upload(data)["decode_url"], json={"points": [[40, 30]], "labels": [1]})
    logits = load_safetensors(answer.content)["low_res_logits"]
    embedding = predictor.encode(model, read_picture(data))
    expected, _ = predictor.predict_low_res(model, embedding, [[40, 30]], [1])
    np.testing.assert_allclose(logits, expected, atol=0.05)


def test_many_uploads_of_few_pictures_are_encoded_once_each(service):
    encode, encoded = service.model.encode, []
    service.model.encode = lambda pixels: (encoded.append(pixels.shape), encode(pixels))[1]

    async def visit():
        async with client_of(create_app(service)) as client:
            uploads = [client.post("/api/images", content=png(seed=10 + i % 3)) for i in range(12)]
            replies = [answer.json() for answer in await asyncio.gather(*uploads)]
            return await asyncio.gather(*(client.get(reply["embedding_url"]) for reply in replies))

    answers = asyncio.run(visit())
    assert {answer.status_code for answer in answers} == {200} and len({answer.content for answer in answers}) == 3
    assert len(encoded) == 3


def test_what_is_no_picture_is_refused(service):
    assert Browser(create_app(service)).post("/api/images", content=b"no picture").status_code == 415


# ---- what only replicas can do --------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="replicas are found in Linux's list of processes")
def test_no_picture_is_lost_when_a_replica_is_killed_under_load(remote, model):
    """Sixteen pictures are accepted, two encodes later a replica is gone: all embeddings come, and are right."""
    service = DemoService(LoadedModel(model, remote), limits=LIMITS, encodes_at_once=remote.replicas.in_flight)
    before = replicas()
    assert len(before) == 2

    async def visit() -> list[bytes]:
        async with client_of(create_app(service)) as client:
            uploads = [client.post("/api/images", content=png(seed=20 + i)) for i in range(16)]
            replies = [answer.json() for answer in await asyncio.gather(*uploads)]
            waiting = [asyncio.ensure_future(client.get(reply["embedding_url"])) for reply in replies]
            while sum(answer.done() for answer in waiting) < 2:
                await asyncio.sleep(0.01)
            os.kill(before.pop(), signal.SIGKILL)
            answers = await asyncio.gather(*waiting)
            assert [answer.status_code for answer in answers] == [200] * 16
            return [answer.content for answer in answers]

    for index, body in list(enumerate(asyncio.run(visit())))[::5]:
        expected = predictor.encode(model, read_picture(png(seed=20 + index))).features
        np.testing.assert_allclose(load_safetensors(body)["image_embeddings"], expected, atol=0.01)
    service.close()
    wait_until(lambda: len(replicas()) == 2 and before <= replicas(), 120)


def test_more_than_the_replicas_can_take_is_busy(remote):
    """Beyond what runs and what may wait, Serve refuses, and so do we: with 503, and when to come back."""
    outcomes, picture = [], read_picture(png())

    def ask():
        try:
            outcomes.append(remote(picture))
        except Busy as busy:
            outcomes.append(busy)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Busy)]
    assert len(outcomes) == 40 and 0 < len(refused) < 40
    assert refused[0].status == 503 and int(refused[0].headers["Retry-After"]) > 0


def replicas() -> set[int]:
    """The processes of the encoder's replicas."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if line.startswith(b"ray::ServeReplica:sam-encoder"):
            found.add(int(path.parent.name))
    return found
