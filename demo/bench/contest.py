"""Who competes: one decoder's candidates, the prompts they get, and the browser in which they are open side by side."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from demo.bench import graphs
from demo.bench.candidates import Prompt, clicks
from demo.bench.chromium import BenchPage, Tier, chromium
from demo.bench.interleave import Sample, interleave
from demo.bench.scale import Scale, Size
from demo.bench.server import serving

BOX = (300.0, 250.0, 800.0, 700.0)
SQUARE: Size = (1024, 1024)
Key = TypeVar("Key", bound=Hashable)


class Contest:
    """One decoder's candidates, the prompts they get, and an embedding of noise."""

    def __init__(self, shape: str, scale: Scale) -> None:
        self.scale = scale
        self.model, self.candidates = graphs.model(shape), graphs.candidates(shape)
        frame = self.model.config.image_size
        self.prompts = [*(clicks(count, frame=frame) for count in scale.clicks), clicks(1, box=BOX, frame=frame)]
        self.embedding = np.random.default_rng(0).standard_normal(self.model.config.embedding_shape).astype(np.float32)

    @property
    def names(self) -> list[str]:
        return [candidate.name for candidate in self.candidates]

    @contextmanager
    def page(
        self, tier: Tier, *, flags: tuple[str, ...] = (), only: Container[str] | None = None
    ) -> Iterator[BenchPage]:
        """A browser of its own in which the candidates, or `only` some of them, are open and prepared."""
        with serving() as server, chromium(flags=flags) as browser:
            page = BenchPage(browser, server, tier)
            for candidate in self.candidates:
                if only is None or candidate.name in only:
                    page.open(candidate)
                    page.prepare(candidate.name, self.embedding, SQUARE)
            yield page

    def difference(self, logits: np.ndarray, prompt: Prompt) -> float:
        """The largest of any logit to PyTorch's."""
        return graphs.largest_difference(logits, graphs.pytorch_logits(self.model, self.embedding, prompt))

    def interleave(self, tasks: Mapping[Key, Callable[[], Sample]]) -> dict[Key, list[Sample]]:
        return interleave(tasks, self.scale.rounds)
