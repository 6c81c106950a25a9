"""SIGKILL in the middle of a download, a folder, an export: what was there stays, and the next call goes on."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from file_server import file_server, ranges, reply
from PIL import Image

from sam.__main__ import main
from sam.checkpoint import whole_file
from sam.hub.downloads import fetch
from sam.hub.published import RemoteFile

if not hasattr(signal, "SIGKILL"):
    pytest.skip("this system has no SIGKILL", allow_module_level=True)

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * 16_384
PATIENCE_S = 120


def kill_when(process: multiprocessing.Process | subprocess.Popen, condition: Callable[[], bool]) -> None:
    """SIGKILL as soon as the condition holds; it must hold while the process runs."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join() if isinstance(process, multiprocessing.process.BaseProcess) else process.wait()


def spawn(work: Callable, *arguments) -> multiprocessing.Process:
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    return process


# ---- a download -----------------------------------------------------------------------------------


def remote(address: str) -> RemoteFile:
    return RemoteFile("weights.pth", address, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def fetch_in_another_process(address: str, path: Path) -> None:
    fetch(remote(address), path)


def slowly(request, content: bytes) -> None:
    """Half of the file, and then nothing more for a long time."""
    reply(request, 200, content[: len(content) // 2], {"ETag": '"one"'}, len(content))
    request.wfile.flush()
    time.sleep(PATIENCE_S)


def test_a_killed_download_goes_on_where_it_was(tmp_path):
    path, part = tmp_path / "weights.pth", tmp_path / ".weights.pth.part"
    with file_server(CONTENT, slowly, ranges()) as server:
        process = spawn(fetch_in_another_process, server.address, path)
        kill_when(process, lambda: part.exists() and part.stat().st_size >= 1_000_000)
        had = part.stat().st_size
        assert not path.exists()
        fetch(remote(server.address), path)
        assert server.asked[-1] == (f"bytes={had}-", '"one"')
    assert path.read_bytes() == CONTENT


# ---- a folder -------------------------------------------------------------------------------------


def test_a_killed_folder_goes_on_and_ends_in_the_same_bytes(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(4):
        pixels = np.full((60, 80, 3), 200, np.uint8)
        pixels[10:40, 8 * number : 8 * number + 40] = (180, 40, 50)
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    options = ["--points-per-side", "3", "--pred-iou-thresh", "0.2", "--stability-score-thresh", "0.3"]
    command = ["segment", str(pictures), *options, "--out"]
    process = subprocess.Popen([sys.executable, "-m", "sam", *command, str(tmp_path / "killed")], cwd=ROOT)
    kill_when(process, lambda: any((tmp_path / "killed").glob(".answers/*.json")))
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob(".answers/*.json")}
    assert main([*command, str(tmp_path / "killed")]) == main([*command, str(tmp_path / "whole")]) == 0
    assert {path: path.stat().st_mtime_ns for path in stored} == stored, "an answer that was there was asked again"
    assert visible(tmp_path / "killed") == visible(tmp_path / "whole")


def visible(folder: Path) -> dict[str, bytes]:
    """Files by name, less parts that a kill left behind."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# ---- an export, and whatever else is written ------------------------------------------------------


def write_half(path: Path) -> None:
    with whole_file(path) as part:
        part.write_bytes(b"half of the new")
        time.sleep(PATIENCE_S)


def test_a_file_that_a_killed_process_was_writing_is_the_former_one(tmp_path):
    """Graphs, weights, answers and embeddings are all written so."""
    path = tmp_path / "decoder.onnx"
    with whole_file(path) as part:
        part.write_bytes(b"the former")
    kill_when(spawn(write_half, path), lambda: any(part.stat().st_size for part in tmp_path.glob(".*.part")))
    assert path.read_bytes() == b"the former"
    with whole_file(path) as part:
        part.write_bytes(b"the new")
    assert path.read_bytes() == b"the new"
