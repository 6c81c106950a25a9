"""What both languages agree on: the shared vectors are what Python writes, and Python reads what the page writes."""

import importlib.util
import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam.formats import WRITERS, archive, png
from sam.formats import session as sessions

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def vectors():
    spec = importlib.util.spec_from_file_location("make_vectors", ROOT / "tests" / "vectors" / "make_vectors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page_zip(tmp_path_factory):
    """The zip that the page makes of the vectors' session."""
    if (node := shutil.which("node")) is None:
        pytest.skip("node is missing: install Node.js 20 or newer")
    path = tmp_path_factory.mktemp("page") / "page.zip"
    script = ROOT / "tests" / "js" / "write-archive.mjs"
    subprocess.run([node, str(script), str(path)], check=True, capture_output=True)
    return path


def test_the_vectors_are_what_python_writes(vectors):
    kept = json.loads(vectors.VECTORS.read_text(encoding="utf-8"))
    made = json.loads(json.dumps(vectors.make_vectors()))
    for part in kept.keys() - {"indexed"}:  # whose bytes depend on the zlib that packs them
        assert kept[part] == made[part], part


def test_python_reads_the_pages_zip_as_the_session(vectors, page_zip):
    session = vectors.make_session()
    found = archive.read(page_zip.read_bytes(), session.picture)
    assert sessions.write(found) == sessions.write(session)
    with zipfile.ZipFile(page_zip) as opened:
        assert opened.testzip() is None


def test_the_page_makes_the_same_files_of_every_format(vectors, page_zip):
    """Texts byte for byte (but for curves, whose sums run in another order), pictures and arrays value for value."""
    session = vectors.make_session()
    with zipfile.ZipFile(page_zip) as opened:
        for format in WRITERS.keys() - {"session", "svg"}:
            for name, ours in WRITERS[format](session).items():
                assert same(name, ours, opened.read(f"{format}/{name}")), f"{format}/{name}"


def same(name, ours, theirs):
    if name.endswith(".png"):
        return np.array_equal(png.decode(ours), png.decode(theirs)) and info(ours) == info(theirs)
    if name.endswith(".npz"):
        one, other = np.load(io.BytesIO(ours)), np.load(io.BytesIO(theirs))
        return one.files == other.files and all(one[key].tobytes() == other[key].tobytes() for key in one.files)
    if name == "IMG 01.small.json":  # bitmaps in LabelMe's files are PNG
        return [{**shape, "mask": None} for shape in json.loads(ours)["shapes"]] == [
            {**shape, "mask": None} for shape in json.loads(theirs)["shapes"]
        ]
    return ours == theirs


def info(data):
    """Mode, palette and text of a PNG."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.mode, image.getpalette(), image.text
