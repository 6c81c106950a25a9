"""Fuzz the readers of files that strangers send: each answers, or refuses in the one way that it promises.

    python -m tests.fuzz.readers                          every reader for 60 seconds, guided by coverage (atheris)
    python -m tests.fuzz.readers --only rle --seconds 600
    python -m tests.fuzz.readers --replay rle crash-0123  one input again

`pip install ".[fuzz]"` brings atheris, for Linux. What broke a reader is kept in a file beside, named in the report.
"""

from __future__ import annotations

import argparse
import atexit
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as save_tensors

from demo.pictures import PictureLimits, read_picture
from demo.problems import Problem
from sam import load_sam
from sam.checkpoint import CheckpointError
from sam.folders.cache import EmbeddingCache
from sam.folders.prompts import read_prompts
from sam.formats import archive, coco, labelme, png, yolo
from sam.formats.session import MaskObject, Picture, Session
from sam.masks import rle_decode, rle_decompress, rle_encode

LIMITS = PictureLimits(max_bytes=1_000_000, max_pixels=250_000)
_PICTURE = Picture("cat.jpg", 24, 16)
_FOLDER = Path(tempfile.gettempdir()) / f"fuzz-readers-{os.getpid()}"  # others may fuzz on this machine meanwhile
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


@dataclass(frozen=True)
class Reader:
    """What reads bytes, what it may raise instead, and bytes to begin with."""

    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], Sequence[bytes]]

    def try_on(self, data: bytes) -> None:
        """Read; anything raised that is no refusal comes out."""
        with suppress(*self.refusals):
            self.read(data)


# ---- beginnings -----------------------------------------------------------------------------------


def _image(kind: str, **options) -> bytes:
    pixels = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _pictures() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    return [*map(_image, kinds), _image("JPEG", exif=exif), _image("TIFF", compression="tiff_lzw")]


def _session() -> Session:
    mask = np.zeros(_PICTURE.size, bool)
    mask[3:9, 4:15] = True
    return Session(_PICTURE, (MaskObject("cat", rle_encode(mask)), MaskObject("dog", rle_encode(~mask))))


def _written(write: Callable[..., dict[str, bytes]]) -> list[bytes]:
    return list(write(_session()).values())


def _tensors() -> bytes:
    about = {"original_hw": [16, 24], "resized_hw": [683, 1024], "padded_hw": [1024, 1024]}
    about |= {"model_id": "tiny", "weights_hash": "0" * 64}
    return save_tensors({"features": torch.zeros(1, 2, 2, 2)}, metadata={"embedding": json.dumps(about)})


def _checkpoints() -> list[bytes]:
    state = {"image_encoder.pos_embed": torch.zeros(1, 2, 2, 4), "mask_decoder.iou_token.weight": torch.zeros(1, 4)}
    pickled = io.BytesIO()
    torch.save(state, pickled)
    old = io.BytesIO()
    torch.save(state, old, _use_new_zipfile_serialization=False)
    return [save_tensors(state), pickled.getvalue(), old.getvalue()]


# ---- readers --------------------------------------------------------------------------------------


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of files as one of bytes."""

    def read_bytes(data: bytes) -> object:
        _FOLDER.mkdir(exist_ok=True)
        path = _FOLDER / name
        path.write_bytes(data)
        return read(path)

    return read_bytes


def _cached(data: bytes) -> object:
    _FOLDER.mkdir(exist_ok=True)
    (_FOLDER / f"{'a' * 32}-{'b' * 32}-fp32.safetensors").write_bytes(data)
    return EmbeddingCache(_FOLDER, 10**9).load("a" * 64, "b" * 64, "fp32")


def _run_lengths(data: bytes) -> object:
    return rle_decode(rle_decompress({"size": [16, 24], "counts": data.decode("latin-1")}))


READERS = {
    "picture": Reader(lambda data: read_picture(data, LIMITS), (Problem,), _pictures),
    "rle": Reader(_run_lengths, (ValueError,), lambda: [b"o`b0g0f<2N2N", b"0", b"PPYo1"]),
    "session zip": Reader(archive.read_all, (ValueError,), lambda: _written(archive.write)),
    "mask png": Reader(png.read, (ValueError,), lambda: [*_written(png.write_indexed), *_written(png.write_binary)]),
    "coco": Reader(coco.read_all, (ValueError,), lambda: _written(coco.write)),
    "labelme": Reader(labelme.read, (ValueError,), lambda: _written(labelme.write)),
    "yolo": Reader(lambda data: yolo.read(data, _PICTURE), (ValueError,), lambda: _written(yolo.write)),
    "embedding": Reader(_cached, (), lambda: [_tensors()]),
    "checkpoint": Reader(_in_file("weights.pth", load_sam), (CheckpointError,), _checkpoints),
    "safetensors": Reader(_in_file("weights.safetensors", load_sam), (CheckpointError,), _checkpoints),
    "boxes csv": Reader(
        _in_file("boxes.csv", lambda path: read_prompts(path, "boxes")),
        (ValueError,),
        lambda: [b"file,x0,y0,x1,y1,category\ncat.jpg,1,2,3,4,cat\n"],
    ),
    "points csv": Reader(
        _in_file("points.csv", lambda path: read_prompts(path, "points")),
        (ValueError,),
        lambda: [b"file,x,y,label,object\ncat.jpg,1,2,1,a\n"],
    ),
    "boxes coco": Reader(
        _in_file("boxes.json", lambda path: read_prompts(path, "boxes")), (ValueError,), lambda: _written(coco.write)
    ),
}


# ---- running --------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.readers", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each reader (default 60)")
    parser.add_argument("--only", choices=READERS, action="append", help="this reader, and others named so")
    parser.add_argument("--replay", nargs=2, metavar=("READER", "FILE"), help="read one file again, and show the fault")
    parser.add_argument("--guided", choices=READERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.replay:
        READERS[options.replay[0]].try_on(Path(options.replay[1]).read_bytes())
        return 0
    if options.guided:
        _guided(options.guided, options.seconds)
    return max([_one(name, options.seconds) for name in options.only or READERS])


def _one(name: str, seconds: int) -> int:
    """One reader in a process of its own, which a fault ends; 1 if there was one."""
    command = [sys.executable, "-m", "tests.fuzz.readers", "--guided", name, "--seconds", str(seconds)]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    runs = re.findall(r"^Done (\d+) runs|^stat::number_of_executed_units:\s*(\d+)", run.stderr, re.M)
    count = next((int(number) for pair in reversed(runs) for number in pair if number), 0)
    kept = re.search(r"Test unit written to (\S+)", run.stderr)
    outcome = f"fault: {kept[1]}" if kept else f"broke off ({run.returncode})" if run.returncode else "no fault"
    print(f"{name:12} {count:>9} inputs  {outcome}", flush=True)
    if kept or run.returncode:
        print(run.stderr[-3000:], file=sys.stderr)
    return int(bool(kept or run.returncode))


def _guided(name: str, seconds: int) -> None:
    """Fuzz until the time is over or a fault is found; never returns."""
    import atheris

    reader = READERS[name]
    for module in (zipfile, *_own_modules()):
        _instrument(atheris, module)
    corpus = Path(tempfile.mkdtemp(prefix="corpus-"))
    for number, seed in enumerate(reader.seeds()):
        (corpus / str(number)).write_bytes(seed)
    limits = [f"-max_total_time={seconds}", "-max_len=20000", "-timeout=30", "-rss_limit_mb=4096"]
    limits += [f"-artifact_prefix={_FOLDER.parent}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], reader.try_on)
    atheris.Fuzz()


def _own_modules() -> list:
    return [module for name, module in sys.modules.items() if name.startswith(("sam.formats", "sam.masks", "demo."))]


def _instrument(atheris, module) -> None:
    """Count what these functions reach, too: atheris then tells inputs apart by it."""
    for name, value in list(vars(module).items()):
        if callable(value) and getattr(value, "__module__", None) == module.__name__ and hasattr(value, "__code__"):
            setattr(module, name, atheris.instrument_func(value))


if __name__ == "__main__":
    sys.exit(main())
