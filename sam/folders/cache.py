"""Embeddings on disk, by what they depend on: the picture's bytes, the weights and the precision."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..checkpoint import whole_file
from ..predictor import ImageEmbedding
from ..transforms import ImageFrame


@dataclass(frozen=True)
class EmbeddingCache:
    """A folder of embeddings, kept below `limit_bytes` by removing those unused for the longest time.

    Files appear whole or not at all, so several processes may share the folder; a damaged one counts as missing.
    """

    folder: Path
    limit_bytes: int

    def __post_init__(self) -> None:
        if self.limit_bytes < 1:
            raise ValueError(f"limit_bytes {self.limit_bytes} must be positive; leave the cache out instead")

    def load(self, content_hash: str, weights_hash: str, precision: str) -> ImageEmbedding | None:
        """The embedding, float32 as it was, or None."""
        path = self._path(content_hash, weights_hash, precision)
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["embedding"])
                features = file.get_tensor("features")
            frame = ImageFrame(*(tuple(about[size]) for size in ("original_hw", "resized_hw", "padded_hw")))
            embedding = ImageEmbedding(features, frame, about["model_id"], about["weights_hash"])
            os.utime(path)  # used now
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        return embedding

    def store(self, content_hash: str, precision: str, embedding: ImageEmbedding) -> None:
        """Keep an embedding, and remove old ones if there are too many bytes. `OSError` when the disk is full."""
        frame = embedding.frame
        about = {"model_id": embedding.model_id, "weights_hash": embedding.weights_hash, **vars(frame)}
        path = self._path(content_hash, embedding.weights_hash, precision)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            tensors = {"features": embedding.features.cpu().contiguous()}
            save_file(tensors, str(part), metadata={"embedding": json.dumps(about)})
        self._shrink(keep=path)

    def _path(self, content_hash: str, weights_hash: str, precision: str) -> Path:
        return self.folder / f"{content_hash[:32]}-{weights_hash[:32]}-{precision}.safetensors"

    def _shrink(self, keep: Path) -> None:
        files = []
        for path in self.folder.glob("*.safetensors"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another process was here
                continue
            files.append((path != keep, -state.st_mtime_ns, path, state.st_size))
        total = 0
        for _, _, path, size in sorted(files):
            total += size
            if total > self.limit_bytes and path != keep:
                path.unlink(missing_ok=True)
