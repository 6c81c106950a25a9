"""What the Dockerfile and compose.yaml promise; that the image builds and runs, .ci/replay_dockerfile.py shows."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from demo.settings import Settings

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_base_images_are_pinned_to_whole_versions():
    images = [*re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE), COMPOSE["services"]["proxy"]["image"]]
    assert len(images) == 4
    assert all(re.search(r":\d+\.\d+\.\d+-", image) for image in images), images


def test_everything_that_is_copied_reaches_the_builder():
    reaching = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [
        line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ") and "--from" not in line
    ]
    copied = {source for line in sources for source in line}
    assert copied == set(reaching)
    assert all((ROOT / name).exists() for name in copied)


def test_the_container_is_not_root_and_writes_nowhere_but_where_it_is_told():
    assert re.search(r"^USER 1000$", DOCKERFILE, re.MULTILINE)
    service = COMPOSE["services"]["sam"]
    assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])
    assert all(port.startswith("127.0.0.1:") for each in COMPOSE["services"].values() for port in each["ports"])


def test_the_server_has_ended_before_the_engine_kills_it():
    """A few seconds are for what is left to be said and for a busy machine."""
    service = COMPOSE["services"]["sam"]
    assert "SAM_DEMO_DRAIN_S" not in service["environment"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= Settings().drain_s + 10


def test_the_proxys_prefix_is_the_one_that_the_server_is_told(tmp_path):
    prefix = COMPOSE["services"]["sam"]["environment"]["SAM_DEMO_ROOT_PATH"]
    caddyfile = COMPOSE["configs"]["caddyfile"]["content"]
    assert f"reverse_proxy {prefix}/* sam:7860" in caddyfile
    if not shutil.which("caddy"):
        pytest.skip("caddy is not installed, so its file was only read")
    (tmp_path / "Caddyfile").write_text(caddyfile)
    run = subprocess.run(
        ["caddy", "adapt", "--config", tmp_path / "Caddyfile", "--adapter", "caddyfile"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
