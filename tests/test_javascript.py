"""The page's own tests and types, so that one pytest command is everything."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NODE_TESTS = sorted((ROOT / "tests" / "js").glob("*.test.mjs"))
OLDEST_NODE = 20


@pytest.fixture(scope="session")
def node() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is missing: install Node.js 20 or newer")
    version = _run(path, "--version").stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node is {version.strip()}; the page's tests need {OLDEST_NODE} or newer")
    return path


@pytest.fixture(scope="session")
def typescript(node: str) -> Path:
    """The compiler, installed from the lock file where a package build left it out."""
    compiler = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is missing, and so is node_modules/typescript, which it would fetch")
        assert (result := _run(npm, "ci", "--ignore-scripts")).returncode == 0, result.stdout
    return compiler


@pytest.mark.parametrize("file", NODE_TESTS, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_unit_tests_of_the_page_pass(node, file):
    result = _run(node, "--test", str(file))
    assert result.returncode == 0, result.stdout


def test_types_of_the_page_are_sound(node, typescript):
    result = _run(node, str(typescript))
    assert result.returncode == 0, result.stdout


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
