"""What precision costs on photographs: masks of the gallery's pictures, in the browser, against PyTorch in fp32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from demo.bench import graphs
from demo.bench.candidates import Prompt
from demo.bench.chromium import WASM
from demo.bench.contest import SQUARE, Contest
from demo.bench.report import Findings, Row, Table
from demo.bench.scale import Scale
from demo.routes.page import static_folder
from sam import SAM
from sam.predictor import encode

GRID = 3
SMALLEST = 16  # low-resolution pixels; the overlap of smaller masks says nothing
NOTE = f"""\
Masks of `tiny` on photographs of the gallery, {GRID} x {GRID} clicks each, wasm x1, against PyTorch: IoU of all masks
pooled, of the worst mask, and the largest difference of any logit. A graph of one mask is held to the one it chose."""


@dataclass(frozen=True)
class Overlap:
    """One mask and PyTorch's: low-resolution pixels in both and in either, and the largest difference of a logit."""

    both: int
    either: int
    difference: float


def measure(scale: Scale) -> Findings:
    contest = Contest("tiny", scale)
    model = contest.model
    seen: dict[str, list[Overlap]] = {name: [] for name in contest.names}
    with contest.page(WASM[1]) as page:
        for embedding, prompts in _photographs(model, scale.pictures):
            expected = [graphs.pytorch_logits(model, embedding, prompt) for prompt in prompts]
            for name in contest.names:
                page.prepare(name, embedding, SQUARE)
                for prompt, theirs in zip(prompts, expected, strict=True):
                    seen[name] += _overlaps(page.answer(name, prompt)[0], theirs, float(model.mask_threshold))
    return Findings([Table("Masks on photographs", NOTE, [_row(name, found) for name, found in seen.items()])])


def _photographs(model: SAM, count: int) -> Iterator[tuple[np.ndarray, list[Prompt]]]:
    """Embeddings, and a grid of clicks that lies within the picture's part of the frame."""
    for file in sorted((static_folder() / "gallery").glob("*.jpg"))[:count]:
        embedding = encode(model, np.asarray(Image.open(file).convert("RGB")))
        height, width = embedding.frame.resized_hw
        steps = (np.arange(GRID) + 0.5) / GRID
        clicks = [(x * width, y * height) for y in steps for x in steps]
        yield embedding.features.numpy(), [_click(*click) for click in clicks]


def _click(x: float, y: float) -> Prompt:
    return Prompt(f"{x:.0f}, {y:.0f}", np.array([(x, y), (0, 0)], np.float32), np.array([1, -1], np.float32))


def _overlaps(ours: np.ndarray, theirs: np.ndarray, threshold: float) -> Iterator[Overlap]:
    for index, logits in enumerate(ours):
        single = len(ours) < len(theirs)
        expected = graphs.nearest(theirs, logits) if single else theirs[index]
        mask, wanted = logits > threshold, expected > threshold
        if wanted.sum() >= SMALLEST:
            difference = float(np.abs(logits - expected).max())
            yield Overlap(int((mask & wanted).sum()), int((mask | wanted).sum()), difference)


def _row(name: str, found: list[Overlap]) -> Row:
    return {
        "candidate": name,
        "masks": len(found),
        "pooled IoU": round(sum(one.both for one in found) / max(1, sum(one.either for one in found)), 4),
        "worst IoU": round(min((one.both / one.either for one in found), default=0.0), 4),
        "difference": max((one.difference for one in found), default=0.0),
    }
