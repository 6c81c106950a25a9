"""A picture's way to the page: encoding it, packing its embedding for the wire, unpacking it in the browser."""

from __future__ import annotations

from functools import partial

import numpy as np
from PIL import Image

from demo.bench import graphs
from demo.bench.chromium import WASM, BenchPage, chromium
from demo.bench.interleave import Spread, interleave
from demo.bench.native import timed
from demo.bench.report import Findings, Row, Table, spreads
from demo.bench.scale import Scale, Size
from demo.bench.server import serving
from demo.codings import compress
from demo.routes.page import static_folder
from demo.schemas import ModelInfo, Picture
from demo.wire import pack_embedding
from sam import SAM
from sam.predictor import ImageEmbedding, encode

NOTE = """\
`tiny` on this machine's processors: milliseconds by the clock to encode a picture and to pack its embedding (fp16, then
zstd), bytes on the wire, and milliseconds in the page's worker to fetch it from this machine and to unpack it."""


def measure(scale: Scale) -> Findings:
    model = graphs.model("tiny")
    with serving() as server, chromium() as browser:
        page = BenchPage(browser, server, WASM[1])
        rows = [_row(model, page, size, scale.rounds) for size in scale.sizes]
    return Findings([Table("Embedding", NOTE, rows)])


def _row(model: SAM, page: BenchPage, size: Size, rounds: int) -> Row:
    picture = photograph(size)
    embedding = encode(model, picture)
    body = packed(embedding, size)
    sent = compress(body)
    tasks = {
        "encode": partial(timed, partial(encode, model, picture)),
        "pack": partial(timed, lambda: compress(packed(embedding, size))),
    }
    clocks = {name: spreads(samples)[1] for name, samples in interleave(tasks, rounds).items()}
    fetching, unpacking = zip(*(page.unpack(sent) for _ in range(rounds)), strict=True)
    return {
        "picture": f"{size[0]}x{size[1]}",
        **clocks,
        "fp32": embedding.features.nbytes,
        "fp16": len(body),
        "fp16 + zstd": len(sent),
        "fetch": Spread.of(fetching),
        "unpack": Spread.of(unpacking),
    }


def packed(embedding: ImageEmbedding, size: Size) -> bytes:
    """The body that the demo's server makes of an embedding, before its content coding."""
    model = ModelInfo(id=embedding.model_id, weights_hash=embedding.weights_hash)
    picture = Picture(id="0" * 64, original_hw=size, resized_hw=embedding.frame.resized_hw, model=model)
    frame = max(embedding.frame.padded_hw)
    return pack_embedding(embedding.features.numpy(), "fp16", picture=picture, prompt_frame=frame)


def photograph(size: Size) -> np.ndarray:
    """A gallery picture stretched to (height, width): uint8 RGB with the spectrum of a photograph, not of noise."""
    height, width = size
    with Image.open(static_folder() / "gallery" / "chelsea.jpg") as opened:
        return np.asarray(opened.convert("RGB").resize((width, height)))
