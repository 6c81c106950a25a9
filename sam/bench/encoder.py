"""The image encoder alone: `segment_anything`'s and every way of `sam.encoders`, same weights, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..config import ViTConfig
from ..encoders import WAYS, WayError, deviation, prepare
from ..model import SAM
from .models import load_model
from .original import original_model, original_package

ORIGINAL = "original"


@dataclass(frozen=True)
class EncoderResult:
    """One way: medians of processor and clock seconds, and its distance from the first contestant's embedding.

    deviation: root mean square, in standard deviations of the embedding; largest: the largest single difference.
    """

    name: str
    processor: float
    wall: float
    deviation: float
    largest: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@torch.no_grad()
def compete_encoders(name: str, rounds: int, ways: tuple[str, ...] = WAYS) -> list[EncoderResult]:
    """Every contestant in every round, once before it unmeasured; the order turns from round to round."""
    model = load_model(name)
    _give_positions(model, name)
    encoders = _contestants(model, ways)
    image = torch.randn(1, 3, *model.config.image_encoder.input_hw, generator=torch.Generator().manual_seed(0))
    answers = {way: encoder(image) for way, encoder in encoders.items()}
    samples: dict[str, list[tuple[float, float]]] = {way: [] for way in encoders}
    for turn in range(rounds):
        order = [*encoders][turn % len(encoders) :] + [*encoders][: turn % len(encoders)]
        for way in order:
            started = time.process_time(), time.perf_counter()
            encoders[way](image)
            samples[way].append((time.process_time() - started[0], time.perf_counter() - started[1]))
    expected = next(iter(answers.values()))
    return [
        EncoderResult(
            way,
            *(statistics.median(values) for values in zip(*samples[way], strict=True)),
            deviation(answers[way], expected),
            float((answers[way] - expected).abs().max()),
        )
        for way in encoders
    ]


def _contestants(model: SAM, ways: tuple[str, ...]) -> dict[str, Callable[[Tensor], Tensor]]:
    encoders: dict[str, Callable[[Tensor], Tensor]] = {}
    if isinstance(model.config.image_encoder, ViTConfig):  # the others are not the original's
        original_package()
        encoders[ORIGINAL] = original_model(model).image_encoder
    for way in ways:
        try:
            encoders[way] = prepare(model, way)
        except WayError as error:
            print(f"left out: {error}")
    return encoders


def _give_positions(model: SAM, name: str) -> None:
    """Random weights begin with positions of zero, which would hide a mistake in them."""
    if name.startswith("random:"):
        for key, weight in model.image_encoder.named_parameters():
            if "rel_pos" in key or "pos_embed" in key:
                weight.normal_(0, 0.1)


def encoders_as_markdown(name: str, results: list[EncoderResult]) -> str:
    """A table; in brackets how many times as fast as the first."""
    first = results[0]
    lines = [
        f"**Image encoder of {name}, {torch.get_num_threads()} thread(s)**\n",
        "| way | processor, s | by the clock, s | deviation | largest difference |",
        "| --- | --- | --- | --- | --- |",
    ]
    for result in results:
        cells = [f"{getattr(result, what):.2f} ({getattr(first, what) / getattr(result, what):.2f}x)" for what in TIMES]
        lines.append(f"| {' | '.join([result.name, *cells])} | {result.deviation:.1g} | {result.largest:.1g} |")
    return "\n".join(lines) + "\n"


TIMES = ("processor", "wall")
