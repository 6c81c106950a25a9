"""A model in memory, with what it takes to serve it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from demo.schemas import EncoderReply, ModelInfo
from demo.service.decoders import Decoders
from demo.service.estimates import EncodeTimes
from sam import SAM, encoders, predictor
from sam.predictor import ImageEmbedding

Encode = Callable[[np.ndarray], ImageEmbedding]
"""RGB pixels (H, W, 3) uint8 -> what a model sees in them."""

DECODERS_BYTES = 60_000_000
"""What the decoder's files take in memory, plain and packed."""


class LoadedModel:
    """Any thread may use it, and says so by `using`: a model in use does not make room for others.

    encode: by default PyTorch's way in this process. encoder: how that is, for people. release: lets go of what
    `encode` has elsewhere; called once, when the model leaves memory.
    """

    def __init__(
        self,
        sam: SAM,
        encode: Encode | None = None,
        encoder: EncoderReply | None = None,
        *,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.sam, self.encode = sam, encode or partial(predictor.encode, sam)
        self.encoder = encoder or EncoderReply(way=encoders.TORCH)
        self.info = ModelInfo(id=sam.config.model_id, weights_hash=sam.weights_hash())
        self.times = EncodeTimes(self.encoder.seconds.get(self.encoder.way))
        self.decoders = Decoders(sam)
        self.bytes = self._bytes()
        self.release = release
        self.when_idle: Callable[[], None] = lambda: None
        self._users = 0
        self._lock = threading.Lock()

    @property
    def prompt_frame(self) -> int:
        """Side of the square that prompts lie in, in pixels."""
        return self.sam.config.image_size

    @property
    def mask_threshold(self) -> float:
        """Logits above it belong to a mask."""
        return float(self.sam.mask_threshold)

    @property
    def in_use(self) -> bool:
        """Whether work needs it now."""
        return self._users > 0

    @contextmanager
    def using(self) -> Iterator[None]:
        """While this lasts, the model is in use; `when_idle` is called when the last user leaves."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                idle = self._users == 0
            if idle:
                self.when_idle()

    def _bytes(self) -> int:
        """Memory held: weights, twice where another runtime has a copy of the encoder's, and the decoder's files."""
        weights = sum(tensor.nbytes for tensor in (*self.sam.parameters(), *self.sam.buffers()))
        return weights * (2 if self.encoder.way == encoders.ONNX_RUNTIME else 1) + DECODERS_BYTES
