"""The decoder graphs of a model that the page loads, exported once as long as the model is loaded."""

from __future__ import annotations

import hashlib
import logging
import threading
from concurrent.futures import Future
from dataclasses import fields
from functools import cached_property

from demo.codings import compress_all
from demo.lanes import Lane
from demo.schemas import Decoder, DecoderFile
from sam import SAM
from sam.export import export_hover_pair
from sam.graphs.hover import decoder_weights

PRECISIONS = ("int8", "fp16")
CONTRACT = "hover"

log = logging.getLogger(__name__)


class Decoders:
    """Exports them in the background; those that cannot be made are left out."""

    def __init__(self, model: SAM) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._exported: Future[list[Decoder]] | None = None

    def begin(self, lane: Lane) -> Future[list[Decoder]]:
        """Start to export on a lane, once; the answer is in the order in which the page should try them."""
        with self._lock:
            if self._exported is None:
                self._exported = lane.submit(self._export_all)
            return self._exported

    def _export_all(self) -> list[Decoder]:
        decoders = (self._export(precision) for precision in PRECISIONS)
        return [decoder for decoder in decoders if decoder is not None]

    @cached_property
    def _kernel_file(self) -> DecoderFile:
        """The kernel's weights, the same beside every precision of the graphs."""
        return _file(decoder_weights(self.model))

    def _export(self, precision: str) -> Decoder | None:
        try:
            pair, kernel = export_hover_pair(self.model, precision), self._kernel_file
        except Exception:
            log.exception("the %s decoder could not be exported; the page falls back to the next one", precision)
            return None
        files = {role.name: _file(getattr(pair, role.name).bytes) for role in fields(pair)} | {"kernel": kernel}
        return Decoder(precision, CONTRACT, int(pair.point.contract_version), files)


def _file(data: bytes) -> DecoderFile:
    return DecoderFile(hashlib.sha256(data).hexdigest(), data, compress_all(data))
