"""The web side stays light, and imports point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "demo"


@pytest.mark.parametrize("module", ["demo.app", "demo.settings", "demo.gradio_app", "demo.__main__"])
def test_the_web_side_never_imports_torch_or_the_model(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'sam', 'demo.service') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=DEMO.parent)
    assert run.stdout.strip() == "[]"


def test_only_the_service_imports_sam():
    importers = {path.relative_to(DEMO).parts[0] for path in served() if "sam" in top_level_imports(path)}
    assert importers == {"service"}


def test_only_main_imports_the_service():
    importers = {path.relative_to(DEMO).parts[0] for path in served() if "demo.service" in modules_imported(path)}
    assert importers == {"__main__.py", "service"}


def served() -> list[Path]:
    """The modules of the server; its benchmarks look into everything."""
    return [path for path in DEMO.rglob("*.py") if DEMO / "bench" not in path.parents]


def modules_imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def top_level_imports(path: Path) -> set[str]:
    return {name.split(".")[0] for name in modules_imported(path)}
