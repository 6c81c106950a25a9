"""Pictures on their way from a file to what models see in them, and the cache of those that arrived."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from demo.cache import ByteCache
from demo.codings import Coding, compress
from demo.lanes import Lane, result
from demo.pictures import PictureLimits, picture_name, read_picture, write_png
from demo.problems import BrokenPicture, Busy, EncodeFailed, Problem, Unexpected, UnknownPicture
from demo.schemas import Event, Picture, Precision, Window
from demo.service.estimates import EncodeTimes
from demo.service.models import LoadedModel
from demo.wire import pack_embedding
from sam.predictor import ImageEmbedding

PROGRESS_INTERVAL_S = 0.25
DEADLINE_S = 300.0
"""For reading and for encoding a picture, each: what takes longer is believed never to end."""
WAITING_BYTES = 500_000_000  # decoded pixels that may wait for the encoder
_LIGHTEST_PICTURE = 8_000_000  # even a picture of one pixel costs a whole encode: at most 62 wait
_FAILURE_BYTES = 4_096
_VIEWS = "closer views"  # those of all visitors have a line of their own, and here one turn among the visitors
ENCODER_NICENESS = 5  # whoever asks for a file or a mask waits no slice of an encode for it

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """An embedding and the body that travels: made once, by the thread that encoded."""

    picture: Picture
    embedding: ImageEmbedding
    prompt_frame: int
    fp16_file: bytes
    seconds: float

    @property
    def size(self) -> int:
        """Bytes held: the features, the fp16 body (half of them), its compressed form (less than that)."""
        return 2 * self.embedding.features.nbytes


@dataclass(eq=False)
class Upload:
    """A picture's file, kept once, and its way under each model, by the hash of the model's weights."""

    id: str
    data: bytes = field(repr=False)
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self.data) + sum(job.size for job in self.jobs.values())

    @property
    def finished(self) -> bool:
        """Whether nothing more becomes of it by itself."""
        return all(job.finished for job in self.jobs.values())


@dataclass(eq=False, kw_only=True)
class Encoding:
    """An encode under way or done, shared by everyone who waits."""

    encoded: Future[Encoded] = field(default_factory=Future)
    started_at: float | None = None
    fp16_zstd_file: bytes | None = None


@dataclass(eq=False)
class Job(Encoding):
    """One picture's way from its file to one model's embedding; both futures are shared by everyone who waits.

    place: its piece of work in the line to the encoder, once it is there.
    """

    upload: Upload
    weights_hash: str
    times: EncodeTimes
    read: Future[Picture] = field(default_factory=Future)
    place: Future[Encoded] | None = None
    finished: bool = False
    size: int = 0

    @property
    def failed(self) -> bool:
        return self.encoded.done() and self.encoded.exception() is not None


class Pictures:
    """Reads and encodes pictures on two lanes; whoever names a picture and a model joins their `Job`.

    first_s: seconds that an encode is believed to take until one was measured. `encodes` counts those that were done,
    which took `encode_seconds` in all. longest_wait_s: in either line; who would wait longer is refused.
    """

    def __init__(
        self,
        *,
        cache_bytes: int,
        limits: PictureLimits,
        first_s: float | None = None,
        longest_wait_s: float = math.inf,
        deadline_s: float = DEADLINE_S,
        encodes_at_once: int = 1,
    ) -> None:
        self.limits = limits
        self._reading = Lane(
            "read pictures",
            capacity=4 * limits.max_bytes,
            first_s=0.2,
            longest_wait_s=longest_wait_s,
            deadline_s=deadline_s,
        )
        self._encoding = Lane(
            "encode pictures",
            capacity=WAITING_BYTES,
            first_s=first_s or 1,
            longest_wait_s=longest_wait_s,
            deadline_s=deadline_s,
            niceness=ENCODER_NICENESS,
            workers=encodes_at_once,
        )
        self._finished: ByteCache[Upload] = ByteCache(cache_bytes)
        self._unfinished: dict[str, Upload] = {}
        self.encodes, self.encode_seconds = 0, 0.0
        self._lock = threading.RLock()  # what is done at once settles its job while it begins

    @property
    def queue(self) -> int:
        """Encodes that wait or run."""
        return len(self._encoding)

    @property
    def cached(self) -> ByteCache[Upload]:
        """The pictures that are done, or have failed."""
        return self._finished

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Where pictures wait."""
        return self._reading, self._encoding

    async def add(self, data: bytes, model: LoadedModel, *, visitor: str = "", owner: str = "") -> tuple[Picture, bool]:
        """Read a picture file and queue its encode; True when the picture is new here.

        A picture that is here or on its way is joined, not read again. One whose encode failed is tried again. Those of
        an owner, who is known by a secret, are joined by nobody else. Visitors have their turns: one with many pictures
        waits, not those who come after.
        """
        image_id = await asyncio.to_thread(picture_name, data, owner)
        with self._lock:
            known = self._upload(image_id)
            upload = known or Upload(image_id, data)
            job = upload.jobs.get(model.info.weights_hash)
            if job is None or job.failed:
                job = self._begin(upload, model, visitor)
        return await result(job.read), known is None

    def find(self, image_id: str, weights_hash: str) -> Job | None:
        """The picture's job under a model, if it ever began and is still here; UnknownPicture without the picture."""
        with self._lock:
            return self._known(image_id).jobs.get(weights_hash)

    def join(self, image_id: str, model: LoadedModel, *, visitor: str = "") -> Job:
        """The picture's job under a model; it begins now unless it did. UnknownPicture without the picture."""
        with self._lock:
            upload = self._known(image_id)
            if job := upload.jobs.get(model.info.weights_hash):
                return job
            return self._begin(upload, model, visitor)

    async def progress(self, job: Job) -> AsyncIterator[Event]:
        """What becomes of a job, from now until it is done or has failed."""
        last = None
        encoded = asyncio.ensure_future(result(job.encoded))
        try:
            while not job.encoded.done():
                if (event := self._waiting_event(job)) != last:
                    yield event
                last = event
                await asyncio.wait([encoded], timeout=PROGRESS_INTERVAL_S)
            yield _final_event(job.encoded)
        finally:
            encoded.cancel()

    async def original_hw(self, image_id: str) -> tuple[int, int]:
        """Height and width of the upright picture."""
        with self._lock:
            job = next(iter(self._known(image_id).jobs.values()))
        return (await result(job.read)).original_hw

    async def pixels(self, image_id: str, *, visitor: str = "") -> np.ndarray:
        """The picture read again from its file: (H, W, 3) uint8 RGB."""
        with self._lock:
            data = self._known(image_id).data
        return await result(self._reading.submit(read_picture, data, self.limits, weight=len(data), visitor=visitor))

    def encode_window(self, way: Encoding, image_id: str, model: LoadedModel, window: Window) -> Future[Encoded]:
        """Read a window of a picture that is here and put it in the line to the encoder."""
        with self._lock:
            data = self._known(image_id).data
        x, y, width, height = window
        pixels = read_picture(data, self.limits)[y : y + height, x : x + width].copy()
        view = replace(_describe(image_id, pixels, model), origin_xy=(x, y))
        return self._encoding.submit(
            partial(_encode, way, model, view, pixels),
            weight=max(pixels.nbytes, _LIGHTEST_PICTURE),
            visitor=_VIEWS,
            expected_s=model.times.expect(view.pixels),
        )

    async def png_file(self, image_id: str, *, visitor: str = "") -> bytes:
        """The picture as browsers show it, upright; read and written in one turn, so that no pixels wait in line."""
        with self._lock:
            data = self._known(image_id).data
        return await result(self._reading.submit(_as_png, data, self.limits, weight=len(data), visitor=visitor))

    async def file(self, job: Encoding, precision: Precision, coding: Coding) -> tuple[bytes, Coding]:
        """The embedding as a safetensors body, and how it is coded: fp32 always travels as it is."""
        encoded = await result(job.encoded)
        if precision == "fp32":
            packed = asyncio.to_thread(_pack, encoded.embedding, "fp32", encoded.picture, encoded.prompt_frame)
            return await packed, "identity"
        if coding == "identity":
            return encoded.fp16_file, "identity"
        if job.fp16_zstd_file is None:
            job.fp16_zstd_file = await asyncio.to_thread(compress, encoded.fp16_file)
        return job.fp16_zstd_file, "zstd"

    # ---- jobs; the first four with the lock held ---------------------------------------------------

    def _upload(self, image_id: str) -> Upload | None:
        return self._unfinished.get(image_id) or self._finished.get(image_id)

    def _known(self, image_id: str) -> Upload:
        upload = self._upload(image_id)
        if upload is None:
            raise UnknownPicture("it was never uploaded here, or made room for others", id=image_id)
        return upload

    def _begin(self, upload: Upload, model: LoadedModel, visitor: str) -> Job:
        """A new job, whose model stays until it is done; Busy before the file is read, if there is no room."""
        self._encoding.require_room(weight=_LIGHTEST_PICTURE, visitor=visitor)
        job = Job(upload, model.info.weights_hash, model.times)
        with ExitStack() as stack:
            stack.enter_context(model.using())
            reading = self._reading.submit(self._read, job, model, visitor, weight=len(upload.data), visitor=visitor)
            job.encoded.add_done_callback(closing(stack.pop_all()))
        upload.jobs[job.weights_hash] = job
        self._unfinished[upload.id] = upload
        reading.add_done_callback(partial(self._settle_read, job))
        return job

    def _rest(self, upload: Upload) -> None:
        """A picture whose jobs are all finished moves to the cache; of too many embeddings the oldest go."""
        if not upload.finished:
            return
        del self._unfinished[upload.id]
        for weights_hash in list(upload.jobs)[:-1]:
            if upload.size > self._finished.max_bytes:
                del upload.jobs[weights_hash]
        self._finished.put(upload.id, upload, upload.size)

    def _read(self, job: Job, model: LoadedModel, visitor: str) -> Picture:
        """On the reading lane: from a file to a place in the line to the encoder."""
        data = job.upload.data
        pixels = read_picture(data, self.limits)
        picture = _describe(job.upload.id, pixels, model)
        job.place = self._encoding.submit(
            partial(_encode, job, model, picture, pixels),
            weight=max(len(data) + pixels.nbytes, _LIGHTEST_PICTURE),
            visitor=visitor,
            expected_s=model.times.expect(picture.pixels),
        )
        return picture

    def _settle_read(self, job: Job, reading: Future[Picture]) -> None:
        """Tell who waits what became of the file: a picture in line, or a refusal."""
        if (error := told(reading)) is not None:
            self._forget(job)
            job.encoded.set_exception(error)
            job.read.set_exception(error)
        else:
            job.read.set_result(reading.result())
            job.place.add_done_callback(partial(self._settle, job))

    def _settle(self, job: Job, place: Future[Encoded]) -> None:
        """From the line to the cache, whatever happened."""
        error = told(place)
        if error is None:
            with self._lock:
                self.encodes += 1
                self.encode_seconds += place.result().seconds
            self._finish(job, place.result().size)
            job.encoded.set_result(place.result())
        elif isinstance(error, Busy):  # the picture has done no wrong: it may come again
            self._forget(job)
            job.encoded.set_exception(error)
        else:
            log.error("an encode failed", exc_info=error)  # of which picture is nobody's business
            self._finish(job, _FAILURE_BYTES)
            job.encoded.set_exception(EncodeFailed(type(error).__name__, id=job.upload.id))

    def _finish(self, job: Job, size: int) -> None:
        with self._lock:
            job.finished, job.size = True, size
            self._rest(job.upload)

    def _forget(self, job: Job) -> None:
        with self._lock:
            del job.upload.jobs[job.weights_hash]
            if job.upload.jobs:
                self._rest(job.upload)
            else:
                del self._unfinished[job.upload.id]

    def _waiting_event(self, job: Job) -> Event:
        if job.started_at is None:
            return Event("queued", {"position": self._encoding.ahead_of(job.place) if job.place else self.queue})
        elapsed_s = round(time.monotonic() - job.started_at, 2)
        expected_s = job.times.expect(job.read.result().pixels) if job.read.done() else None
        expected_s = None if expected_s is None else round(expected_s, 2)
        return Event("encoding", {"elapsed_s": elapsed_s, "expected_s": expected_s})


def _as_png(data: bytes, limits: PictureLimits) -> bytes:
    return write_png(read_picture(data, limits))


def _describe(image_id: str, pixels: np.ndarray, model: LoadedModel) -> Picture:
    try:
        frame = model.sam.frame(pixels.shape[:2])
    except ValueError as error:
        raise BrokenPicture(str(error)) from None
    return Picture(image_id, tuple(frame.original_hw), tuple(frame.resized_hw), model.info)


def _encode(job: Encoding, model: LoadedModel, picture: Picture, pixels: np.ndarray) -> Encoded:
    """On the encoding lane: from pixels to what travels."""
    job.started_at = time.monotonic()
    embedding = model.encode(pixels)
    seconds = time.monotonic() - job.started_at
    model.times.learn(picture.pixels, seconds)
    fp16_file = _pack(embedding, "fp16", picture, model.prompt_frame)
    return Encoded(picture, embedding, model.prompt_frame, fp16_file, seconds)


def _pack(embedding: ImageEmbedding, precision: Precision, picture: Picture, prompt_frame: int) -> bytes:
    features = embedding.features.detach().float().cpu().numpy()
    return pack_embedding(features, precision, picture=picture, prompt_frame=prompt_frame)


def closing(stack: ExitStack) -> Callable[[Future], None]:
    return lambda _: stack.close()


def _final_event(encoded: Future[Encoded]) -> Event:
    error = encoded.exception()
    if error is None:
        return Event("done", {"seconds": round(encoded.result().seconds, 3)})
    problem = error if isinstance(error, Problem) else Unexpected("the log of the server says more")
    return Event("failed", problem.document())


def told(work: Future) -> BaseException | None:
    """What visitors are told of a failure: where memory is short for one picture, another time it may not be."""
    error = work.exception()
    return Busy("too little memory is free", retry_after_s=30) if isinstance(error, MemoryError) else error
