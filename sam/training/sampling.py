"""Random training examples: a source by its weight, then a picture, then masks; cropped, flipped and recoloured."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets import Record, group_by_source
from ..transforms import ImageFrame, resize_image
from .recipe import Draw

OUTSIDE = -1
"""Layer value of the padding around a picture."""
PADDING_COLOUR = (123.675, 116.28, 103.53)
"""The mean colour, which preprocessing turns into the zeros that it pads with."""
Layers = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Batch:
    """P pictures, M masks each, on an embedding of g x g cells; low-resolution masks have 4g x 4g values.

    images (P, 3, S, S) 0-255, or their embeddings (P, C, g, g); targets (P, M, 4g, 4g) in 0-1; valid the same, bool;
    segments (P, g, g) int ids of one layer for the affinity loss, 0 or less where there is none.
    """

    images: Tensor | None
    embeddings: Tensor | None
    targets: Tensor
    valid: Tensor
    segments: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch elsewhere."""
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        return Batch(**{name: None if part is None else part.to(device) for name, part in parts.items()})


@dataclass(frozen=True)
class View:
    """One augmented picture: pixels (3, S, S) 0-255, and its layers (8g, 8g) of segment ids, `OUTSIDE` around it."""

    pixels: Tensor
    layers: Layers
    zero_is_unknown: bool


class PictureSampler:
    """Seeded batches of pictures read from disk; decoded ones are kept up to `memory` bytes."""

    def __init__(
        self, records: Iterable[Record], source_weights: Mapping[str, float], scale: int, memory: int = 6 * 10**9
    ) -> None:
        """`scale`: pixels of the model's frame per pixel that the encoder looks at (see `objective.input_scale`)."""
        self.sources = Sources(records, source_weights)
        self.scale = scale
        self.reader = _Reader(memory)

    def draw(self, kind: Draw, rng: np.random.Generator) -> Batch:
        """One batch."""
        parts = []
        while len(parts) < kind.pictures:
            record = self.sources.draw(rng)
            view = augment(*self.reader.read(record), record.zero_is_unknown, kind.size, self.scale, rng)
            masks = draw_masks(view.layers, view.zero_is_unknown, kind.masks, rng)
            if masks is not None:
                parts.append((view.pixels, *masks))
        images, targets, valid, segments = (torch.stack(each) for each in zip(*parts, strict=True))
        return Batch(images, None, targets, valid, segments)


class Sources:
    """Records by source. The square root of a source's size keeps 40 pictures of one table from being shown as often
    as 990 varied ones, and the reverse."""

    def __init__(self, records: Iterable[Record], weights: Mapping[str, float]) -> None:
        self.groups: dict[str, list[Record]] = group_by_source(records)
        shares = np.array([weights.get(name, 1.0) * len(group) ** 0.5 for name, group in self.groups.items()])
        self.shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> Record:
        """One record."""
        group = list(self.groups.values())[rng.choice(len(self.groups), p=self.shares)]
        return group[rng.integers(len(group))]


def augment(
    image: np.ndarray, layers: Layers, zero_is_unknown: bool, size: int, scale: int, rng: np.random.Generator
) -> View:
    """Crop, recolour and perhaps mirror one picture: H,W,3 uint8 and H,W ids -> a `View` for a frame of `size`."""
    window = random_window(image.shape[:2], rng)
    image, layers = image[window], [layer[window] for layer in layers]
    if rng.random() < 0.5:
        image, layers = image[:, ::-1], [layer[:, ::-1] for layer in layers]
    pixels = place_image(image, ImageFrame.fit(image.shape[:2], size // scale), rng)
    frame = ImageFrame.fit(image.shape[:2], size // 2)
    return View(pixels, tuple(place_layer(layer, frame) for layer in layers), zero_is_unknown)


def random_window(hw: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
    """Four times in ten the whole picture, else a window of 0.4 to 1 of each side."""
    if rng.random() < 0.4:
        return (slice(None), slice(None))
    sides = [min(side, max(32, int(side * rng.uniform(0.4, 1)))) for side in hw]
    starts = [int(rng.integers(whole - side + 1)) for whole, side in zip(hw, sides, strict=True)]
    return tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))


def jitter_colours(image_hwc: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random brightness, contrast, saturation and, rarely, greyscale; float32 0-255."""
    image = image_hwc.astype(np.float32)
    grey = image.mean(-1, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.4)
    image = grey + saturation * (image - grey)
    mean = float(grey.mean())
    image = (image - mean) * rng.uniform(0.7, 1.3) + mean * rng.uniform(0.7, 1.3)
    return image.clip(0, 255)


def place_image(image_hwc: np.ndarray, frame: ImageFrame, rng: np.random.Generator) -> Tensor:
    """Resize, recolour and pad: (3, S, S) float32 0-255."""
    height, width = frame.resized_hw
    canvas = np.empty((*frame.padded_hw, 3), np.float32)
    canvas[:] = PADDING_COLOUR
    canvas[:height, :width] = jitter_colours(resize_image(np.ascontiguousarray(image_hwc), frame), rng)
    return torch.from_numpy(canvas).permute(2, 0, 1).contiguous()


def place_layer(layer: np.ndarray, frame: ImageFrame) -> np.ndarray:
    """Resize ids by the nearest pixel and pad with `OUTSIDE`: int32."""
    height, width = frame.resized_hw
    canvas = np.full(frame.padded_hw, OUTSIDE, np.int32)
    rows = ((np.arange(height) + 0.5) * layer.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * layer.shape[1] / width).astype(int)
    canvas[:height, :width] = layer[rows[:, None], columns[None, :]]
    return canvas


def draw_masks(
    layers: Layers, zero_is_unknown: bool, count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Targets, valid and segments of a `Batch` for one view; None where no segment is large enough."""
    choices = [(index, segment) for index, layer in enumerate(layers) for segment in _large_segments(layer)]
    if not choices:
        return None
    chosen = [choices[index] for index in rng.choice(len(choices), count, replace=len(choices) < count)]
    masks = torch.from_numpy(np.stack([layers[index] == segment for index, segment in chosen]))
    outside = np.stack([(layers[i] == OUTSIDE) | ((layers[i] == 0) & zero_is_unknown) for i, _ in chosen])
    valid = ~torch.from_numpy(outside)[:, ::2, ::2]
    segments = torch.from_numpy(layers[chosen[0][0]][4::8, 4::8].astype(np.int64))
    return F.avg_pool2d(masks.float(), 2), valid, segments


def _large_segments(layer: np.ndarray, fraction: float = 0.002) -> list[int]:
    counts = np.bincount(layer[layer > 0])
    return np.flatnonzero(counts >= max(48, fraction * layer.size)).tolist()


class _Reader:
    """Pictures and layers, decoded once while there is room; what was not used longest goes first."""

    def __init__(self, memory: int) -> None:
        self.memory, self.used = memory, 0
        self.kept: OrderedDict[int, tuple[np.ndarray, Layers]] = OrderedDict()

    def read(self, record: Record) -> tuple[np.ndarray, Layers]:
        key = id(record)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        picture = (record.image(), record.layers())
        self.kept[key] = picture
        self.used += _bytes(picture)
        while self.used > self.memory and len(self.kept) > 1:
            self.used -= _bytes(self.kept.popitem(last=False)[1])
        return picture


def _bytes(picture: tuple[np.ndarray, Layers]) -> int:
    return picture[0].nbytes + sum(layer.nbytes for layer in picture[1])
