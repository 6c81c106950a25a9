"""`python -m sam segment --on ray`: the same bytes as on one machine, after a kill too."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam.__main__ import main

pytest.importorskip("ray", reason='Ray is not installed (pip install ".[ray]")')

ROOT = Path(__file__).parents[3]
EVERYTHING = ["--points-per-side", "3", "--pred-iou-thresh", "0.2", "--stability-score-thresh", "0.3"]
ON_RAY = ["--on", "ray", "--workers", "2"]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A small one on this machine, ended afterwards."""
    import ray

    ray.init(num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Six pictures, and one file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        pixels = np.full((60, 80, 3), (200, 205, 190), np.uint8)
        pixels[10:40, 5 * number : 5 * number + 40] = (180 - 20 * number, 40, 50)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def here(pictures, tmp_path_factory) -> dict[str, bytes]:
    """What one machine makes of them."""
    out = tmp_path_factory.mktemp("here")
    assert main(["segment", str(pictures), "--out", str(out), *EVERYTHING]) == 1
    return files(out)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ray_writes_the_same_bytes_as_one_machine(pictures, here, tmp_path):
    assert main(["segment", str(pictures), "--out", str(tmp_path), *EVERYTHING, *ON_RAY]) == 1
    assert files(tmp_path) == here and b"broken.png" in here["failures.json"]


def test_a_run_that_was_killed_goes_on_on_ray_and_the_other_way_round(pictures, here, tmp_path):
    command = [sys.executable, "-m", "sam", "segment", str(pictures), "--out", str(tmp_path), *EVERYTHING]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while process.poll() is None and len(list(tmp_path.glob(".answers/*.json"))) < 2:
            time.sleep(0.01)
        process.kill()
    stored = {name: data for name, data in files(tmp_path).items() if name.endswith(".json")}
    assert len(stored) >= 2 and stored.items() <= here.items()
    assert main(["segment", str(pictures), "--out", str(tmp_path), *EVERYTHING, *ON_RAY]) == 1
    assert files(tmp_path) == here
    (tmp_path / ".answers" / "3.png.json").unlink()
    assert main(["segment", str(pictures), "--out", str(tmp_path), *EVERYTHING]) == 1
    assert files(tmp_path) == here
