"""What the README shows is true: its Python snippets run as they stand."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SNIPPETS = re.findall(r"<!-- snippet -->\n```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running demo, on a port that is free."""
    command = [sys.executable, "-m", "demo", "--no-open", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        try:
            yield next(found[0] for line in demo.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        finally:
            demo.terminate()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(1, 1 + len(SNIPPETS)))
def test_snippet_runs_in_a_checkout(snippet, monkeypatch, capsys, request):
    monkeypatch.chdir(ROOT)
    if ADDRESS in snippet:
        snippet = snippet.replace(ADDRESS, request.getfixturevalue("server"))
    exec(compile(snippet, "README.md", "exec"), {"__name__": "snippet"})
    assert capsys.readouterr().out.strip(), "the snippet shows nothing"


def test_every_python_block_is_run():
    blocks = (ROOT / "README.md").read_text("utf-8").count("```python")
    assert len(SNIPPETS) == blocks > 0
