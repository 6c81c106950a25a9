"""Everything mode on a GPU: the original, fp32, bf16, and bf16 with a compiled encoder; and how their masks agree.

The original takes part where its package is installed. It asks as many points at once as its default says, for each
costs it a picture of logits.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..automatic import SamAutomaticMaskGenerator
from .everything import ORIGINAL, Task, matched
from .models import load_model, thresholds
from .original import original_generator

WAYS = {"fp32": ("fp32", False), "bf16": ("bf16", False), "bf16, compiled": ("bf16", True)}
"""By name: precision, and whether `torch.compile` makes the encoder."""


@dataclass(frozen=True)
class GpuResult:
    """Median seconds by the clock, and the share of masks with a partner of IoU 0.98 in the first contestant's."""

    name: str
    wall: float
    masks: int
    match: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def compete_on_gpu(
    task: Task, rounds: int, device: str = "cuda", ways: tuple[str, ...] | None = None
) -> list[GpuResult]:
    """Every way on the same weights and picture, once unmeasured, so that compiling does not count.

    ways: by default the original, where it is installed, and all of `WAYS`.
    """
    image, expected, results = task.image(), None, []
    for name in contestants() if ways is None else ways:
        generator = _generator(name, task, image, device)
        records = generator.generate(image)
        expected = records if expected is None else expected
        seconds = [_seconds(generator, image, device) for _ in range(rounds)]
        results.append(GpuResult(name, statistics.median(seconds), len(records), matched(records, expected)))
    return results


def contestants() -> tuple[str, ...]:
    """Names of all ways, the original first where its package is."""
    return (*((ORIGINAL,) if importlib.util.find_spec("segment_anything") else ()), *WAYS)


def gpu_as_markdown(task: Task, results: list[GpuResult]) -> str:
    """A table; in brackets how many times as fast as the first."""
    title = f"{task.model} on {torch.cuda.get_device_name()}, {task.points_per_side} x {task.points_per_side} points"
    lines = [f"**{title}**\n", "| way | s | masks | match |", "| --- | --- | --- | --- |"]
    for result in results:
        faster = results[0].wall / result.wall
        lines.append(f"| {result.name} | {result.wall:.3f} ({faster:.1f}x) | {result.masks} | {result.match:.3f} |")
    return "\n".join(lines) + "\n"


def _generator(name: str, task: Task, image: np.ndarray, device: str) -> Any:
    model = load_model(task.model)
    settings = {"output_mode": "uncompressed_rle", **thresholds(task.model, model, image)}
    model.to(device)
    if name == ORIGINAL:
        generator = original_generator(model, points_per_side=task.points_per_side, **settings)
        generator.predictor.model.to(device)
        return generator
    precision, compiled = WAYS[name]
    if compiled:
        model.image_encoder.compile()
    return SamAutomaticMaskGenerator(
        model, task.points_per_side, points_per_batch=1024, precision=precision, **settings
    )


def _seconds(generator: Any, image: Any, device: str) -> float:
    start = time.perf_counter()
    generator.generate(image)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start
