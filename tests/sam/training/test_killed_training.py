"""SIGKILL in the middle of a training step, and a disk that fills up: the checkpoint stands, and the run goes on."""

import errno
import json
import multiprocessing
import signal
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sam.datasets import find_records
from sam.training.loop import fit

PATIENCE_S = 120


def train_into_the_third_step(model, data: Path, recipe, folder: Path) -> None:
    """Two steps; in the third the picture is encoded, and then nothing more happens."""

    def stay(*_) -> None:
        if (folder / "second").exists():
            (folder / "third").touch()
            time.sleep(PATIENCE_S)

    model.image_encoder.fusion.register_forward_hook(stay)
    for metrics in fit(model, find_records(data), recipe, folder, checkpoint_every=1):
        if metrics.step == 2:
            (folder / "second").touch()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_step_is_repeated_and_the_run_ends_with_the_same_numbers(
    pictures, small_model, small_recipe, tmp_path
):
    recipe, folder = small_recipe(5), tmp_path / "killed"
    work = {"target": train_into_the_third_step, "args": (small_model(), pictures, recipe, folder)}
    process = multiprocessing.get_context("spawn").Process(**work)
    process.start()
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "third").exists():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
    process.kill()
    process.join()
    resumed = list(fit(small_model(), find_records(pictures), recipe, folder, checkpoint_every=1))
    assert resumed[0].step == 3, "a step that was reported is not done again, one that was not is"
    whole = list(fit(small_model(), find_records(pictures), recipe, tmp_path / "whole", checkpoint_every=1))
    assert [each.loss for each in resumed] == [each.loss for each in whole[2:]]
    assert [line["step"] for line in journal(folder)] == [1, 2, 3, 4, 5]
    killed, unkilled = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(killed[name], unkilled[name]) for name in unkilled)


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(
    pictures, small_model, small_recipe, tmp_path, monkeypatch
):
    def full(state, path):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    records, recipe = find_records(pictures), small_recipe(4)
    run = fit(small_model(), records, recipe, tmp_path / "run", checkpoint_every=1)
    list(islice(run, 2))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left"):
            next(run)
    resumed = fit(small_model(), records, recipe, tmp_path / "run", checkpoint_every=1)
    assert [each.step for each in resumed] == [3, 4]


def journal(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
