"""Fair timing on a machine that others use: every candidate in every round, in an order that chance decides."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Sample:
    """One measurement, in milliseconds: by the clock, and of the processor (all threads together)."""

    wall_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Spread:
    """The middle of some measurements and how far they scatter."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))


def interleave(tasks: Mapping[Key, Callable[[], Sample]], rounds: int, *, seed: int = 0) -> dict[Key, list[Sample]]:
    """Run every task once unmeasured, then once in each of `rounds` rounds, shuffled anew for every round."""
    shuffled = random.Random(seed)
    for task in tasks.values():
        task()
    samples: dict[Key, list[Sample]] = {key: [] for key in tasks}
    for _ in range(rounds):
        order = list(tasks)
        shuffled.shuffle(order)
        for key in order:
            samples[key].append(tasks[key]())
    return samples
