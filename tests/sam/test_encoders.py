"""Ways to encode: all compute the same, the fastest exact one is taken, and what was measured is remembered."""

import json

import numpy as np
import pytest
import torch

from sam import encoders
from sam.encoders import (
    BF16,
    BF16_WITHIN,
    EXACT_WITHIN,
    ONNX_RUNTIME,
    TORCH,
    WAYS,
    WayError,
    choose,
    deviation,
    prepare,
)
from sam.predictor import encode


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def timed(monkeypatch):
    """Sets how many seconds every way takes, and notes which ways are timed."""
    asked = []

    def set_seconds(**seconds):
        def timed(encoder, image):
            asked.append(encoder.way if hasattr(encoder, "way") else TORCH)
            return image, seconds[asked[-1]]

        monkeypatch.setattr(encoders, "_timed", timed)
        monkeypatch.setattr(encoders, "has_matrix_unit", lambda: BF16 in seconds)
        return asked

    for name, way in {"_onnx_runtime": ONNX_RUNTIME, "_bf16": BF16}.items():
        monkeypatch.setattr(encoders, name, lambda model, way=way: FakeEncoder(way))
    return set_seconds


class FakeEncoder:
    def __init__(self, way):
        self.way = way


@pytest.mark.parametrize("way", WAYS)
def test_every_way_computes_the_same_embedding(small_model, photo, way):
    expected = encode(small_model, photo)
    given = encode(small_model, photo, image_encoder=prepare(small_model, way))
    assert given.features.dtype == torch.float32 and given.weights_hash == expected.weights_hash
    assert deviation(given.features, expected.features) < (BF16_WITHIN if way == BF16 else EXACT_WITHIN)
    if way == BF16:
        assert not torch.equal(given.features, expected.features)


def test_onnx_runtime_takes_a_batch(small_model):
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(
            prepare(small_model, ONNX_RUNTIME)(images), small_model.image_encoder(images), atol=1e-4, rtol=1e-4
        )


def test_measuring_knows_every_way_that_works(small_model, monkeypatch):
    """And leaves out one that computes something else, and one that cannot be had."""
    others = (ONNX_RUNTIME, BF16)
    assert encoders.measure(small_model, others).keys() == set(WAYS)
    assert encoders.measure(small_model, others, worth_s=1e9).keys() == {TORCH}
    monkeypatch.setattr(encoders, "_bf16", lambda model: lambda image: model.image_encoder(image) * 1.5)

    def missing(model):
        raise WayError("not here")

    monkeypatch.setattr(encoders, "_onnx_runtime", missing)
    assert encoders.measure(small_model, others).keys() == {TORCH}


def test_a_graph_cannot_hold_the_largest_encoder(small_model, monkeypatch):
    monkeypatch.setattr("sam.export.LARGEST_FILE", 1000)
    with pytest.raises(WayError, match="a graph holds less than 2"):
        prepare(small_model, ONNX_RUNTIME)


def test_the_fastest_exact_way_is_taken(small_model, timed):
    timed(torch=2.0, onnxruntime=1.0, bf16=0.1)
    choice = choose(small_model)
    assert choice.way == ONNX_RUNTIME and choice.expected_s == 1.0
    assert str(choice).startswith("onnxruntime (")


def test_bf16_is_taken_when_it_is_asked_for_only(small_model, timed):
    timed(torch=2.0, onnxruntime=3.0, bf16=0.1)
    assert choose(small_model).way == TORCH
    assert choose(small_model, BF16).way == BF16


def test_a_fast_encoder_is_not_compared_with_others(small_model, timed):
    asked = timed(torch=0.1, onnxruntime=0.01)
    assert choose(small_model).way == TORCH
    assert asked == [TORCH]


def test_bf16_is_measured_where_the_processor_multiplies_matrices_of_it(small_model, small_config, random_model, timed):
    asked = timed(torch=2.0, onnxruntime=3.0)
    choose(small_model)
    assert asked == [TORCH, ONNX_RUNTIME]
    asked = timed(torch=2.0, onnxruntime=3.0, bf16=1.0)
    choose(random_model(small_config, seed=5))
    assert asked[2:] == [TORCH, ONNX_RUNTIME, BF16]


def test_a_model_is_measured_once(small_model, timed, home):
    asked, told = timed(torch=2.0, onnxruntime=3.0), []
    choose(small_model, tell=told.append)
    again = choose(small_model, tell=told.append)
    assert again.way == TORCH and again.seconds == {TORCH: 2.0, ONNX_RUNTIME: 3.0}
    assert asked == [TORCH, ONNX_RUNTIME] and len(told) == 1
    assert choose(small_model, TORCH).expected_s == 2.0
    assert list(json.loads((home / "encoders.json").read_text()).values()) == [again.seconds]


@pytest.mark.parametrize("notes", ["", "{", "[]", '{"other": {"torch": 1}}'])
def test_notes_of_others_and_damaged_ones_are_not_used(small_model, timed, home, notes):
    (home / "encoders.json").write_text(notes)
    timed(torch=0.2)
    assert choose(small_model).seconds == {TORCH: 0.2}


def test_other_weights_and_other_threads_are_measured_anew(small_model, small_config, random_model, timed, monkeypatch):
    asked = timed(torch=0.1)
    choose(small_model)
    choose(random_model(small_config, seed=1))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    choose(small_model)
    assert len(asked) == 3


def test_a_home_that_cannot_be_written_costs_nothing_but_the_notes(small_model, timed, home, monkeypatch):
    (home / "file").write_text("no folder")
    monkeypatch.setenv("SAM_HOME", str(home / "file"))
    timed(torch=0.1)
    assert choose(small_model).way == TORCH


def test_an_unknown_way_is_refused_by_name(small_model):
    with pytest.raises(WayError, match="'magic' is unknown; use one of auto, torch, onnxruntime, bf16"):
        choose(small_model, "magic")


def test_deviation_is_measured_in_standard_deviations():
    values = torch.from_numpy(np.random.default_rng(0).normal(0, 4, 10_000).astype(np.float32))
    assert deviation(values + 0.4, values) == pytest.approx(0.1, rel=0.05)
