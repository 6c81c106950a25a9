"""The page's own unit tests, run by Node's runner, as part of the one test command."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("file", sorted((ROOT / "tests" / "js").glob("*.test.mjs")), ids=lambda file: file.stem)
def test_units_of_the_page_hold(file):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing; it runs the page's unit tests")
    run = subprocess.run([node, "--test", file], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
