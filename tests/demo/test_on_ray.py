"""The service with its encoder on Ray Serve: the same answers, from two replicas, of which one is killed."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from demo_world import wait_until

from sam import predictor

pytest.importorskip("ray", reason='Ray is not installed (pip install ".[ray]")')

from demo.problems import Busy
from demo.service.on_ray import RemoteEncoder, Replicas


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


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, 40, 60, 3), dtype=np.uint8))


def test_a_replica_answers_as_this_process_does(remote, model):
    (picture,) = pictures(1)
    here, there = predictor.encode(model, picture), remote(picture)
    np.testing.assert_allclose(there.features, here.features, atol=1e-4)
    assert (there.frame, there.weights_hash) == (here.frame, here.weights_hash)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="replicas are found in Linux's list of processes")
def test_no_picture_is_lost_when_a_replica_is_killed_under_load(remote, model):
    asked = pictures(16)
    before = replicas()
    assert len(before) == 2
    with ThreadPoolExecutor(4) as visitors:
        answers = [visitors.submit(remote, picture) for picture in asked]
        wait_until(lambda: sum(answer.done() for answer in answers) >= 2, 60)
        os.kill(before.pop(), signal.SIGKILL)
        found = [answer.result(120) for answer in answers]
    for picture, embedding in zip(asked[::5], found[::5], strict=True):
        np.testing.assert_allclose(embedding.features, predictor.encode(model, picture).features, atol=1e-4)
    wait_until(lambda: len(replicas()) == 2 and before <= replicas(), 120)


def test_more_than_the_replicas_can_take_is_busy(remote):
    """Beyond what runs and what may wait, Serve refuses, and so do we: with 503, and when to come back."""
    outcomes, (picture,) = [], pictures(1)

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
