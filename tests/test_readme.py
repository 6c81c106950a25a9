"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

from sam.checkpoint import EMBEDDED

ROOT = Path(__file__).parents[1]
SNIPPETS = re.findall(r"<!-- snippet -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)


def test_every_python_block_is_marked_as_a_snippet():
    assert len(SNIPPETS) == (ROOT / "README.md").read_text(encoding="utf-8").count("```python") > 0


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet_runs(snippet, monkeypatch):
    if "load_sam(" in snippet and not EMBEDDED["tiny"].exists():
        pytest.skip("this checkout has no embedded weights")
    monkeypatch.chdir(ROOT)
    exec(compile(snippet, "README.md", "exec"), {})
