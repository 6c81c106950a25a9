"""`python -m demo` as a person runs it: on a real port, with a real model file."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from demo_world import LIMITS, events_in, png, serving, wait_until

from demo.__main__ import address_of, listen, main
from demo.app import create_app
from demo.service import DemoService, LoadedModel, load_service
from demo.settings import Settings
from sam.encoders import EXACT
from sam.hub.published import PUBLISHED, Published, RemoteFile

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120
"""With a busy machine; that an engine grants more than a server asks for is tests/test_container.py's."""


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
        with httpx.Client(base_url=address) as client:
            assert client.get("/healthz").json()["status"] == "ok"
            assert client.get("/gradio/").status_code == 200
            reply = client.post("/api/images", content=png()).json()
            assert client.get(reply["embedding_url"]).status_code == 200
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert "Traceback" not in rest


@contextmanager
def held_server(checkpoint: Path, gate: Path, seconds: float) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server that has ten minutes to end, whose encodes wait for `gate`, and its address.

    seconds: what an encode is believed to take.
    """
    command = [sys.executable, "tests/demo/held_server.py", str(gate), str(seconds), "--port", "0", "--no-open"]
    command += ["--checkpoint", str(checkpoint), "--encoder", "torch"]
    command += ["--max-wait-s", "3600", "--drain-s", "600"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    try:
        yield process, next(found[1] for line in process.stdout if (found := re.search(r"(http://\S+)/", line)))
    finally:
        process.kill()


def stop(process: subprocess.Popen, address: str) -> None:
    """Send SIGTERM, and wait until nobody new is let in."""
    host, port = address.removeprefix("http://").split(":")

    def is_closed() -> bool:
        with socket.socket() as visitor:
            return visitor.connect_ex((host, int(port))) != 0

    process.send_signal(signal.SIGTERM)
    wait_until(is_closed)


def test_pictures_in_the_line_are_answered_after_sigterm(checkpoint, tmp_path):
    """All of them, where there is time enough; what nobody waits for is left."""
    gate = tmp_path / "gate"
    with held_server(checkpoint, gate, seconds=0) as (process, address):
        with httpx.Client(base_url=address) as client, ExitStack() as open_streams:
            replies = [client.post("/api/images", content=png(640, 480, seed=seed)).json() for seed in range(6)]
            streams = [open_streams.enter_context(client.stream("GET", reply["events_url"])) for reply in replies]
            stop(process, address)
            gate.touch()
            assert [events_in(stream.read().decode())[-1][0] for stream in streams] == ["done"] * len(replies)
        rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0 and "Traceback" not in rest


def test_what_there_is_no_time_for_after_sigterm_is_told_to_come_again_and_what_runs_is_finished(checkpoint, tmp_path):
    """The first of four encodes runs, and the server has ten minutes, in which it believes that no second would end."""
    gate, asked = tmp_path / "gate", []
    with held_server(checkpoint, gate, seconds=700) as (process, address):
        with httpx.Client(base_url=address) as client:
            for seed in range(4):
                reply = client.post("/api/images", content=png(seed=seed)).json()
                asked.append(HTTPConnection(address.removeprefix("http://")))
                asked[-1].request("GET", reply["embedding_url"])
            assert client.get("/healthz").json()["queue"] == 4
        stop(process, address)
        gate.touch()
        answers = [connection.getresponse() for connection in asked]
        problems = [json.loads(answer.read()) for answer in answers if answer.status != 200]
        rest, _ = process.communicate(timeout=PATIENCE_S)
    assert [answer.status for answer in answers] == [200, 503, 503, 503]
    assert {answer.headers["Retry-After"] for answer in answers[1:]} == {"10"}
    assert {(problem["type"], problem["detail"]) for problem in problems} == {("/problems/busy", "the server restarts")}
    assert process.returncode == 0 and "Traceback" not in rest


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


def test_without_ray_its_encoder_is_refused_with_what_to_install(checkpoint, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["--port", "0", "--encoder", "ray", "--checkpoint", str(checkpoint)]) == 2
    assert 'pip install "sam-in-the-browser[ray]"' in capsys.readouterr().err


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
    service = DemoService(LoadedModel(model), limits=LIMITS)
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


def test_a_published_checkpoint_is_served_by_its_name_after_consent(checkpoint, tmp_path, monkeypatch, capsys):
    """The name says how MedSAM's pictures are prepared; without consent nothing is loaded."""
    monkeypatch.setenv("SAM_HOME", str(tmp_path))
    content = checkpoint.read_bytes()
    address = "http://127.0.0.1:9/weights.safetensors"
    file = RemoteFile("weights.safetensors", address, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(PUBLISHED, "fake", Published("fake", "A fake", file, "CC0", "Nobody", preprocessing="medsam"))
    assert main(["--port", "0", "--checkpoint", "fake"]) == 2
    assert "fake is not on this machine; agree with --download" in capsys.readouterr().err
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "weights.safetensors").write_bytes(content)
    service = load_service(Settings(checkpoint="fake", cache_mb=16))
    try:
        assert service.model.sam.config.preprocessing == "medsam"
        assert service.model.encoder.way in EXACT and service.model.encoder.seconds["torch"] > 0
        assert f"Encoding medsam with {service.model.encoder.way} (" in capsys.readouterr().out
    finally:
        service.close()


def test_preprocessing_is_chosen_by_flag_for_a_file(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_HOME", str(tmp_path))
    service = load_service(Settings(checkpoint=str(checkpoint), preprocessing="medsam", encoder="torch", cache_mb=16))
    service.close()
    assert service.model.info.id == "medsam"
