"""Pictures on their way from a file to what models see in them, and the cache of those that arrived."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from demo.cache import ByteCache
from demo.codings import Coding, compress
from demo.lanes import Lane, result
from demo.pictures import PictureLimits, read_picture, write_png
from demo.problems import BrokenPicture, EncodeFailed, Problem, Unexpected, UnknownPicture
from demo.schemas import Event, Picture, Precision
from demo.service.estimates import EncodeTimes
from demo.service.models import LoadedModel
from demo.wire import pack_embedding
from sam.predictor import ImageEmbedding

PROGRESS_INTERVAL_S = 0.25
WAITING_BYTES = 1_000_000_000  # decoded pixels that may wait for the encoder
_LIGHTEST_PICTURE = 8_000_000  # even a picture of one pixel costs a whole encode: at most 125 wait
_FAILURE_BYTES = 4_096

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


@dataclass(eq=False)
class Job:
    """One picture's way from its file to one model's embedding; both futures are shared by everyone who waits."""

    upload: Upload
    times: EncodeTimes
    read: Future[Picture] = field(default_factory=Future)
    encoded: Future[Encoded] = field(default_factory=Future)
    started_at: float | None = None
    fp16_zstd_file: bytes | None = None
    finished: bool = False
    size: int = 0

    @property
    def failed(self) -> bool:
        return self.encoded.done() and self.encoded.exception() is not None


class Pictures:
    """Reads and encodes pictures on two lanes; whoever names a picture and a model joins their `Job`."""

    def __init__(self, *, cache_bytes: int, limits: PictureLimits) -> None:
        self.limits = limits
        self._reading = Lane("read pictures", capacity=4 * limits.max_bytes, retry_after_s=2)
        self._encoding = Lane("encode pictures", capacity=WAITING_BYTES, retry_after_s=10)
        self._finished: ByteCache[Upload] = ByteCache(cache_bytes)
        self._unfinished: dict[str, Upload] = {}
        self._line: list[Job] = []
        self._lock = threading.Lock()

    @property
    def queue(self) -> int:
        """Encodes that wait or run."""
        return len(self._encoding)

    @property
    def cached(self) -> ByteCache[Upload]:
        """The pictures that are done, or have failed."""
        return self._finished

    def close(self) -> None:
        """Drop what waits."""
        self._reading.close()
        self._encoding.close()

    async def add(self, data: bytes, model: LoadedModel) -> tuple[Picture, bool]:
        """Read a picture file and queue its encode; True when the picture is new here.

        A picture that is here or on its way is joined, not read again. One whose encode failed is tried again.
        """
        image_id = hashlib.sha256(data).hexdigest()
        with self._lock:
            known = self._upload(image_id)
            upload = known or Upload(image_id, data)
            job = upload.jobs.get(model.info.weights_hash)
            if job is None or job.failed:
                job = self._begin(upload, model)
        return await result(job.read), known is None

    def find(self, image_id: str, weights_hash: str) -> Job | None:
        """The picture's job under a model, if it ever began and is still here; UnknownPicture without the picture."""
        with self._lock:
            return self._known(image_id).jobs.get(weights_hash)

    def join(self, image_id: str, model: LoadedModel) -> Job:
        """The picture's job under a model; it begins now unless it did. UnknownPicture without the picture."""
        with self._lock:
            upload = self._known(image_id)
            return upload.jobs.get(model.info.weights_hash) or self._begin(upload, model)

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

    async def pixels(self, image_id: str) -> np.ndarray:
        """The picture read again from its file: (H, W, 3) uint8 RGB."""
        with self._lock:
            data = self._known(image_id).data
        return await result(self._reading.submit(read_picture, data, self.limits, weight=len(data)))

    async def png_file(self, image_id: str) -> bytes:
        """The picture as browsers show it, upright."""
        pixels = await self.pixels(image_id)
        return await result(self._reading.submit(write_png, pixels, weight=pixels.nbytes))

    async def file(self, job: Job, precision: Precision, coding: Coding) -> tuple[bytes, Coding]:
        """The embedding as a safetensors body, and how it is coded: fp32 always travels as it is."""
        encoded = await result(job.encoded)
        if precision == "fp32":
            return _pack(encoded.embedding, "fp32", encoded.picture, encoded.prompt_frame), "identity"
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

    def _begin(self, upload: Upload, model: LoadedModel) -> Job:
        """A new job, whose model stays until it is done."""
        job = Job(upload, model.times)
        with ExitStack() as stack:
            stack.enter_context(model.using())
            self._reading.submit(self._read, job, model, weight=len(upload.data))
            job.encoded.add_done_callback(_closing(stack.pop_all()))
        upload.jobs[model.info.weights_hash] = job
        self._unfinished[upload.id] = upload
        self._line.append(job)
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

    def _read(self, job: Job, model: LoadedModel) -> None:
        """On the reading lane: from a file to a place in the encode queue, or to a refusal."""
        try:
            data = job.upload.data
            pixels = read_picture(data, self.limits)
            picture = _describe(job.upload.id, pixels, model)
            weight = max(len(data) + pixels.nbytes, _LIGHTEST_PICTURE)
            self._encoding.submit(self._run, job, model, picture, pixels, weight=weight)
        except Exception as error:
            self._forget(job, model.info.weights_hash)
            job.read.set_exception(error)
            job.encoded.set_exception(error)
        else:
            job.read.set_result(picture)

    def _run(self, job: Job, model: LoadedModel, picture: Picture, pixels: np.ndarray) -> None:
        """On the encoding lane: from the queue to the cache, whatever happens."""
        job.started_at = time.monotonic()
        try:
            encoded = _encode(model, picture, pixels)
        except Exception as error:
            log.exception("the encode of picture %s by %s failed", picture.id, model.info.id)
            self._finish(job, _FAILURE_BYTES)
            job.encoded.set_exception(EncodeFailed(type(error).__name__, id=picture.id))
        else:
            self._finish(job, encoded.size)
            job.encoded.set_result(encoded)

    def _finish(self, job: Job, size: int) -> None:
        with self._lock:
            job.finished, job.size = True, size
            self._line.remove(job)
            self._rest(job.upload)

    def _forget(self, job: Job, weights_hash: str) -> None:
        with self._lock:
            self._line.remove(job)
            del job.upload.jobs[weights_hash]
            if job.upload.jobs:
                self._rest(job.upload)
            else:
                del self._unfinished[job.upload.id]

    def _waiting_event(self, job: Job) -> Event:
        if job.started_at is None:
            return Event("queued", {"position": self._ahead_of(job)})
        elapsed_s = round(time.monotonic() - job.started_at, 2)
        expected_s = job.times.expect(job.read.result().pixels) if job.read.done() else None
        expected_s = None if expected_s is None else round(expected_s, 2)
        return Event("encoding", {"elapsed_s": elapsed_s, "expected_s": expected_s})

    def _ahead_of(self, job: Job) -> int:
        with self._lock:
            return self._line.index(job) if job in self._line else 0


def _describe(image_id: str, pixels: np.ndarray, model: LoadedModel) -> Picture:
    try:
        frame = model.sam.frame(pixels.shape[:2])
    except ValueError as error:
        raise BrokenPicture(str(error)) from None
    return Picture(image_id, tuple(frame.original_hw), tuple(frame.resized_hw), model.info)


def _encode(model: LoadedModel, picture: Picture, pixels: np.ndarray) -> Encoded:
    started_at = time.monotonic()
    embedding = model.encode(pixels)
    seconds = time.monotonic() - started_at
    model.times.learn(picture.pixels, seconds)
    fp16_file = _pack(embedding, "fp16", picture, model.prompt_frame)
    return Encoded(picture, embedding, model.prompt_frame, fp16_file, seconds)


def _pack(embedding: ImageEmbedding, precision: Precision, picture: Picture, prompt_frame: int) -> bytes:
    features = embedding.features.detach().float().cpu().numpy()
    return pack_embedding(features, precision, picture=picture, prompt_frame=prompt_frame)


def _closing(stack: ExitStack) -> Callable[[Future], None]:
    return lambda _: stack.close()


def _final_event(encoded: Future[Encoded]) -> Event:
    error = encoded.exception()
    if error is None:
        return Event("done", {"seconds": round(encoded.result().seconds, 3)})
    problem = error if isinstance(error, Problem) else Unexpected("the log of the server says more")
    return Event("failed", problem.document())
