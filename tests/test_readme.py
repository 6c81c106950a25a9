"""What the README shows is true: its Python snippets run as they stand."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from demo.guard.headers import security_headers
from demo.guard.hosting import Hosting

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"<!-- snippet -->\n```python\n(.*?)```", README, re.DOTALL)
SPACE_COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running demo, on a port that is free."""
    command = [sys.executable, "-m", "demo", "--no-open", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        try:
            yield next(found[0] for line in demo.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        finally:
            demo.kill()  # a client of a snippet is still connected, and would be waited for


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(1, 1 + len(SNIPPETS)))
def test_snippet_runs_in_a_checkout(snippet, monkeypatch, capsys, request):
    monkeypatch.chdir(ROOT)
    if ADDRESS in snippet:
        snippet = snippet.replace(ADDRESS, request.getfixturevalue("server"))
    exec(compile(snippet, "README.md", "exec"), {"__name__": "snippet"})
    assert capsys.readouterr().out.strip(), "the snippet shows nothing"


def test_every_python_block_is_run():
    blocks = README.count("```python")
    assert len(SNIPPETS) == blocks > 0


def test_every_fault_in_the_table_has_its_test():
    section = README.split("### When something breaks")[1].split("\n#")[0]
    named = set(re.findall(r"`(test_\w+)`", section))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)
    }
    assert len(named) > 12 and named <= written


def test_the_front_matter_makes_the_repository_a_space_of_its_dockerfile():
    front_matter = yaml.safe_load(README.split("---\n")[1])
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert front_matter["sdk"] == "docker"
    assert f"EXPOSE {front_matter['app_port']}\n" in dockerfile
    assert f"SAM_DEMO_PORT={front_matter['app_port']} " in dockerfile
    assert front_matter["colorFrom"] in SPACE_COLOURS and front_matter["colorTo"] in SPACE_COLOURS
    assert len(front_matter["short_description"]) <= 60


def test_the_space_adds_the_headers_that_the_server_leaves_to_it():
    """A Space's headers are written in lower case, and say what the server would say of a page that may be framed."""
    own = security_headers("/", Hosting(frame_ancestors="https://huggingface.co"))
    left = security_headers("/", Hosting(frame_ancestors="https://huggingface.co", isolation_headers=False))
    added = yaml.safe_load(README.split("---\n")[1])["custom_headers"]
    assert added == {name.lower(): value for name, value in own.items() if name not in left}
