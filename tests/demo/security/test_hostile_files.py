"""Files that mean harm: bombs, polyglots, lying headers, code; each is refused, or harmless once it is served."""

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from demo_world import png
from onnx import TensorProto, helper
from PIL import Image
from safetensors.torch import save as save_tensors

from demo.pictures import PictureLimits, read_picture
from demo.problems import BrokenPicture, Problem, TooManyPixels
from sam import load_sam
from sam.checkpoint import CheckpointError
from sam.formats import archive

ROOT = Path(__file__).parents[3]
PAYLOAD = b"<script>alert(document.domain)</script>"


# ---- bombs


def picture(kind: str, side: int = 8, **options) -> bytearray:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, kind, **options)
    return bytearray(file.getvalue())


def huge_jpeg() -> bytes:
    data = picture("JPEG")
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    return bytes(data)


def huge_tiff() -> bytes:
    data = picture("TIFF")
    (directory,) = struct.unpack_from("<I", data, 4)
    for entry in range(struct.unpack_from("<H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        if struct.unpack_from("<H", data, at)[0] in (256, 257):  # width and height
            struct.pack_into("<HII", data, at + 2, 4, 1, 60000)
    return bytes(data)


def huge_bmp() -> bytes:
    data = picture("BMP")
    data[18:26] = struct.pack("<ii", 60000, 60000)
    return bytes(data)


def huge_gif() -> bytes:
    data = picture("GIF")
    data[6:10] = struct.pack("<HH", 60000, 60000)
    return bytes(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("bomb", [huge_jpeg, huge_tiff, huge_bmp, huge_gif])
def test_a_picture_that_claims_billions_of_pixels_is_refused_before_any_is_made(bomb, monkeypatch):
    data = bomb()
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(TooManyPixels):
        read_picture(data)


def with_chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk before its pixels."""
    data = png(8, 8)
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000), 9)),
        (b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(200_000_000), 9)),
        (b"iCCP", b"k\0\0" + zlib.compress(bytes(200_000_000), 9)),
    ],
    ids=["zTXt", "iTXt", "iCCP"],
)
def test_a_packed_chunk_beside_the_pixels_is_no_bomb(chunk):
    """In a process that may take 150 MB more than it begins with; each of these unpacks to 200 MB."""
    code = (
        "import resource, sys; from demo.pictures import read_picture; from demo.problems import BrokenPicture\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + 150_000_000,) * 2)\n"
        "try: print(read_picture(sys.stdin.buffer.read()).shape)\n"
        "except BrokenPicture: print('refused')"
    )
    run = subprocess.run([sys.executable, "-c", code], input=with_chunk(*chunk), capture_output=True, cwd=ROOT)
    assert run.stdout.strip() in (b"(8, 8, 3)", b"refused"), run.stderr.decode()[-500:]


@pytest.mark.parametrize("claimed", [None, 10])
def test_a_session_that_unpacks_to_more_than_is_allowed_is_refused(monkeypatch, claimed):
    """Whether the zip says how large it is, or lies."""
    monkeypatch.setattr(archive, "LARGEST", 1000)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.session.json", bytes(1_000_000))
    data = file.getvalue()
    if claimed is not None:
        data = data.replace(struct.pack("<I", 1_000_000), struct.pack("<I", claimed))
    with pytest.raises(ValueError):
        archive.read(data)


# ---- polyglots


def polyglots() -> dict[str, bytes]:
    return {
        "png and html": png(16, 16) + PAYLOAD,
        "png with a text": with_chunk(b"tEXt", b"Comment\0" + PAYLOAD),
        "gif and script": b"GIF89a" + bytes(picture("GIF")[6:]) + b"/*" + PAYLOAD + b"*/",
        "jpeg with a comment": bytes(picture("JPEG", comment=PAYLOAD)),
        "bmp and svg": bytes(picture("BMP")) + b"<svg onload='alert(1)'>" + PAYLOAD,
    }


@pytest.mark.parametrize("name", polyglots())
def test_a_polyglot_is_served_as_pixels_and_nothing_else(browser, name):
    answer = browser.get(browser.upload(polyglots()[name])["picture_url"])
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"
    assert b"script" not in answer.content and Image.open(io.BytesIO(answer.content)).format == "PNG"


@pytest.mark.parametrize(
    "head", [b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"RIFF....WEBP"]
)
def test_a_page_behind_the_first_bytes_of_a_picture_is_refused(browser, head):
    answer = browser.post("/api/images", content=head + PAYLOAD * 20, headers={"Content-Type": "text/html"})
    assert answer.status_code in (413, 415, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"


# ---- weights


def lying(header: dict | bytes, body: bytes = bytes(64), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(begin: int, end: int, shape: list, dtype: str = "F32") -> dict:
    return {"image_encoder.pos_embed": {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}}


@pytest.mark.parametrize(
    "data",
    [
        lying(entry(0, 64, [4, 4]), length=2**60),
        lying(entry(0, 64, [4, 4]), length=2**63),
        lying(entry(0, 2**40, [2**38])),
        lying(entry(0, 64, [2**62, 2**62])),
        lying(entry(0, 64, [-4, -4])),
        lying(entry(64, 0, [4, 4])),
        lying(entry(0, 64, [4, 4], dtype="F1")),
        lying({**entry(0, 64, [4, 4]), "b": {"dtype": "F32", "shape": [4, 4], "data_offsets": [32, 64]}}),
        lying(b"{" * 100_000),
        lying(b'{"a": ' + b"[" * 100_000),
    ],
)
def test_safetensors_whose_header_lies_are_refused(tmp_path, data):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        load_sam(path)


def test_a_pickle_under_the_name_of_safetensors_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.save({"image_encoder.pos_embed": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError):
        load_sam(path)


def test_what_is_in_the_cache_of_embeddings_cannot_break_a_run(tmp_path):
    from sam.folders.cache import EmbeddingCache

    name = f"{'a' * 32}-{'b' * 32}-fp32.safetensors"
    for about in ({}, {"original_hw": 3}, {"original_hw": [1, 2], "resized_hw": [1], "padded_hw": None}):
        tensors = {"features": torch.zeros(1)}
        (tmp_path / name).write_bytes(save_tensors(tensors, metadata={"embedding": json.dumps(about)}))
        assert EmbeddingCache(tmp_path, 10**9).load("a" * 64, "b" * 64, "fp32") is None


# ---- graphs


def graph_with_data_in(location: str) -> bytes:
    """A decoder of nothing, whose weights are said to lie in a file of the machine."""
    weights = helper.make_tensor("w", TensorProto.UINT8, [8], bytes(8), raw=True)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "8")):
        weights.external_data.add(key=key, value=value)
    node = helper.make_node("Identity", ["w"], ["masks"])
    output = helper.make_tensor_value_info("masks", TensorProto.UINT8, [8])
    graph = helper.make_graph([node], "g", [], [output], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "secret", "./secret"])
def test_a_graph_that_reads_other_files_is_not_verified(tmp_path, location, monkeypatch, capsys):
    """Nor are they read: the weights of what is verified are in its one file."""
    from export_onnx import main

    folder = tmp_path / "inner"
    folder.mkdir()
    for path in (tmp_path / "secret", folder / "secret"):
        path.write_bytes(b"a secret")
    (folder / "decoder.onnx").write_bytes(graph_with_data_in(location))
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as refused:
        main(["--checkpoint", "tiny", "--verify", "decoder.onnx"])
    said = capsys.readouterr()
    assert refused.value.code == 2 and "lie in another file" in said.err
    assert "a secret" not in said.out + said.err and "Traceback" not in said.err


def test_what_is_no_graph_is_not_verified(tmp_path, capsys):
    from export_onnx import main

    for number, data in enumerate((b"", b"\x08", bytes(1000), np.random.default_rng(0).bytes(5000))):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(data)
        with pytest.raises(SystemExit) as refused:
            main(["--checkpoint", "tiny", "--verify", str(path)])
        assert refused.value.code == 2
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_picture_never_costs_more_than_its_limits(seed):
    """Bytes are changed anywhere; what is read is no larger than allowed."""
    rng, limits = np.random.default_rng(seed), PictureLimits(max_pixels=10_000)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "BMP"):
        data = picture(kind, 32)
        for at in rng.integers(0, len(data), 6):
            data[at] = rng.integers(256)
        try:
            assert read_picture(bytes(data), limits).size <= 3 * limits.max_pixels
        except Problem as problem:
            assert isinstance(problem, (BrokenPicture, TooManyPixels)) or problem.status == 415
