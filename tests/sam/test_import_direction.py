"""Imports point one way: `sam` knows neither the web nor a runtime, and importing it does nothing else."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sam

ROOT = Path(sam.__file__).parent
WEB = {"demo", "fastapi", "gradio", "starlette", "uvicorn"}
FOREIGN = WEB | {"cv2", "matplotlib", "onnx", "onnxruntime", "pycocotools", "transformers"}
LAYERS = (
    ("config",),
    ("layers", "masks", "transforms", "hub.hugging_face"),
    ("polygons", "mattes"),
    ("curves",),
    ("hub.published",),
    ("hub.downloads",),
    ("image_encoder",),
    ("tiny", "tiny_vit", "prompt_encoder", "transformer", "mask_decoder"),
    ("model",),
    ("checkpoint", "predictor", "graphs.hover", "graphs.rewrites"),
    ("graphs.contracts",),
    ("graphs.verification",),
    ("export",),
    ("bundle",),
)
"""Modules of `sam` from the ground up; each may import those below it only."""
ROOMS = ("", "graphs", "hub")
"""Folders whose modules are imported by their names."""


def imported(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `code`."""
    command = f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return set(run.stdout.split())


def siblings(module: str) -> set[str]:
    """Modules of `sam` that `module`, a file or a folder, imports from outside itself, as dotted names below `sam`."""
    place = ROOT / module.replace(".", "/")
    files = [*place.glob("*.py")] or [place.with_suffix(".py")]
    found = {name for file in files for name in relative_imports(file)}
    return {name for name in found if name.partition(".")[0] != module}


def relative_imports(file: Path) -> Iterator[str]:
    """What a file imports from `sam`; of a folder without a door of its own, the module in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            room = ".".join(file.relative_to(ROOT).parts[: -node.level])
            base = ".".join(filter(None, (room, node.module)))
            yield from (f"{base}.{alias.name}" for alias in node.names) if base in ROOMS else (base,)


def test_importing_sam_brings_neither_the_web_nor_a_runtime():
    assert not imported("import sam") & FOREIGN


@pytest.mark.parametrize("height", range(len(LAYERS)))
def test_modules_import_only_what_lies_below(height):
    below = {module for layer in LAYERS[:height] for module in layer}
    for module in LAYERS[height]:
        assert siblings(module) <= below, module


def test_datasets_know_no_model_and_need_pycocotools_for_polygons_only():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "datasets").glob("*.py")]
    outward = {
        node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 2
    }
    assert outward == {"config", "masks"}
    assert "pycocotools" not in imported("import sam.datasets")


def test_everything_mode_stands_on_the_predictor():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "automatic").glob("*.py")]
    outward = {
        node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 2
    }
    assert outward <= {"config", "graphs.hover", "masks", "model", "predictor", "transformer", "transforms"}


def test_formats_know_masks_and_nothing_of_models_or_the_web():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "formats").glob("*.py")]
    outward = {
        node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 2
    }
    assert outward == {"masks", "mattes", "polygons", "curves"}


def test_large_pictures_stand_on_everything_mode_and_need_libvips_for_files_only():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "large").glob("*.py")]
    outward = {
        node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 2
    }
    own = {name for name in outward if not name.startswith("automatic.")}
    assert own <= {"config", "datasets.record", "masks", "model", "predictor", "transforms"}
    assert "pyvips" not in imported("import sam.large")


def test_documented_names_are_importable():
    names = "SAM ImageEncoderViT PromptEncoder MaskDecoder TwoWayTransformer load_sam SamPredictor sam_model_registry"
    assert all(hasattr(sam, name) for name in [*names.split(), "SamAutomaticMaskGenerator"])
    assert set(sam.__all__) <= set(dir(sam))
