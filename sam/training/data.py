"""Folders of pictures with layered masks, and random training examples drawn from them.

Format: `SOURCE/NAME.webp|jpg|jpeg` with `SOURCE/NAME.0.png, NAME.1.png ...`, one indexed PNG per layer, as large as the
picture; 0 is "no segment", 1..N are segments. For segment k every other pixel is outside, id 0 included, save where
the source leaves 0 unknown (`UNKNOWN_ZERO`): those pixels count neither way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..transforms import ImageFrame, resize_image

UNKNOWN_ZERO = ("bsds500", "camvid")
"""Sources (by prefix) whose id 0 is unlabelled rather than outside: specks, and the void class."""
VARIETY = {"coco_subset": 3.0, "bsds500_trainval": 2.0, "ecssd": 1.5, "facade_roboflow": 0.5, "camvid": 0.5}
"""Sources that are shown more or less often than the number of their pictures says: every scene against one street."""
OUTSIDE = -1
"""Layer value of the padding around a picture."""


@dataclass(frozen=True)
class Record:
    """One picture and its layers on disk; decoded at first use and kept."""

    image_path: Path
    layer_paths: tuple[Path, ...]

    @property
    def source(self) -> str:
        return self.image_path.parent.name

    @property
    def zero_is_unknown(self) -> bool:
        return self.source.startswith(UNKNOWN_ZERO)

    @cached_property
    def image(self) -> np.ndarray:
        """H,W,3 uint8 RGB."""
        return np.asarray(Image.open(self.image_path).convert("RGB"))

    @cached_property
    def layers(self) -> tuple[np.ndarray, ...]:
        """H,W segment ids, one array a layer, int16."""
        return tuple(np.asarray(Image.open(path)).astype(np.int16) for path in self.layer_paths)


@dataclass(frozen=True)
class Batch:
    """Training examples of one working size S: P pictures, M masks each; s = S/2 is the low-resolution side.

    images (P, 3, S, S) 0-255; targets (P, M, s, s) in 0-1; valid (P, M, s, s) bool; segments (P, S/8, S/8) int ids of
    one layer for the auxiliary losses, 0 or less where there is none.
    """

    images: Tensor
    targets: Tensor
    valid: Tensor
    segments: Tensor


def find_records(folder: str | Path) -> list[Record]:
    """All pictures with masks below `folder`, sorted; `ValueError` when there is none."""
    pictures = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".webp", ".jpg", ".jpeg"))
    records = [Record(path, _layers_of(path)) for path in pictures]
    records = [record for record in records if record.layer_paths]
    if not records:
        raise ValueError(f"no picture with masks (NAME.webp and NAME.0.png) below {folder}")
    return records


def _layers_of(picture: Path) -> tuple[Path, ...]:
    layers = picture.parent.glob(f"{picture.stem}.[0-9]*.png")
    return tuple(sorted(layers, key=lambda path: int(path.suffixes[-2][1:])))


class BatchSampler:
    """An endless, seeded stream of batches: a source by its weight, then a picture, then masks."""

    def __init__(self, records: list[Record], *, size: int, pictures: int, masks: int, seed: int) -> None:
        self.size, self.pictures, self.masks = size, pictures, masks
        self.rng = np.random.default_rng(seed)
        self.by_source: dict[str, list[Record]] = {}
        for record in records:
            self.by_source.setdefault(record.source, []).append(record)
        # The square root keeps 40 dominoes from being shown as often as 990 varied pictures, and the reverse.
        weights = np.array([VARIETY.get(name, 1.0) * len(group) ** 0.5 for name, group in self.by_source.items()])
        self.weights = weights / weights.sum()

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.draw()

    def draw(self) -> Batch:
        """One batch."""
        groups = list(self.by_source.values())
        examples = []
        while len(examples) < self.pictures:
            group = groups[self.rng.choice(len(groups), p=self.weights)]
            example = draw_example(group[self.rng.integers(len(group))], self.size, self.masks, self.rng)
            if example is not None:
                examples.append(example)
        return Batch(*(torch.stack(parts) for parts in zip(*examples, strict=True)))


def draw_example(record: Record, size: int, masks: int, rng: np.random.Generator) -> tuple[Tensor, ...] | None:
    """Augment one picture and draw `masks` of its segments; None when the crop holds no segment large enough."""
    image, layers = random_crop(record.image, record.layers, rng)
    frame = ImageFrame.fit(image.shape[:2], size)
    layers = [_place_layer(layer, frame) for layer in layers]
    choices = [(i, k) for i, layer in enumerate(layers) for k in _large_segments(layer)]
    if not choices:
        return None
    chosen = [choices[i] for i in rng.choice(len(choices), masks, replace=len(choices) < masks)]
    shown = layers[chosen[0][0]]
    pixels = _place_image(image, frame, rng)
    targets = torch.from_numpy(np.stack([layers[i] == k for i, k in chosen])).float()
    outside = [(layers[i] == OUTSIDE) | ((layers[i] == 0) & record.zero_is_unknown) for i, _ in chosen]
    valid = ~torch.from_numpy(np.stack(outside))[:, ::2, ::2]
    segments = torch.from_numpy(shown[4::8, 4::8].astype(np.int64))
    example = (pixels, torch.nn.functional.avg_pool2d(targets, 2), valid, segments)
    if rng.random() < 0.5 and frame.resized_hw[1] == size:
        example = tuple(part.flip(-1) for part in example)
    return example


def random_crop(
    image: np.ndarray, layers: tuple[np.ndarray, ...], rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Four times in ten the whole picture, else a window of 0.4 to 1 of each side."""
    height, width = image.shape[:2]
    if rng.random() < 0.4:
        return image, list(layers)
    h, w = (max(32, int(side * rng.uniform(0.4, 1))) for side in (height, width))
    y, x = rng.integers(max(1, height - h + 1)), rng.integers(max(1, width - w + 1))
    window = (slice(y, y + h), slice(x, x + w))
    return image[window], [layer[window] for layer in layers]


def jitter_colours(image_hwc: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random brightness, contrast, saturation and, rarely, greyscale; float32 0-255."""
    image = image_hwc.astype(np.float32)
    grey = image.mean(-1, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.4)
    image = grey + saturation * (image - grey)
    mean = float(grey.mean())
    image = (image - mean) * rng.uniform(0.7, 1.3) + mean * rng.uniform(0.7, 1.3)
    return image.clip(0, 255)


def _place_image(image_hwc: np.ndarray, frame: ImageFrame, rng: np.random.Generator) -> Tensor:
    height, width = frame.resized_hw
    # The padding is the mean colour, which the model's preprocessing turns into the zeros it pads with.
    canvas = np.empty((*frame.padded_hw, 3), np.float32)
    canvas[:] = (123.675, 116.28, 103.53)
    canvas[:height, :width] = jitter_colours(resize_image(image_hwc, frame), rng)
    return torch.from_numpy(canvas).permute(2, 0, 1)


def _place_layer(layer: np.ndarray, frame: ImageFrame) -> np.ndarray:
    height, width = frame.resized_hw
    canvas = np.full(frame.padded_hw, OUTSIDE, np.int16)
    rows = ((np.arange(height) + 0.5) * layer.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * layer.shape[1] / width).astype(int)
    canvas[:height, :width] = layer[rows[:, None], columns[None, :]]
    return canvas


def _large_segments(layer: np.ndarray, fraction: float = 0.002) -> list[int]:
    counts = np.bincount(layer[layer > 0].astype(np.int64))
    return np.flatnonzero(counts >= max(48, fraction * layer.size)).tolist()
