"""One contest: both generators on the same weights and picture, in turns; and each alone for its memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..automatic import SamAutomaticMaskGenerator
from ..masks import rle_decode
from ..model import SAM
from .models import load_model, thresholds
from .original import original_generator

ORIGINAL = "original"


@dataclass(frozen=True)
class Task:
    """What is measured: a model as `load_model` takes it, a picture, and the grid's points along a side."""

    model: str
    picture: Path
    points_per_side: int
    contestants: tuple[str, ...] = (ORIGINAL, "fp32", "bf16")

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.array(Image.open(self.picture).convert("RGB"))

    def generators(self, model: SAM, wanted: Sequence[str]) -> dict[str, Any]:
        """Contestants by name, on the same weights."""
        image = self.image()
        settings = {
            "points_per_side": self.points_per_side,
            "output_mode": "uncompressed_rle",
            **thresholds(self.model, model, image),
        }
        return {
            name: original_generator(model, **settings)
            if name == ORIGINAL
            else SamAutomaticMaskGenerator(model, **settings, precision=name)
            for name in wanted
        }


@dataclass(frozen=True)
class Timing:
    """Seconds of one run: by the clock, of the processor, and of the processor without encoding the picture."""

    wall: float
    processor: float
    decoder: float


@dataclass(frozen=True)
class Result:
    """One contestant: medians, how its masks match the original's, and its memory beyond the loaded model."""

    name: str
    wall: float
    processor: float
    decoder: float
    masks: int
    match: float
    megabytes: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def compete(task: Task, rounds: int, megabytes: dict[str, float]) -> list[Result]:
    """Every contestant in every round, once before it unmeasured; the order turns from round to round."""
    generators, image = task.generators(load_model(task.model), task.contestants), task.image()
    answers = {name: generator.generate(image) for name, generator in generators.items()}
    timings: dict[str, list[Timing]] = {name: [] for name in generators}
    for turn in range(rounds):
        names = list(generators)[turn % len(generators) :] + list(generators)[: turn % len(generators)]
        for name in names:
            timings[name].append(timed(generators[name], image))
    expected = answers[next(iter(generators))]
    return [
        Result(
            name,
            *(statistics.median(getattr(timing, what) for timing in timings[name]) for what in Timing.__annotations__),
            masks=len(answers[name]),
            match=matched(answers[name], expected),
            megabytes=megabytes.get(name),
        )
        for name in generators
    ]


def timed(generator: Any, image: np.ndarray) -> Timing:
    """One run, its encodings measured apart."""
    encoder, encoding = _model(generator).image_encoder, []
    hooks = [
        encoder.register_forward_pre_hook(lambda *_: encoding.append(-time.process_time())),
        encoder.register_forward_hook(lambda *_: encoding.append(time.process_time())),
    ]
    wall, processor = time.perf_counter(), time.process_time()
    generator.generate(image)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    for hook in hooks:
        hook.remove()
    return Timing(wall, processor, processor - sum(encoding))


def matched(ours: Sequence[dict], theirs: Sequence[dict], least_iou: float = 0.98) -> float:
    """The share of both sets' masks that have a partner of at least this IoU: 1 when the sets are the same."""
    if not ours or not theirs:
        return float(len(ours) == len(theirs))
    our_masks, their_masks = ([rle_decode(record["segmentation"]) for record in records] for records in (ours, theirs))
    found_theirs, found_ours = np.zeros(len(theirs), bool), 0
    boxes = np.array([record["bbox"] for record in theirs])
    for record, mask in zip(ours, our_masks, strict=True):
        near = np.abs(boxes - record["bbox"]).max(1) <= max(mask.shape) * 0.02 + 2
        same = [index for index in np.flatnonzero(near) if _iou(mask, their_masks[index]) >= least_iou]
        found_theirs[same] = True
        found_ours += bool(same)
    return (found_ours + int(found_theirs.sum())) / (len(ours) + len(theirs))


def peak_megabytes(task: Task, name: str) -> float:
    """How far this process's memory rises while one contestant works, above the loaded model; Linux only.

    What the preparation leaves with the allocator counts too, so a small figure is rather too large.
    """
    model = load_model(task.model)
    held = resident_kilobytes("VmRSS")
    generator, image = task.generators(model, [name])[name], task.image()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
    generator.generate(image)
    return (resident_kilobytes("VmHWM") - held) / 1024


def resident_kilobytes(field: str) -> int:
    """`VmRSS`, what the process holds now, `RssAnon`, without what it reads of files, or `VmHWM`, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def _model(generator: Any) -> torch.nn.Module:
    return generator.model if isinstance(generator, SamAutomaticMaskGenerator) else generator.predictor.model
