"""Everything mode on a GPU: fp32, bf16, and bf16 with a compiled encoder; the share of equal masks is told."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..automatic import SamAutomaticMaskGenerator
from .everything import Task, matched
from .models import load_model, thresholds

WAYS = {"fp32": ("fp32", False), "bf16": ("bf16", False), "bf16, compiled": ("bf16", True)}
"""By name: precision, and whether `torch.compile` makes the encoder."""


@dataclass(frozen=True)
class GpuResult:
    """Median seconds by the clock, and the share of masks with a partner of IoU 0.98 in fp32's."""

    name: str
    wall: float
    masks: int
    match: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def compete_on_gpu(
    task: Task, rounds: int, device: str = "cuda", ways: tuple[str, ...] = tuple(WAYS)
) -> list[GpuResult]:
    """Every way on the same weights and picture, once unmeasured, so that compiling does not count."""
    image, expected, results = task.image(), None, []
    for name in ways:
        precision, compiled = WAYS[name]
        model = load_model(task.model)
        settings = thresholds(task.model, model, image)
        model.to(device)
        if compiled:
            model.image_encoder.compile()
        generator = SamAutomaticMaskGenerator(
            model,
            task.points_per_side,
            points_per_batch=1024,
            output_mode="uncompressed_rle",
            precision=precision,
            **settings,
        )
        records = generator.generate(image)
        expected = records if expected is None else expected
        seconds = [_seconds(generator, image, device) for _ in range(rounds)]
        results.append(GpuResult(name, statistics.median(seconds), len(records), matched(records, expected)))
    return results


def gpu_as_markdown(task: Task, results: list[GpuResult]) -> str:
    """A table; in brackets how many times as fast as fp32."""
    title = f"{task.model} on {torch.cuda.get_device_name()}, {task.points_per_side} x {task.points_per_side} points"
    lines = [f"**{title}**\n", "| way | s | masks | match |", "| --- | --- | --- | --- |"]
    for result in results:
        faster = results[0].wall / result.wall
        lines.append(f"| {result.name} | {result.wall:.3f} ({faster:.1f}x) | {result.masks} | {result.match:.3f} |")
    return "\n".join(lines) + "\n"


def _seconds(generator: SamAutomaticMaskGenerator, image: Any, device: str) -> float:
    start = time.perf_counter()
    generator.generate(image)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start
