"""`python -m demo` as a person runs it: on a real port, with a real model file."""

import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from demo_world import LIMITS, png, serving

from demo.__main__ import address_of, listen, main
from demo.app import create_app
from demo.service import DemoService, load_service
from demo.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    model.save(path)
    return path


def test_one_command_serves_page_service_and_fallback_until_it_is_stopped(checkpoint):
    command = [sys.executable, "-m", "demo", "--port", "0", "--no-open", "--checkpoint", str(checkpoint)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+/", line)))
        with httpx.Client(base_url=address, timeout=60) as client:
            assert client.get("/healthz").json()["status"] == "ok"
            assert client.get("/gradio/").status_code == 200
            reply = client.post("/api/images", content=png()).json()
            assert client.get(reply["embedding_url"]).status_code == 200
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in rest


def test_pictures_in_the_line_are_answered_after_sigterm(checkpoint):
    command = [sys.executable, "-m", "demo", "--port", "0", "--no-open", "--checkpoint", str(checkpoint)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = next(found[1] for line in process.stdout if (found := re.search(r"(http://\S+)/", line)))
        with httpx.Client(base_url=address, timeout=120) as client, ThreadPoolExecutor() as pool:
            replies = [client.post("/api/images", content=png(640, 480, seed=seed)).json() for seed in range(6)]
            answers = [pool.submit(httpx.get, address + reply["embedding_url"], timeout=120) for reply in replies]
            while client.get("/healthz").json()["queue"] == len(replies):  # until the first is done, all have asked
                pass
            process.send_signal(signal.SIGTERM)
            assert [answer.result().status_code for answer in answers] == [200] * len(replies)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in rest


def test_a_taken_port_is_told_before_the_model_loads(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--checkpoint", "no such file"]) == 2
    error = capsys.readouterr().err
    assert str(port) in error and "--port 0" in error and "no such file" not in error


@pytest.mark.parametrize("arguments", [["--checkpoint", "no/such/file.pth"], ["--device", "toaster"], ["--port", "-1"]])
def test_what_cannot_be_done_is_one_sentence(arguments, capsys):
    assert main(["--port", "0", *arguments]) == 2
    error = capsys.readouterr().err
    assert arguments[1] in error and "Traceback" not in error


def test_a_missing_device_is_named(checkpoint):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="cuda"):
        load_service(Settings(checkpoint=str(checkpoint), device="cuda:7"))


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_the_printed_address_can_be_typed_into_a_browser(host, shown):
    with listen(Settings(host=host, port=0)) as listener:
        assert re.fullmatch(rf"http://{re.escape(shown)}:\d+/", address_of(listener))


def test_a_client_that_sends_too_much_still_hears_why(model):
    """Over a real socket, while the body is still on its way, and the connection stays usable."""
    service = DemoService(model, limits=LIMITS)
    service.warm_up = lambda: None  # no decoder graph is needed here

    def too_much():
        for _ in range(200):
            yield os.urandom(10_000)

    with serving(create_app(service)) as address, httpx.Client(base_url=address) as client:
        for body in (b"x" * 2_000_000, too_much()):
            answer = client.post("/api/images", content=body)
            assert answer.status_code == 413
            assert answer.json()["limit"] == LIMITS.max_bytes
        assert client.get("/healthz").status_code == 200
