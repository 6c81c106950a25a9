"""What is measured: decoders by name, each an ES module of the page over the files that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

OFFICIAL_MODULE = "./decoders/official.js"
HOVER_MODULE = "./decoders/hover.js"
KERNEL_MODULE = "./decoders/kernel.js"


@dataclass(frozen=True)
class Candidate:
    """A decoder that the page can open.

    `module` is the address of an ES module, relative to `demo/bench/page/`, that exports `open` (see `decoders/*.js`).
    `files` are the bytes of its graphs, and of whatever else it loads, by role.
    """

    name: str
    module: str
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def bytes(self) -> int:
        return sum(map(len, self.files.values()))

    @property
    def is_graphs(self) -> bool:
        """Whether ONNX Runtime alone can run it, in Python and on WebGPU too."""
        return "point" in self.files or "decoder" in self.files

    @property
    def answering(self) -> bytes:
        """The graph that answers prompts: the official `decoder`, or the `point` of a pair."""
        return self.files.get("point") or self.files["decoder"]


@dataclass(frozen=True)
class Prompt:
    """Points as a decoder takes them: frame pixels (N, 2) and labels (N,), padding or box corners included."""

    name: str
    coords: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)


def clicks(count: int, *, box: tuple[float, float, float, float] | None = None, frame: int = 1024) -> Prompt:
    """`count` clicks spread over the frame, the last of several excluding; encoded as Meta's client does."""
    around = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = frame * (0.5 + 0.3 * np.stack([np.cos(around), np.sin(around)], axis=1))
    labels = np.array([1] * max(count - 1, 1) + [0] * min(count - 1, 1))
    tail, tail_labels = ([box[:2], box[2:]], [2, 3]) if box else ([(0, 0)], [-1])
    name = f"{count} click{'s' if count > 1 else ''}{' + box' if box else ''}"
    coords = np.concatenate([points, np.array(tail)]).astype(np.float32)
    return Prompt(name, coords, np.concatenate([labels, tail_labels]).astype(np.float32))
