"""Pictures on their way from a file to an embedding, and the cache of those that arrived."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from demo.cache import ByteCache
from demo.codings import Coding, compress
from demo.lanes import Lane, result
from demo.pictures import PictureLimits, read_picture, write_png
from demo.problems import BrokenPicture, Busy, EncodeFailed, Problem, Unexpected, UnknownPicture
from demo.schemas import Event, ModelInfo, Picture, Precision, Window
from demo.service.estimates import EncodeTimes
from demo.wire import pack_embedding
from sam import SAM
from sam.predictor import ImageEmbedding

PROGRESS_INTERVAL_S = 0.25
DEADLINE_S = 300.0
"""For reading and for encoding a picture, each: what takes longer is believed never to end."""
WAITING_BYTES = 1_000_000_000  # decoded pixels that may wait for the encoder
_LIGHTEST_PICTURE = 8_000_000  # even a picture of one pixel costs a whole encode: at most 125 wait
_FAILURE_BYTES = 4_096
_ENCODER_NICENESS = 5  # whoever asks for a file or a mask waits no slice of an encode for it

log = logging.getLogger(__name__)
Encode = Callable[[np.ndarray], ImageEmbedding]


@dataclass(frozen=True)
class Encoded:
    """An embedding and the body that travels: made once, by the thread that encoded."""

    picture: Picture
    embedding: ImageEmbedding
    fp16_file: bytes
    picture_file: bytes
    seconds: float

    @property
    def size(self) -> int:
        """Bytes held: the file, the features, the fp16 body (half of them), its compressed form (less than that)."""
        return len(self.picture_file) + 2 * self.embedding.features.nbytes


@dataclass
class Job:
    """A picture's way from its file to its embedding, or a view's; both futures are shared by everyone who waits.

    place: its piece of work in the line to the encoder, once it is there.
    """

    image_id: str
    read: Future[Picture] = field(default_factory=Future)
    encoded: Future[Encoded] = field(default_factory=Future)
    place: Future[Encoded] | None = None
    started_at: float | None = None
    fp16_zstd_file: bytes | None = None

    @property
    def failed(self) -> bool:
        return self.encoded.done() and self.encoded.exception() is not None


class Pictures:
    """Reads and encodes pictures on two lanes; whoever names a picture joins its `Job`."""

    def __init__(
        self,
        model: SAM,
        model_info: ModelInfo,
        encode: Encode,
        *,
        cache_bytes: int,
        limits: PictureLimits,
        first_s: float | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.model, self.model_info, self.encode, self.limits = model, model_info, encode, limits
        self._reading = Lane("read pictures", capacity=4 * limits.max_bytes, first_s=0.2, deadline_s=deadline_s)
        self._encoding = Lane(
            "encode pictures",
            capacity=WAITING_BYTES,
            first_s=first_s or 1,
            deadline_s=deadline_s,
            niceness=_ENCODER_NICENESS,
        )
        self._finished: ByteCache[Job] = ByteCache(cache_bytes)
        self._unfinished: dict[str, Job] = {}
        self._times = EncodeTimes(first_s)
        self._lock = threading.Lock()

    @property
    def queue(self) -> int:
        """Encodes that wait or run."""
        return len(self._encoding)

    @property
    def cached(self) -> ByteCache[Job]:
        """The pictures that are done, or have failed."""
        return self._finished

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Where pictures wait."""
        return self._reading, self._encoding

    async def add(self, data: bytes, *, visitor: str = "") -> tuple[Picture, bool]:
        """Read a picture file and queue its encode; True when the picture is new here.

        A picture that is here or on its way is joined, not read again. One whose encode failed is tried again.
        Visitors have their turns: one with many pictures waits, not those who come after.
        """
        image_id = await asyncio.to_thread(_sha256, data)
        job, is_new = self._join_or_begin(image_id, data, visitor)
        return await result(job.read), is_new

    async def progress(self, image_id: str) -> AsyncIterator[Event]:
        """What becomes of a picture, from now until it is done or has failed."""
        job, last = self._known_job(image_id), None
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

    async def encoded(self, image_id: str) -> Encoded:
        """The picture's embedding, as soon as it is there."""
        return await result(self._known_job(image_id).encoded)

    async def pixels(self, image_id: str) -> np.ndarray:
        """The picture read again from its file: (H, W, 3) uint8 RGB."""
        data = (await self.encoded(image_id)).picture_file
        return await result(self._reading.submit(read_picture, data, self.limits, weight=len(data)))

    def encode_window(self, job: Job, encoded: Encoded, window: Window) -> Future[Encoded]:
        """Read a window of a picture that is here and put it in the line to the encoder."""
        x, y, width, height = window
        pixels = read_picture(encoded.picture_file, self.limits)[y : y + height, x : x + width].copy()
        view = replace(self._describe(encoded.picture.id, pixels), origin_xy=(x, y))
        weight = max(pixels.nbytes, _LIGHTEST_PICTURE)
        return self._encoding.submit(self._encode, job, view, b"", pixels, weight=weight)

    async def png_file(self, image_id: str) -> bytes:
        """The picture as browsers show it, upright."""
        pixels = await self.pixels(image_id)
        return await result(self._reading.submit(write_png, pixels, weight=pixels.nbytes))

    async def file(self, image_id: str, precision: Precision, coding: Coding) -> tuple[bytes, Coding]:
        """The embedding as a safetensors body, and how it is coded: fp32 always travels as it is."""
        return await self.body(self._known_job(image_id), precision, coding)

    async def body(self, job: Job, precision: Precision, coding: Coding) -> tuple[bytes, Coding]:
        """What `file` answers, of a job."""
        encoded = await result(job.encoded)
        if precision == "fp32":
            return await asyncio.to_thread(self._pack, encoded.picture, encoded.embedding, "fp32"), "identity"
        if coding == "identity":
            return encoded.fp16_file, "identity"
        if job.fp16_zstd_file is None:
            job.fp16_zstd_file = await asyncio.to_thread(compress, encoded.fp16_file)
        return job.fp16_zstd_file, "zstd"

    # ---- jobs -------------------------------------------------------------------------------------

    def _job(self, image_id: str) -> Job | None:
        return self._unfinished.get(image_id) or self._finished.get(image_id)

    def _known_job(self, image_id: str) -> Job:
        with self._lock:
            job = self._job(image_id)
        if job is None:
            raise UnknownPicture("it was never uploaded here, or made room for others", id=image_id)
        return job

    def _join_or_begin(self, image_id: str, data: bytes, visitor: str) -> tuple[Job, bool]:
        with self._lock:
            job = self._job(image_id)
            if job and not job.failed:
                return job, False
            job = Job(image_id)
            reading = self._reading.submit(self._read, job, data, visitor, weight=len(data), visitor=visitor)
            self._unfinished[image_id] = job
        reading.add_done_callback(partial(self._settle_read, job))
        return job, True

    def _read(self, job: Job, data: bytes, visitor: str) -> Picture:
        """On the reading lane: from a file to a place in the line to the encoder."""
        pixels = read_picture(data, self.limits)
        picture = self._describe(job.image_id, pixels)
        weight = max(len(data) + pixels.nbytes, _LIGHTEST_PICTURE)
        work = (self._encode, job, picture, data, pixels)
        job.place = self._encoding.submit(*work, weight=weight, visitor=visitor)
        return picture

    def _settle_read(self, job: Job, reading: Future[Picture]) -> None:
        """Tell who waits what became of the file: a picture in line, or a refusal."""
        if (error := reading.exception()) is not None:
            self._forget(job)
            job.encoded.set_exception(error)
            job.read.set_exception(error)
        else:
            job.read.set_result(reading.result())
            job.place.add_done_callback(partial(self._settle, job))

    def _describe(self, image_id: str, pixels: np.ndarray) -> Picture:
        try:
            frame = self.model.frame(pixels.shape[:2])
        except ValueError as error:
            raise BrokenPicture(str(error)) from None
        return Picture(image_id, tuple(frame.original_hw), tuple(frame.resized_hw))

    def _encode(self, job: Job, picture: Picture, data: bytes, pixels: np.ndarray) -> Encoded:
        """On the encoding lane: from pixels to what travels."""
        job.started_at = time.monotonic()
        embedding = self.encode(pixels)
        seconds = time.monotonic() - job.started_at
        self._times.learn(picture.pixels, seconds)
        return Encoded(picture, embedding, self._pack(picture, embedding, "fp16"), data, seconds)

    def _settle(self, job: Job, place: Future[Encoded]) -> None:
        """From the line to the cache, whatever happened."""
        error = place.exception()
        if error is None:
            self._finish(job, place.result().size)
            job.encoded.set_result(place.result())
        elif isinstance(error, Busy):  # the picture has done no wrong: it may come again
            self._forget(job)
            job.encoded.set_exception(error)
        else:
            log.error("the encode of picture %s failed", job.image_id, exc_info=error)
            self._finish(job, _FAILURE_BYTES)
            job.encoded.set_exception(EncodeFailed(type(error).__name__, id=job.image_id))

    def _finish(self, job: Job, size: int) -> None:
        with self._lock:
            self._finished.put(job.image_id, job, size)
            del self._unfinished[job.image_id]

    def _forget(self, job: Job) -> None:
        with self._lock:
            del self._unfinished[job.image_id]

    def _waiting_event(self, job: Job) -> Event:
        if job.started_at is None:
            return Event("queued", {"position": self._encoding.ahead_of(job.place) if job.place else self.queue})
        elapsed_s = round(time.monotonic() - job.started_at, 2)
        expected_s = self._times.expect(job.read.result().pixels) if job.read.done() else None
        expected_s = None if expected_s is None else round(expected_s, 2)
        return Event("encoding", {"elapsed_s": elapsed_s, "expected_s": expected_s})

    def _pack(self, picture: Picture, embedding: ImageEmbedding, precision: Precision) -> bytes:
        features = embedding.features.detach().float().cpu().numpy()
        frame = self.model.config.image_size
        return pack_embedding(features, precision, model=self.model_info, picture=picture, prompt_frame=frame)


def _final_event(encoded: Future[Encoded]) -> Event:
    error = encoded.exception()
    if error is None:
        return Event("done", {"seconds": round(encoded.result().seconds, 3)})
    problem = error if isinstance(error, Problem) else Unexpected("the log of the server says more")
    return Event("failed", problem.document())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
