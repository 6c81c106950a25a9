"""The load test itself, in small: it runs, it checks what it is told, and it tells wrong from right."""

import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from demo.bench.crowd.album import Original
from demo.bench.crowd.tally import Tally
from demo.pictures import read_picture
from demo.schemas import ModelInfo, Picture
from demo.wire import pack_embedding

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_crowd_is_answered_and_the_server_ends_in_order():
    command = [sys.executable, "-m", "demo.bench.crowd", "--visitors", "6", "--seconds", "8"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    for told in ("6 visitors for 8 seconds", "cached embedding", "Fairness", "memory, MB", "exit code"):
        assert told in run.stdout


@pytest.fixture
def original() -> Original:
    data = (ROOT / "static" / "gallery" / "coffee.jpg").read_bytes()
    return Original(data, np.random.default_rng(0).normal(size=(1, 256, 64, 64)).astype(np.float32))


def body_of(features: np.ndarray, image_id: str) -> bytes:
    picture = Picture(image_id, (40, 60), (683, 1024), ModelInfo(id="tiny", weights_hash="0"))
    return pack_embedding(features, "fp16", picture=picture, prompt_frame=1024)


def test_a_copy_is_another_file_of_the_same_pixels(original):
    copy = original.copy(b"mark")
    assert copy != original.data
    np.testing.assert_array_equal(read_picture(copy), read_picture(original.data))


def test_only_the_pictures_own_embedding_is_right(original):
    assert original.is_embedding(body_of(original.features, "a"), "a")
    assert not original.is_embedding(body_of(original.features, "b"), "a")
    assert not original.is_embedding(body_of(original.features[:, ::-1], "a"), "a")


@pytest.mark.parametrize(
    ("status", "headers", "problem", "outcome"),
    [
        (503, {"Retry-After": "3"}, "busy", "busy"),
        (429, {"Retry-After": "3"}, "too-many-requests", "busy"),
        (503, {}, "busy", "wrong"),
        (503, {"Retry-After": "soon"}, "busy", "wrong"),
        (404, {}, "unknown-picture", "made room"),
        (500, {}, "unexpected", "wrong"),
    ],
)
def test_a_refusal_is_honest_or_wrong(status, headers, problem, outcome):
    tally = Tally()
    document, kind = {"type": f"/problems/{problem}"}, {"Content-Type": "application/problem+json"}
    tally.note_refusal("upload", httpx.Response(status, headers=headers | kind, json=document))
    assert tally.counts["upload"] == {outcome: 1}


def test_who_was_not_answered_is_lost_unless_the_server_was_stopping():
    tally = Tally()
    tally.note_failure("upload", 0.0, ConnectionError())
    tally.stop()
    tally.note_failure("upload", tally.stopped_at - 1, ConnectionError())
    tally.note_failure("upload", tally.stopped_at + 1, ConnectionError())
    assert tally.counts["upload"] == {"wrong": 2, "gone": 1}
