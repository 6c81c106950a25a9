"""Pictures for the page, PyTorch's answers for them, and masks compared."""

import io
import mimetypes
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from PIL import Image, ImageOps

from sam import SAM
from sam.predictor import ImageEmbedding, encode, predict_low_res
from sam.transforms import ImageFrame, masks_to_original

GRID = 256
FRAME = 1024
CUP, SPOON, TABLE = (300, 180), (430, 330), (120, 60)
"""Points on things in the gallery's cup of coffee."""
BOX = (170, 90, 440, 330)
"""Around the cup and its saucer."""


@dataclass(frozen=True)
class Picture:
    """A picture file as a person would open it."""

    name: str
    data: bytes

    @property
    def mime_type(self) -> str:
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    @cached_property
    def pixels(self) -> np.ndarray:
        """H, W, 3 uint8, upright; read by Pillow alone, not by the server's code."""
        return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(self.data))).convert("RGB"))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @cached_property
    def frame(self) -> ImageFrame:
        return ImageFrame.fit(self.pixels.shape[:2], FRAME)

    @classmethod
    def encoded(cls, name: str, pixels: np.ndarray, **options) -> "Picture":
        """The file that Pillow writes under this name."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, Image.registered_extensions()["." + name.rpartition(".")[2]], **options)
        return cls(name, file.getvalue())


@dataclass(frozen=True)
class Shown:
    """What the page shows: low-resolution logits (256, 256), which of the four they are, what they answer.

    `feedback` are the logits (256, 256) of an earlier answer that the decoder was given, or None. `window`: x, y, width
    and height of the closer view that the logits are of, None for all of the picture.
    """

    logits: np.ndarray
    index: int
    iou: float
    prompts: dict
    feedback: np.ndarray | None = None
    window: list[int] | None = None

    @property
    def is_ambiguous(self) -> bool:
        return len(self.prompts["clicks"]) == 1 and self.prompts["box"] is None


class Oracle:
    """PyTorch's answers to what the page was asked, on the same picture files."""

    def __init__(self, model: SAM) -> None:
        self.model = model
        self._embeddings: dict[tuple, ImageEmbedding] = {}

    def logits(
        self,
        picture: Picture,
        prompts: dict,
        feedback: np.ndarray | None = None,
        window: list[int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """All four candidates, (4, 256, 256), and their predicted IoU, for prompts in the picture's pixels."""
        clicks, (x, y) = prompts["clicks"], window[:2] if window else (0, 0)
        points = [[click["x"] - x, click["y"] - y] for click in clicks] or None
        labels = [click["label"] for click in clicks] or None
        box = prompts["box"] and np.array(prompts["box"]) - (x, y, x, y)
        mask = None if feedback is None else feedback[None]
        return predict_low_res(self.model, self._embedding(picture, window), points, labels, box, mask)

    def agreement(self, picture: Picture, shown: Shown) -> float:
        """IoU of the mask shown with PyTorch's for the same prompts, over the picture's part of the grid.

        The page chooses among three candidates by predicted IoU; near a tie either choice is right, but no other.
        """
        logits, iou = self.logits(picture, shown.prompts, shown.feedback, shown.window)
        if shown.is_ambiguous:
            assert shown.index in (1, 2, 3) and iou[shown.index] > iou[1:].max() - 0.03, (shown.index, iou)
        else:
            assert shown.index == 0
        frame = ImageFrame.fit(shown.window[:1:-1], FRAME) if shown.window else picture.frame
        rows, columns = (-(-side * GRID // FRAME) for side in frame.resized_hw)
        return overlap(shown.logits[:rows, :columns] > 0, logits[shown.index, :rows, :columns] > 0)

    def _embedding(self, picture: Picture, window: list[int] | None) -> ImageEmbedding:
        x, y, width, height = window or (0, 0, *picture.size)
        key = (picture.data, x, y, width, height)
        if key not in self._embeddings:
            self._embeddings[key] = encode(self.model, picture.pixels[y : y + height, x : x + width])
        return self._embeddings[key]


def picture_mask(picture: Picture, logits: np.ndarray, window: list[int] | None = None) -> np.ndarray:
    """PyTorch's way from low-resolution logits, of a closer view if told, to a mask of the picture, (H, W) bool."""
    x, y, width, height = window or (0, 0, *picture.size)
    mask = np.zeros(picture.pixels.shape[:2], bool)
    frame = ImageFrame.fit((height, width), FRAME)
    seen = masks_to_original(torch.from_numpy(logits)[None, None], frame) > 0
    mask[y : y + height, x : x + width] = seen[0, 0].numpy()
    return mask


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two masks, neither of them empty."""
    assert a.any() and b.any(), f"a mask is empty: {a.sum()} and {b.sum()} of {a.size} pixels"
    return float((a & b).sum() / (a | b).sum())


# ---- pixels drawn -----------------------------------------------------------------------------------

TINT = np.array([74.0, 115.0, 255.0])
TINT_SHARE = 0.42


def expected_in_view(picture: Picture, logits: np.ndarray, view, ratio: float = 1) -> np.ndarray:
    """The mask as PyTorch makes it, at the size at which the picture is shown, in device pixels."""
    shown_hw = round(view.height * ratio), round(view.width * ratio)
    frame = replace(picture.frame, original_hw=shown_hw)
    return (masks_to_original(torch.from_numpy(logits)[None, None], frame) > 0)[0, 0].numpy()


def drawn_mask(bare: np.ndarray, masked: np.ndarray, view, ratio: float = 1) -> np.ndarray:
    """Where a screenshot has at least half of the mask's tint over the screenshot without a mask; the view only."""
    before, after = in_view(bare, view, ratio), in_view(masked, view, ratio)
    towards = TINT - before
    share = ((after - before) * towards).sum(-1) / np.maximum((towards**2).sum(-1), 1)
    return share > TINT_SHARE / 2


def in_view(screenshot: np.ndarray, view, ratio: float = 1) -> np.ndarray:
    """The part of a screenshot that shows the picture."""
    top, left = round(view.y * ratio), round(view.x * ratio)
    return screenshot[top : top + round(view.height * ratio), left : left + round(view.width * ratio)]
