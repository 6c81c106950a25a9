"""What a run tells while it goes: JSON lines, TensorBoard, a line for the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Metrics:
    """What one step reports; IoU in 0-1, None where no prompt was of that kind."""

    step: int
    size: int
    loss: float
    affinity: float
    click_iou: float | None
    box_iou: float | None
    corrected_iou: float | None
    learning_rate: float
    masks_per_second: float
    validation: float | None = None
    """Mean of the validation's IoU with one click and with a box, at the steps that look."""

    def summary(self) -> str:
        """One short line."""
        values = {"click": self.click_iou, "box": self.box_iou, "corrected": self.corrected_iou}
        shown = " ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)
        return f"{self.size} px loss {self.loss:.3f} {shown} {self.masks_per_second:.0f} masks/s"


class Journal:
    """`metrics.jsonl`, one line a step, and TensorBoard's files beside it where that package is installed.

    A resumed run forgets the lines after its checkpoint: they are written again.
    """

    def __init__(self, folder: Path, resumed_at: int) -> None:
        path = folder / "metrics.jsonl"
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= resumed_at]
        path.write_text("".join(line + "\n" for line in kept))
        self._file = path.open("a")
        self._board = _board(folder, resumed_at)

    def write(self, metrics: Metrics) -> None:
        """Note one step."""
        values = asdict(metrics)
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        if self._board:
            for name, value in values.items():
                if value is not None and name != "step":
                    self._board.add_scalar(name, value, metrics.step)

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()
        if self._board:
            self._board.close()


def _lines(path: Path) -> list[str]:
    """Whole lines only: a killed run may have left half of one."""
    return [line for line in path.read_text().split("\n")[:-1] if line] if path.exists() else []


def _board(folder: Path, resumed_at: int):
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder / "tensorboard", purge_step=resumed_at + 1)
