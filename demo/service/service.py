"""The service as one object: models on a shelf, pictures, prompts, decoders and everything mode."""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import numpy as np

from demo.codings import Coding
from demo.lanes import Lane, result
from demo.pictures import DEFAULT_LIMITS, PictureLimits
from demo.problems import Problem, UnknownDecoder
from demo.schemas import (
    Candidates,
    DecoderFile,
    Described,
    Edge,
    Event,
    EverythingRequest,
    EverythingUpdate,
    HealthReply,
    KeptObject,
    MaskReply,
    ModelOffer,
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
from demo.service.everything import Everything
from demo.service.models import LoadedModel
from demo.service.offers import Offer
from demo.service.pictures import DEADLINE_S, Encoded, Encoding, Job, Pictures
from demo.service.shelf import ModelShelf
from demo.service.views import Views, windows_for
from demo.wire import pack_masks
from sam import SAM

_WAITING_DECODES = 64
_WAITING_EXPORTS = 16
_WAITING_GRAPHS = 64
_VIEWS_SHARE = 4
"""One part in so many of the cache is for views: whoever zooms about never costs others their pictures."""


class DemoService:
    """Everything the routes can ask for; see `demo.schemas.Service`. Any event loop may use it.

    Args:
        model: the default, which stays loaded.
        shelf: it and others to choose from; nothing else by default.
        longest_wait_s: in line for a picture or a view; who would wait longer is refused when they come.
        deadline_s: for an encode, after which it is believed never to end.
        encodes_at_once: more than one where encodes run on other machines.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        shelf: ModelShelf | None = None,
        cache_bytes: int = 512_000_000,
        limits: PictureLimits = DEFAULT_LIMITS,
        longest_wait_s: float = math.inf,
        deadline_s: float = DEADLINE_S,
        encodes_at_once: int = 1,
    ) -> None:
        self.model, self.limits = model, limits
        self._shelf = shelf or _shelf_of_one(model)
        self._shelf.keep(model)
        self._pictures = Pictures(
            cache_bytes=cache_bytes - cache_bytes // _VIEWS_SHARE,
            limits=limits,
            first_s=model.times.first_s,
            longest_wait_s=longest_wait_s,
            deadline_s=deadline_s,
            encodes_at_once=encodes_at_once,
        )
        views_bytes = cache_bytes // _VIEWS_SHARE
        self._views = Views(self._pictures, cache_bytes=views_bytes, longest_wait_s=longest_wait_s)
        self._decoding = Lane("decode prompts", capacity=_WAITING_DECODES, first_s=0.1)
        self._everything = Everything()
        self._exporting = Lane("write files", capacity=_WAITING_EXPORTS, first_s=1)
        self._tracing = Lane("export decoders", capacity=_WAITING_GRAPHS, first_s=5)
        self._traced_from: dict[str, str] = {}  # models' ids by the hashes of their decoders' files

    # ---- life -------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Begin to export the default's decoder graphs, in the background and once."""
        self.model.decoders.begin(self._tracing)

    def drain(self, until: float, reason: Problem) -> None:
        """From now on begin only what will have ended by then (monotonic seconds); answer the rest with `reason`."""
        for lane in self._lanes:
            lane.drain(until, reason)

    def refuse(self, reason: Problem) -> None:
        """Answer all that waits, also for what runs, and whatever comes, with `reason`."""
        for lane in self._lanes:
            lane.refuse(reason)

    def close(self) -> None:
        """Drop what waits; call once, when no request will follow."""
        self._shelf.leave_downloads()
        for lane in self._lanes:
            lane.close()
        for model in self._shelf.loaded.values():
            model.release()

    @property
    def _lanes(self) -> tuple[Lane, ...]:
        parts = (self._shelf, self._pictures, self._views, self._everything)
        return self._decoding, self._exporting, self._tracing, *(lane for part in parts for lane in part.lanes)

    def health(self) -> HealthReply:
        cached, loaded = self._pictures.cached, self._shelf.loaded
        return HealthReply(
            status="stalled" if any(lane.stalled for lane in self._lanes) else "ok",
            lost_threads=sum(lane.lost for lane in self._lanes),
            model=self.model.info,
            encoder=self.model.encoder,
            loaded=list(loaded),
            loaded_bytes=sum(each.bytes for each in loaded.values()),
            queue=self._pictures.queue,
            encodes=self._pictures.encodes,
            encode_seconds=round(self._pictures.encode_seconds, 3),
            cached_pictures=len(cached),
            cached_bytes=cached.bytes_used + self._views.bytes_used,
            searches=self._everything.running,
        )

    # ---- models -----------------------------------------------------------------------------------

    def models(self) -> list[ModelOffer]:
        """What there is to choose from, the default first."""
        return self._shelf.offers()

    def load(self, model: str) -> ModelOffer:
        """Begin to load a model whose weights are here, unless it is loaded."""
        self._shelf.load(model)
        return self._shelf.offer(model)

    def download(self, model: str, *, agreed: bool) -> ModelOffer:
        """Begin to download a model's weights, after consent."""
        self._shelf.download(model, agreed=agreed)
        return self._shelf.offer(model)

    def cancel_download(self, model: str) -> ModelOffer:
        """End a download; what has arrived is kept for the next one."""
        self._shelf.cancel_download(model)
        return self._shelf.offer(model)

    def model_progress(self, model: str) -> AsyncIterator[Event]:
        """What becomes of a download or a load, from now until nothing more does."""
        return self._shelf.progress(model)

    async def describe(self, model: str | None = None) -> Described:
        """A model, loaded, with its decoders less those that could not be made."""
        async with self._shelf.lend(model) as loaded:
            decoders = await result(loaded.decoders.begin(self._tracing))
            id = self._shelf.offer(model).id
            self._traced_from |= {file.sha256: id for each in decoders for file in each.files.values()}
            return Described(
                id, loaded.info, loaded.encoder, loaded.prompt_frame, loaded.mask_threshold, tuple(decoders)
            )

    async def decoder_file(self, sha256: str) -> DecoderFile:
        """A file of a decoder by its hash; its model is loaded again if it made room for others."""
        described = await self.describe(self._traced_from.get(sha256))
        for file in (file for each in described.decoders for file in each.files.values()):
            if file.sha256 == sha256:
                return file
        raise UnknownDecoder("the page and the server are of different ages; reload the page", sha256=sha256)

    # ---- pictures ---------------------------------------------------------------------------------

    async def add(
        self, data: bytes, *, model: str | None = None, visitor: str = "", owner: str = ""
    ) -> tuple[Picture, bool]:
        """Read a picture file and queue its encode; True when the picture is new here, or to the owner if it has one.

        Visitors have their turns. owner: the secret of the only one for whom the picture is.
        """
        async with self._shelf.lend(model) as loaded:
            return await self._pictures.add(data, loaded, visitor=visitor, owner=owner)

    async def picture(self, image_id: str, *, model: str | None = None, visitor: str = "") -> Picture:
        """A picture that is here, as a model takes it; its encode begins unless it did."""
        return await result((await self._job(image_id, model, visitor)).read)

    async def progress(self, image_id: str, *, model: str | None = None, visitor: str = "") -> AsyncIterator[Event]:
        """What becomes of a picture, from now until it is done or has failed."""
        async with aclosing(self._pictures.progress(await self._job(image_id, model, visitor))) as events:
            async for event in events:
                yield event

    async def png_file(self, image_id: str, *, visitor: str = "") -> bytes:
        """The picture as a PNG file, upright: for browsers that cannot show what was uploaded."""
        return await self._pictures.png_file(image_id, visitor=visitor)

    async def embedding_file(
        self,
        image_id: str,
        weights_hash: str,
        precision: Precision,
        coding: Coding,
        view: Window | None = None,
        *,
        visitor: str = "",
    ) -> tuple[bytes, Coding]:
        """The embedding as a safetensors body, and how it is coded: fp32 always travels as it is."""
        way = await self._way(image_id, self._shelf.id_of(weights_hash), view, visitor)
        return await self._pictures.file(way, precision, coding)

    async def view(
        self, image_id: str, window: Window, *, model: str | None = None, visitor: str = ""
    ) -> tuple[Picture, float]:
        """A closer view as soon as it is encoded, and the seconds that took. Raises UnfitView for what is none."""
        encoded = await result((await self._way(image_id, model, window, visitor)).encoded)
        return encoded.picture, encoded.seconds

    async def _job(self, image_id: str, model: str | None, visitor: str = "") -> Job:
        """The picture's job under a model, which is loaded only where the job has to begin."""
        job = self._pictures.find(image_id, self._shelf.weights_of(model))
        if job is not None:
            return job
        async with self._shelf.lend(model) as loaded:
            return self._pictures.join(image_id, loaded, visitor=visitor)

    async def _way(self, image_id: str, model: str | None, view: Window | None, visitor: str = "") -> Encoding:
        """A view's encode under a model; that of all of the picture, or of no view, is the picture's own."""
        job = await self._job(image_id, model, visitor)
        if view is None:
            return job
        picture = (await result(job.encoded)).picture
        if view == picture.window:
            return job
        if (known := self._views.find(picture, view)) is not None:
            return known
        async with self._shelf.lend(model) as loaded:
            return self._views.join(picture, loaded, view, visitor=visitor)

    @asynccontextmanager
    async def _seen(
        self, image_id: str, model: str | None, visitor: str = "", view: Window | None = None
    ) -> AsyncIterator[tuple[SAM, Encoded]]:
        """A model to ask, and what it sees in the picture, or in a view of it."""
        way = await self._way(image_id, model, view, visitor)
        async with self._shelf.lend(model) as loaded:
            yield loaded.sam, await result(way.encoded)

    # ---- prompts ----------------------------------------------------------------------------------

    async def decode_file(
        self, image_id: str, prompts: Prompts, *, model: str | None = None, visitor: str = ""
    ) -> bytes:
        """All four low-resolution masks for the prompts, as the decoder graph in the browser would answer."""
        async with self._seen(image_id, model, visitor, prompts.view) as (sam, encoded):
            asked = (sam, encoded.embedding, prompts, encoded.picture.origin_xy)
            logits, iou = await result(self._decoding.submit(prompting.decode, *asked, visitor=visitor))
        return pack_masks(logits, iou, picture=encoded.picture)

    async def segment(self, image_id: str, prompts: Prompts, *, model: str | None = None, visitor: str = "") -> Segment:
        """One mask in original pixels: the best of three for a single click, the single mask otherwise."""
        async with self._seen(image_id, model, visitor) as (sam, encoded):
            asked = (sam, encoded.embedding, prompts)
            return await result(self._decoding.submit(prompting.segment, *asked, visitor=visitor))

    async def candidates(
        self, image_id: str, prompts: Prompts, *, model: str | None = None, visitor: str = ""
    ) -> Candidates:
        """All four answers, and which of them `segment` would choose."""
        async with self._seen(image_id, model, visitor) as (sam, encoded):
            asked = (sam, encoded.embedding, prompts)
            return await result(self._decoding.submit(objects.candidates, *asked, visitor=visitor))

    async def full_mask(
        self, image_id: str, logits: np.ndarray, *, model: str | None = None, visitor: str = ""
    ) -> dict[str, Any]:
        """Logits of a candidate (256, 256) -> its mask in original pixels, COCO's compressed run lengths."""
        async with self._seen(image_id, model, visitor) as (sam, encoded):
            asked = (sam, encoded.embedding, logits)
            return await result(self._decoding.submit(objects.full_mask, *asked, visitor=visitor))

    def sketch(self, mask: dict[str, Any], hw: tuple[int, int]) -> Sketch:
        """A mask as it looks on a preview of (height, width)."""
        return objects.sketch(mask, hw)

    async def predict(
        self, image_id: str, request: PredictRequest, *, model: str | None = None, visitor: str = ""
    ) -> PredictReply:
        """Masks for a batch of prompts; between two of them others have their turn."""
        picture = (await result((await self._job(image_id, model, visitor)).encoded)).picture

        async def answer(prompts: Prompts) -> list[MaskReply]:
            """In the first view that does not cut the mask; the last is the whole picture."""
            for window in windows_for(picture, prompts, request.shown):
                async with self._seen(image_id, model, visitor, window) as (sam, seen):
                    asked = (sam, seen, prompts, request, picture.original_hw)
                    masks, is_cut = await result(self._decoding.submit(prompting.masks, *asked, visitor=visitor))
                if not is_cut:
                    break
            return masks

        return PredictReply(
            image_id=image_id,
            model=picture.model,
            size=picture.original_hw,
            format=request.format,
            answers=[await answer(prompts) for prompts in request.prompts],
        )

    # ---- files to take home -----------------------------------------------------------------------

    @property
    def formats(self) -> tuple[str, ...]:
        """What `export` can write."""
        return objects.FORMATS

    async def export(
        self, image_id: str, name: str, kept: Sequence[KeptObject], kind: str, edge: Edge, *, visitor: str = ""
    ) -> tuple[str, bytes]:
        """One file by name: the objects on the picture `name` in one of `formats`; `edge` is for cut-outs.

        Raises UnfitObjects for what cannot be written.
        """
        image = await self._pictures.pixels(image_id, visitor=visitor) if kind == objects.CUTOUTS else None
        hw = await self._pictures.original_hw(image_id)
        asked = (name, hw, kept, kind, image, edge)
        return await result(self._exporting.submit(objects.export, *asked, visitor=visitor))

    # ---- everything -------------------------------------------------------------------------------

    async def everything(
        self,
        image_id: str,
        request: EverythingRequest,
        *,
        model: str | None = None,
        visitor: str = "",
        stop: threading.Event | None = None,
    ) -> AsyncIterator[EverythingUpdate]:
        """All objects of a picture, as they are found. The first update has found nothing yet, the last all.

        To leave, close the iterator (`contextlib.aclosing`), or set `stop` from elsewhere: the work ends before its
        next decoder batch, and the last update then has `done < total`. Busy is raised when too many searches are
        under way, or too many of this `visitor`, any name that tells one from another. Encodes and prompts have lanes
        of their own and go on meanwhile.
        """
        async with self._seen(image_id, model, visitor) as (sam, encoded):
            generator = self._everything.generator(sam, request)
            if generator.settings.crop_n_layers:
                image = await self._pictures.pixels(image_id, visitor=visitor)
            else:  # the embedding is all that the search looks at; the picture gives its size
                image = np.broadcast_to(np.uint8(0), (*encoded.picture.original_hw, 3))
            async with aclosing(
                self._everything.search(generator, image, encoded.embedding, request, visitor, stop)
            ) as updates:
                async for update in updates:
                    yield update


def _shelf_of_one(model: LoadedModel) -> ModelShelf:
    """Nothing to choose from."""
    offer = Offer(model.info.id, title=model.info.id, source=model.info.id)
    return ModelShelf([offer], lambda _: model, max_bytes=model.bytes)
