"""The service as one object: pictures, prompts, decoders and everything mode over one model."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import numpy as np
import torch

from demo.codings import Coding
from demo.lanes import Lane, result
from demo.pictures import DEFAULT_LIMITS, PictureLimits
from demo.problems import OtherWeights, Problem
from demo.schemas import (
    Candidates,
    Decoder,
    Edge,
    EncoderReply,
    Event,
    EverythingRequest,
    EverythingUpdate,
    HealthReply,
    KeptObject,
    MaskReply,
    ModelInfo,
    Picture,
    Precision,
    PredictReply,
    PredictRequest,
    Prompts,
    Segment,
    Sketch,
    Window,
)
from demo.service import objects, prompting
from demo.service.decoders import Decoders
from demo.service.everything import Everything
from demo.service.pictures import DEADLINE_S, Encode, Encoded, Pictures
from demo.service.views import Views, windows_for
from demo.settings import Settings
from demo.wire import pack_masks
from sam import SAM, encoders, load_sam, predictor
from sam.obtaining import missing_checkpoint, obtain

_WAITING_DECODES = 64
_WAITING_EXPORTS = 16
_VIEWS_SHARE = 4
"""One part in so many of the cache is for views: whoever zooms about never costs others their pictures."""


def load_service(settings: Settings) -> DemoService:
    """The service for `settings`, after asking where a checkpoint is to be downloaded first.

    Raises ValueError or OSError for a checkpoint, device or way to encode that cannot be had.
    """
    device = _device(settings.device)
    if (published := missing_checkpoint(settings.checkpoint)) is not None:
        obtain(published, agreed=settings.download)
    preprocessing = None if settings.preprocessing == "auto" else settings.preprocessing
    model = load_sam(settings.checkpoint, device=device, preprocessing=preprocessing)
    choice = encoders.choose(model, settings.encoder, tell=partial(print, flush=True))
    print(f"Encoding {model.config.model_id} with {choice}", flush=True)
    encode = partial(predictor.encode, model, image_encoder=choice.encoder)
    encoder = EncoderReply(way=choice.way, seconds=choice.seconds)
    return DemoService(model, cache_bytes=settings.cache_bytes, limits=settings.limits, encode=encode, encoder=encoder)


class DemoService:
    """Everything the routes can ask for; see `demo.schemas.Service`. Any event loop may use it."""

    def __init__(
        self,
        model: SAM,
        *,
        cache_bytes: int = 512_000_000,
        limits: PictureLimits = DEFAULT_LIMITS,
        encode: Encode | None = None,
        encoder: EncoderReply | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.model, self.encoder = model, encoder or EncoderReply(way=encoders.TORCH)
        self.limits = limits
        self.encode = encode or partial(predictor.encode, model)
        self.model_info = ModelInfo(id=model.config.model_id, weights_hash=model.weights_hash())
        self.prompt_frame = model.config.image_size
        self.mask_threshold = float(model.mask_threshold)
        self._pictures = Pictures(
            model,
            self.model_info,
            lambda pixels: self.encode(pixels),
            cache_bytes=cache_bytes - cache_bytes // _VIEWS_SHARE,
            limits=limits,
            first_s=self.encoder.seconds.get(self.encoder.way),
            deadline_s=deadline_s,
        )
        self._views = Views(self._pictures, cache_bytes=cache_bytes // _VIEWS_SHARE)
        self._decoders = Decoders(model)
        self._decoding = Lane("decode prompts", capacity=_WAITING_DECODES, first_s=0.1)
        self._everything = Everything(model)
        self._exporting = Lane("write files", capacity=_WAITING_EXPORTS, first_s=1)

    # ---- life -------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Begin to export the decoder graphs, in the background and once."""
        self._decoders.begin()

    def refuse(self, reason: Problem) -> None:
        """Answer all that waits, and whatever comes, with `reason`; what runs is finished."""
        for lane in self._lanes:
            lane.refuse(reason)

    def close(self) -> None:
        """Drop what waits; call once, when no request will follow."""
        for lane in self._lanes:
            lane.close()

    @property
    def _lanes(self) -> tuple[Lane, ...]:
        parts = (self._pictures, self._views, self._everything, self._decoders)
        return self._decoding, self._exporting, *(lane for part in parts for lane in part.lanes)

    def health(self) -> HealthReply:
        cached = self._pictures.cached
        return HealthReply(
            status="stalled" if any(lane.stalled for lane in self._lanes) else "ok",
            lost_threads=sum(lane.lost for lane in self._lanes),
            model=self.model_info,
            encoder=self.encoder,
            queue=self._pictures.queue,
            cached_pictures=len(cached),
            cached_bytes=cached.bytes_used,
            searches=self._everything.running,
        )

    # ---- pictures ---------------------------------------------------------------------------------

    async def add(self, data: bytes, *, visitor: str = "") -> tuple[Picture, bool]:
        """Read a picture file and queue its encode; True when the picture is new here. Visitors have their turns."""
        return await self._pictures.add(data, visitor=visitor)

    def progress(self, image_id: str) -> AsyncIterator[Event]:
        """What becomes of a picture, from now until it is done or has failed."""
        return self._pictures.progress(image_id)

    async def png_file(self, image_id: str) -> bytes:
        """The picture as a PNG file, upright: for browsers that cannot show what was uploaded."""
        return await self._pictures.png_file(image_id)

    async def embedding_file(
        self, image_id: str, weights_hash: str, precision: Precision, coding: Coding, view: Window | None = None
    ) -> tuple[bytes, Coding]:
        """The embedding as a safetensors body, and how it is coded: fp32 always travels as it is."""
        self._require_weights(weights_hash)
        if view is not None:
            return await self._views.file(image_id, view, precision, coding)
        return await self._pictures.file(image_id, precision, coding)

    async def view(self, image_id: str, window: Window, *, visitor: str = "") -> tuple[Picture, float]:
        """A closer view as soon as it is encoded, and the seconds that took. Raises UnfitView for what is none."""
        encoded = await self._views.encoded(image_id, window, visitor)
        return encoded.picture, encoded.seconds

    # ---- prompts ----------------------------------------------------------------------------------

    async def decode_file(self, image_id: str, prompts: Prompts, *, visitor: str = "") -> bytes:
        """All four low-resolution masks for the prompts, as the decoder graph in the browser would answer."""
        encoded = await self._seen(image_id, prompts.view, visitor)
        asked = (self.model, encoded.embedding, prompts, encoded.picture.origin_xy)
        logits, iou = await result(self._decoding.submit(prompting.decode, *asked, visitor=visitor))
        return pack_masks(logits, iou, model=self.model_info, picture=encoded.picture)

    async def segment(self, image_id: str, prompts: Prompts) -> Segment:
        """One mask in original pixels: the best of three for a single click, the single mask otherwise."""
        encoded = await self._pictures.encoded(image_id)
        return await result(self._decoding.submit(prompting.segment, self.model, encoded.embedding, prompts))

    async def candidates(self, image_id: str, prompts: Prompts) -> Candidates:
        """All four answers, and which of them `segment` would choose."""
        encoded = await self._pictures.encoded(image_id)
        return await result(self._decoding.submit(objects.candidates, self.model, encoded.embedding, prompts))

    async def full_mask(self, image_id: str, logits: np.ndarray) -> dict[str, Any]:
        """Logits of a candidate (256, 256) -> its mask in original pixels, COCO's compressed run lengths."""
        encoded = await self._pictures.encoded(image_id)
        return await result(self._decoding.submit(objects.full_mask, self.model, encoded.embedding, logits))

    def sketch(self, mask: dict[str, Any], hw: tuple[int, int]) -> Sketch:
        """A mask as it looks on a preview of (height, width)."""
        return objects.sketch(mask, hw)

    async def predict(self, image_id: str, request: PredictRequest, *, visitor: str = "") -> PredictReply:
        """Masks for a batch of prompts; between two of them others have their turn."""
        picture = (await self._pictures.encoded(image_id)).picture
        return PredictReply(
            image_id=image_id,
            model=self.model_info,
            size=picture.original_hw,
            format=request.format,
            answers=[await self._answer(picture, prompts, request, visitor) for prompts in request.prompts],
        )

    async def _answer(
        self, picture: Picture, prompts: Prompts, request: PredictRequest, visitor: str
    ) -> list[MaskReply]:
        """In the first view that does not cut the mask; the last is the whole picture."""
        for window in windows_for(picture, prompts, request.shown):
            seen = await self._seen(picture.id, window, visitor)
            asked = (self.model, seen, prompts, request, picture.original_hw)
            masks, is_cut = await result(self._decoding.submit(prompting.masks, *asked, visitor=visitor))
            if not is_cut:
                break
        return masks

    async def _seen(self, image_id: str, window: Window | None, visitor: str) -> Encoded:
        """A view, or the picture."""
        if window is None:
            return await self._pictures.encoded(image_id)
        return await self._views.encoded(image_id, window, visitor)

    async def decoders(self) -> list[Decoder]:
        """The decoders for the page, exported once per process, less those that could not be made."""
        return await self._decoders.all()

    # ---- files to take home -----------------------------------------------------------------------

    @property
    def formats(self) -> tuple[str, ...]:
        """What `export` can write."""
        return objects.FORMATS

    async def export(
        self, image_id: str, name: str, kept: Sequence[KeptObject], kind: str, edge: Edge
    ) -> tuple[str, bytes]:
        """One file by name: the objects on the picture `name` in one of `formats`; `edge` is for cut-outs.

        Raises UnfitObjects for what cannot be written.
        """
        image = await self._pictures.pixels(image_id) if kind == objects.CUTOUTS else None
        hw = (await self._pictures.encoded(image_id)).picture.original_hw
        return await result(self._exporting.submit(objects.export, name, hw, kept, kind, image, edge))

    # ---- everything -------------------------------------------------------------------------------

    async def everything(
        self, image_id: str, request: EverythingRequest, *, visitor: str = "", stop: threading.Event | None = None
    ) -> AsyncIterator[EverythingUpdate]:
        """All objects of a picture, as they are found. The first update has found nothing yet, the last all.

        To leave, close the iterator (`contextlib.aclosing`), or set `stop` from elsewhere: the work ends before its
        next decoder batch, and the last update then has `done < total`. Busy is raised when too many searches are
        under way, or too many of this `visitor`, any name that tells one from another. Encodes and prompts have lanes
        of their own and go on meanwhile.
        """
        encoded = await self._pictures.encoded(image_id)
        generator = self._everything.generator(request)
        if generator.settings.crop_n_layers:
            image = await self._pictures.pixels(image_id)
        else:  # the embedding is all that the search looks at; the picture gives its size
            image = np.broadcast_to(np.uint8(0), (*encoded.picture.original_hw, 3))
        async with aclosing(
            self._everything.search(generator, image, encoded.embedding, request, visitor, stop)
        ) as updates:
            async for update in updates:
                yield update

    def _require_weights(self, weights_hash: str) -> None:
        if weights_hash != self.model_info.weights_hash:
            detail = "the address names other weights than those that are loaded; reload the page"
            raise OtherWeights(detail, given=weights_hash, loaded=self.model_info.weights_hash)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name} cannot be used: {str(error).splitlines()[0]}") from None
    return device
