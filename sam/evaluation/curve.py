"""How a training run went, as one SVG: the loss, and the IoU of the training batches' answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Metrics = Mapping[str, Any]
"""One line of a run's `metrics.jsonl`."""

LINES = {"click_iou": "1 click", "box_iou": "box", "corrected_iou": "corrected", "validation": "validation"}
"""What is drawn in the lower half, and its name there."""
POINTS = 120
"""A curve is averaged to at most so many points."""


def read_log(path: Path) -> list[Metrics]:
    """The lines of `metrics.jsonl` by step; of a step that a resumed run repeated, the last."""
    lines = (json.loads(line) for line in path.read_text().splitlines() if line.strip())
    by_step = {line["step"]: line for line in lines}
    if not by_step:
        raise ValueError(f"{path}: no step is logged")
    return [by_step[step] for step in sorted(by_step)]


def draw_curve(log: Sequence[Metrics], path: Path) -> None:
    """Write the curves of a log as SVG; the same log gives the same bytes."""
    from matplotlib import rc_context  # only the card needs it
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "sam", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(8, 5), layout="constrained", facecolor="white")
        above, below = figure.subplots(2, sharex=True)
        above.plot(*averaged(log, "loss"), color="black")
        above.set_ylabel("loss")
        for key, name in LINES.items():
            steps, values = averaged(log, key)
            if len(steps):
                below.plot(steps, values, label=name, marker="o" if key == "validation" else None, markersize=3)
        below.set(ylabel="IoU", xlabel="step")
        if below.lines:
            below.legend(loc="lower right")
        figure.savefig(path, format="svg", metadata={"Date": None})


def averaged(log: Sequence[Metrics], key: str, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one curve, (n,) each: means over stretches of the log, at most `points`; nulls left out."""
    pairs = np.array([(line["step"], line[key]) for line in log if line.get(key) is not None], dtype=float)
    if not len(pairs):
        return np.empty(0), np.empty(0)
    stretches = np.array_split(pairs, min(points, len(pairs)))
    steps, values = np.array([stretch.mean(0) for stretch in stretches]).T
    return steps, values
