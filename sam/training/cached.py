"""Training on embeddings computed once: with a frozen encoder a step costs the decoder only.

Every picture is augmented a few times and encoded; views and embeddings lie in a folder, so a resumed or repeated run
does not encode again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..datasets import Record
from ..model import SAM
from .objective import embed_pictures, input_scale
from .recipe import Draw
from .sampling import Batch, Sources, augment, draw_masks


@dataclass(frozen=True)
class CachedViews:
    """One picture's encoded views on disk; stands in for the record when pictures are drawn."""

    source: str
    zero_is_unknown: bool
    paths: tuple[Path, ...]


class CachedSampler:
    """Batches of stored embeddings. Only draws of the model's own size fit them."""

    def __init__(self, views: Iterable[CachedViews], source_weights: Mapping[str, float], size: int) -> None:
        self.sources = Sources(views, source_weights)
        self.size = size

    def draw(self, kind: Draw, rng: np.random.Generator) -> Batch:
        """One batch; `ValueError` for another size than the one that was encoded."""
        if kind.size != self.size:
            raise ValueError(f"the cached embeddings are of size {self.size}, the recipe draws {kind.size}")
        parts = []
        while len(parts) < kind.pictures:
            record = self.sources.draw(rng)
            view = load_file(record.paths[rng.integers(len(record.paths))])
            masks = draw_masks(tuple(view["layers"].numpy()), record.zero_is_unknown, kind.masks, rng)
            if masks is not None:
                parts.append((view["embedding"].float(), *masks))
        embeddings, targets, valid, segments = (torch.stack(each) for each in zip(*parts, strict=True))
        return Batch(None, embeddings, targets, valid, segments)


def cache_views(model: SAM, records: Iterable[Record], folder: Path, *, views: int, seed: int) -> Iterator[CachedViews]:
    """Encode `views` augmented views of every picture into `folder`, skipping those that are there already.

    A view is a safetensors file: embedding (C, g, g) float16 and layers (L, 8g, 8g) int32, about 4 MB for a picture of
    one layer. The files carry the weights' hash in their folder's name: other weights never read them.
    """
    folder = folder / model.weights_hash()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(records):
        paths = tuple(folder / f"{number:06d}.{view}.safetensors" for view in range(views))
        for view, path in enumerate(paths):
            if not path.exists():
                _write_view(model, record, path, np.random.default_rng([seed, number, view]))
        yield CachedViews(record.source, record.zero_is_unknown, paths)


def _write_view(model: SAM, record: Record, path: Path, rng: np.random.Generator) -> None:
    size, scale = model.config.image_size, input_scale(model)
    view = augment(record.image(), record.layers(), record.zero_is_unknown, size, scale, rng)
    layers = torch.from_numpy(np.stack(view.layers))
    partial = path.with_suffix(".partial")
    save_file({"embedding": _encode(model, view.pixels).half(), "layers": layers}, partial)
    partial.replace(path)


@torch.inference_mode()
def _encode(model: SAM, pixels: Tensor) -> Tensor:
    training = model.image_encoder.training
    model.image_encoder.eval()
    embedding = embed_pictures(model, pixels[None].to(model.device))[0].cpu().contiguous()
    model.image_encoder.train(training)
    return embedding
