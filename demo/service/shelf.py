"""The models that visitors may choose: loaded when they are asked for, as many at once as memory is given to them."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass

from demo.lanes import Lane, result
from demo.problems import (
    DownloadFailed,
    ModelFailed,
    NoDownload,
    NotAgreed,
    NotDownloaded,
    OtherWeights,
    Problem,
    UnknownModel,
)
from demo.schemas import Event, ModelOffer, ModelState
from demo.service.models import LoadedModel
from demo.service.offers import Offer
from sam.hub.downloads import DownloadError, Progress, download, how_verified, in_megabytes

PROGRESS_INTERVAL_S = 0.25
WAITING_LOADS = 8
WAITING_DOWNLOADS = 8

log = logging.getLogger(__name__)
Load = Callable[[Offer], LoadedModel]


class ModelShelf:
    """Models by id, the first for who names none. One load at a time; who asks for a model that loads, waits for it.

    The first model stays. Of the others those used longest ago make room, as soon as nobody uses them. The one used
    last stays too, even where it does not fit beside the first, until another is loaded: whoever has it asks again. A
    model that failed is tried again.

    Args:
        offers: what there is; at least one.
        load: makes an offer a model. ValueError and OSError of it are told to visitors.
        max_bytes: of memory for all loaded models.
        downloads: whether visitors may agree to a download.
    """

    def __init__(self, offers: Sequence[Offer], load: Load, *, max_bytes: int, downloads: bool = False) -> None:
        self.first, self.max_bytes, self.downloads = offers[0].id, max_bytes, downloads
        self._load = load
        self._places = {offer.id: _Place(offer) for offer in offers}
        self._loading = Lane("load models", capacity=WAITING_LOADS, first_s=20)
        self._downloading = Lane("download models", capacity=WAITING_DOWNLOADS, first_s=60)
        self._lock = threading.Lock()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Where loads and downloads wait."""
        return self._loading, self._downloading

    def leave_downloads(self) -> None:
        """End those under way; what has arrived is kept for the next time."""
        for place in self._places.values():
            if place.download:
                place.download.cancelled.set()

    # ---- models -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def lend(self, model_id: str | None = None) -> AsyncIterator[LoadedModel]:
        """A model to use, loaded before if need be; Problem for one that cannot be had."""
        model = await result(self.load(model_id))
        with model.using():
            yield model

    def load(self, model_id: str | None = None) -> Future[LoadedModel]:
        """Begin to load a model unless it is loaded; NotDownloaded for one whose weights are not here."""
        with self._lock:
            place = self._place(model_id)
            place.used_at = time.monotonic()
            if place.loading is None or _failed(place.loading):
                if place.offer.path is None:
                    raise NotDownloaded(f"the weights of {place.offer.title} are not on this server", id=place.offer.id)
                place.loading, place.download = self._loading.submit(self._load_into, place), None
            return place.loading

    def keep(self, model: LoadedModel) -> None:
        """Have the first model, which is loaded already."""
        place = self._places[self.first]
        place.loading, place.weights_hash = Future(), model.info.weights_hash
        place.loading.set_result(model)

    def id_of(self, weights_hash: str) -> str:
        """The model with these weights, loaded or not any more; OtherWeights where none was ever here."""
        for model_id, place in self._places.items():
            if place.weights_hash == weights_hash:
                return model_id
        detail = "the address names other weights than those that are loaded; reload the page"
        raise OtherWeights(detail, given=weights_hash, loaded=self._places[self.first].weights_hash)

    def weights_of(self, model_id: str | None = None) -> str:
        """The hash of a model's weights; empty before it was first loaded."""
        return self._place(model_id).weights_hash

    @property
    def loaded(self) -> dict[str, LoadedModel]:
        """Those in memory, by id."""
        return {model_id: place.model for model_id, place in self._places.items() if place.model}

    def _load_into(self, place: _Place) -> LoadedModel:
        """On the lane. The place itself becomes the model's when its future does."""
        self._make_room(place.offer.bytes or 0)
        model = self._made(place.offer)
        place.weights_hash = model.info.weights_hash
        model.when_idle = self._make_room
        with model.using():
            self._make_room(model.bytes)
        return model

    def _made(self, offer: Offer) -> LoadedModel:
        try:
            return self._load(offer)
        except (ValueError, OSError) as error:
            reason = _without_folder(str(error), offer)
        except Exception:
            log.exception("the model %s could not be loaded", offer.id)
            reason = "the log of the server says more"
        raise ModelFailed(reason, id=offer.id)

    def _make_room(self, needed: int = 0) -> None:
        """Let go of models until so many bytes are free, or nothing is left that may go."""
        with self._lock:
            over = sum(model.bytes for model in self.loaded.values()) + needed - self.max_bytes
            others = [place for place in self._places.values() if place.model and place.offer.id != self.first]
            others.sort(key=lambda place: place.used_at)
            for place in others if needed else others[:-1]:
                if over > 0 and not place.model.in_use:
                    over -= place.model.bytes
                    threading.Thread(target=place.model.release, daemon=True).start()  # nobody waits for other machines
                    place.loading = None

    # ---- downloads --------------------------------------------------------------------------------

    def download(self, model_id: str, *, agreed: bool) -> None:
        """Begin to download a model's weights, once somebody agreed to that; NotAgreed says what to agree to."""
        with self._lock:
            place = self._place(model_id)
            if place.offer.path is not None or place.is_downloading:
                return
            if not self.downloads or place.offer.published is None:
                raise NoDownload(
                    "whoever runs this server has not agreed to downloads; start it with --offer-downloads"
                )
            if not agreed:
                raise NotAgreed(_terms(place.offer), id=place.offer.id, bytes=place.offer.bytes)
            begun = _Download(place.offer)
            begun.future = self._downloading.submit(begun.run)
            place.loading, place.download = None, begun

    def cancel_download(self, model_id: str) -> None:
        """End a download; what has arrived is kept for the next one."""
        with self._lock:
            place = self._place(model_id)
            if place.is_downloading:
                place.download.cancelled.set()
                place.download.future.cancel()

    # ---- how it stands ----------------------------------------------------------------------------

    def offers(self) -> list[ModelOffer]:
        """All of them, in order."""
        return [self.offer(model_id) for model_id in self._places]

    def offer(self, model_id: str | None = None) -> ModelOffer:
        """One of them, as it stands now."""
        place = self._place(model_id)
        offer, failure = place.offer, place.failure
        return ModelOffer(
            id=offer.id,
            title=offer.title,
            licence=offer.licence,
            citation=offer.citation,
            bytes=offer.bytes,
            source=offer.published.weights.address if offer.published else None,
            sha256=offer.published.weights.sha256 or None if offer.published else None,
            state=place.state,
            default=offer.id == self.first,
            problem=failure.document() if failure else None,
        )

    async def progress(self, model_id: str) -> AsyncIterator[Event]:
        """What becomes of a model, from now until nothing more does."""
        place, last = self._place(model_id), None
        while (event := place.event()).name in ("downloading", "loading"):
            if event != last:
                yield event
            last = event
            await asyncio.sleep(PROGRESS_INTERVAL_S)
        yield event

    def _place(self, model_id: str | None) -> _Place:
        place = self._places.get(self.first if model_id is None else model_id)
        if place is None:
            raise UnknownModel(f"there are {', '.join(self._places)}", id=model_id)
        return place


class _Cancelled(Exception):
    """Nobody wants the download any more."""


class _Download:
    """One download under way; whoever sets `cancelled` ends it."""

    def __init__(self, offer: Offer) -> None:
        self.offer, self.cancelled = offer, threading.Event()
        self.progress = Progress(0, offer.bytes, 0.0)
        self.future: Future[None] = Future()

    def run(self) -> None:
        """On the lane."""
        try:
            download(self.offer.published, self._report)
        except DownloadError as error:
            raise DownloadFailed(str(error), id=self.offer.id) from None

    def _report(self, progress: Progress) -> None:
        self.progress = progress
        if self.cancelled.is_set():
            raise _Cancelled


@dataclass(eq=False)
class _Place:
    """A model's place on the shelf."""

    offer: Offer
    loading: Future[LoadedModel] | None = None
    download: _Download | None = None
    weights_hash: str = ""
    used_at: float = 0.0

    @property
    def model(self) -> LoadedModel | None:
        """The model, while it is loaded."""
        return self.loading.result() if self.loading and _succeeded(self.loading) else None

    @property
    def is_downloading(self) -> bool:
        return self.download is not None and not self.download.cancelled.is_set() and not self.download.future.done()

    @property
    def failure(self) -> Problem | None:
        """Why it was not loaded, or not downloaded, when that was tried last."""
        futures = (self.loading, self.download and self.download.future)
        errors = (future.exception() for future in futures if future and future.done() and not future.cancelled())
        return next((error for error in errors if isinstance(error, Problem)), None)

    @property
    def state(self) -> ModelState:
        if self.is_downloading:
            return "downloading"
        if self.loading and not self.loading.done():
            return "loading"
        if self.model:
            return "loaded"
        if self.failure:
            return "failed"
        return "not_downloaded" if self.offer.path is None else "on_disk"

    def event(self) -> Event:
        """How it stands, for who watches."""
        match self.state:
            case "downloading":
                now = self.download.progress
                return Event("downloading", {"done": now.done, "total": now.total, "remaining_s": now.remaining_s})
            case "loading":
                return Event("loading", {})
            case "failed":
                return Event("failed", self.failure.document())
            case state:
                return Event("done", {"state": state})


def _succeeded(future: Future) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _failed(future: Future) -> bool:
    return future.done() and not _succeeded(future)


def _terms(offer: Offer) -> str:
    """What one agrees to."""
    size = in_megabytes(offer.bytes) if offer.bytes else "of unknown size"
    return (
        f"{offer.title}, {size} from {offer.published.weights.address}, licence {offer.licence}; {offer.citation}; "
        f"{how_verified(offer.published)}; "
        'send {"agreed": true} to agree'
    )


def _without_folder(text: str, offer: Offer) -> str:
    """What is wrong with a file, without where it lies: visitors need not know."""
    return text.replace(f"{offer.path.parent}{os.sep}", "") if offer.path else text
