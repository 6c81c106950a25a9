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

import numpy as np

from demo.cache import ByteCache
from demo.codings import Coding, compress
from demo.lanes import Lane, result
from demo.pictures import PictureLimits, read_picture, write_png
from demo.problems import BrokenPicture, EncodeFailed, Problem, Unexpected, UnknownPicture
from demo.schemas import Event, ModelInfo, Picture, Precision, Window
from demo.service.estimates import EncodeTimes
from demo.wire import pack_embedding
from sam import SAM
from sam.predictor import ImageEmbedding

PROGRESS_INTERVAL_S = 0.25
WAITING_BYTES = 1_000_000_000  # decoded pixels that may wait for the encoder
_LIGHTEST_PICTURE = 8_000_000  # even a picture of one pixel costs a whole encode: at most 125 wait
_FAILURE_BYTES = 4_096

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
    """A picture's way from its file to its embedding, or a view's; both futures are shared by everyone who waits."""

    image_id: str
    read: Future[Picture] = field(default_factory=Future)
    encoded: Future[Encoded] = field(default_factory=Future)
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
    ) -> None:
        self.model, self.model_info, self.encode, self.limits = model, model_info, encode, limits
        self._reading = Lane("read pictures", capacity=4 * limits.max_bytes, retry_after_s=2)
        self._encoding = Lane("encode pictures", capacity=WAITING_BYTES, retry_after_s=10)
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

    def close(self) -> None:
        """Drop what waits."""
        self._reading.close()
        self._encoding.close()

    async def add(self, data: bytes) -> tuple[Picture, bool]:
        """Read a picture file and queue its encode; True when the picture is new here.

        A picture that is here or on its way is joined, not read again. One whose encode failed is tried again.
        """
        image_id = hashlib.sha256(data).hexdigest()
        job, is_new = self._join_or_begin(image_id, data)
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

    def encode_window(self, encoded: Encoded, window: Window) -> Future[Encoded]:
        """Read a window of a picture that is here and put it in the line for the encoder, behind all that wait."""
        x, y, width, height = window
        pixels = read_picture(encoded.picture_file, self.limits)[y : y + height, x : x + width].copy()
        view = replace(self._describe(encoded.picture.id, pixels), origin_xy=(x, y))
        weight = max(pixels.nbytes, _LIGHTEST_PICTURE)
        return self._encoding.submit(self._encode, view, b"", pixels, weight=weight)

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
            return self._pack(encoded.picture, encoded.embedding, "fp32"), "identity"
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

    def _join_or_begin(self, image_id: str, data: bytes) -> tuple[Job, bool]:
        with self._lock:
            job = self._job(image_id)
            if job and not job.failed:
                return job, False
            job = Job(image_id)
            self._reading.submit(self._read, job, data, weight=len(data))
            self._unfinished[image_id] = job
            return job, True

    def _read(self, job: Job, data: bytes) -> None:
        """On the reading lane: from a file to a place in the encode queue, or to a refusal."""
        try:
            pixels = read_picture(data, self.limits)
            picture = self._describe(job.image_id, pixels)
            weight = max(len(data) + pixels.nbytes, _LIGHTEST_PICTURE)
            self._encoding.submit(self._run, job, picture, data, pixels, weight=weight)
        except Exception as error:
            self._forget(job)
            job.read.set_exception(error)
            job.encoded.set_exception(error)
        else:
            job.read.set_result(picture)

    def _describe(self, image_id: str, pixels: np.ndarray) -> Picture:
        try:
            frame = self.model.frame(pixels.shape[:2])
        except ValueError as error:
            raise BrokenPicture(str(error)) from None
        return Picture(image_id, tuple(frame.original_hw), tuple(frame.resized_hw))

    def _run(self, job: Job, picture: Picture, data: bytes, pixels: np.ndarray) -> None:
        """On the encoding lane: from the queue to the cache, whatever happens."""
        job.started_at = time.monotonic()
        try:
            encoded = self._encode(picture, data, pixels)
        except Exception as error:
            log.exception("the encode of picture %s failed", job.image_id)
            self._finish(job, _FAILURE_BYTES)
            job.encoded.set_exception(EncodeFailed(type(error).__name__, id=job.image_id))
        else:
            self._finish(job, encoded.size)
            job.encoded.set_result(encoded)

    def _encode(self, picture: Picture, data: bytes, pixels: np.ndarray) -> Encoded:
        started_at = time.monotonic()
        embedding = self.encode(pixels)
        seconds = time.monotonic() - started_at
        self._times.learn(picture.pixels, seconds)
        return Encoded(picture, embedding, self._pack(picture, embedding, "fp16"), data, seconds)

    def _finish(self, job: Job, size: int) -> None:
        with self._lock:
            self._finished.put(job.image_id, job, size)
            del self._unfinished[job.image_id]

    def _forget(self, job: Job) -> None:
        with self._lock:
            del self._unfinished[job.image_id]

    def _waiting_event(self, job: Job) -> Event:
        if job.started_at is None:
            return Event("queued", {"position": self._ahead_of(job)})
        elapsed_s = round(time.monotonic() - job.started_at, 2)
        expected_s = self._times.expect(job.read.result().pixels) if job.read.done() else None
        expected_s = None if expected_s is None else round(expected_s, 2)
        return Event("encoding", {"elapsed_s": elapsed_s, "expected_s": expected_s})

    def _ahead_of(self, job: Job) -> int:
        with self._lock:
            line = list(self._unfinished)
        return line.index(job.image_id) if job.image_id in line else 0

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
