"""What the README shows is true: its Python snippets run as they stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SNIPPETS = re.findall(r"<!-- snippet -->\n```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)

CLIENTS = re.findall(r"<!-- client -->\n```python\n", (ROOT / "README.md").read_text("utf-8"))
"""Need a server: tests/demo runs them."""


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(1, 1 + len(SNIPPETS)))
def test_snippet_runs_in_a_checkout(snippet, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(compile(snippet, "README.md", "exec"), {"__name__": "snippet"})
    assert capsys.readouterr().out.strip(), "the snippet shows nothing"


def test_every_python_block_is_run():
    blocks = (ROOT / "README.md").read_text("utf-8").count("```python")
    assert len(SNIPPETS) + len(CLIENTS) == blocks > 0
