"""The model behind the routes: encode queue, cache of embeddings, decoder graphs, decoding on the server.

The only module of the demo that uses `sam`. Work runs on lanes of one thread each (read a picture, encode
it, decode a prompt), so a hover never waits behind an encode, and a burst of uploads never unpacks ten pictures
at once. A request joins the `Job` of its picture and may leave at any time: the job belongs to the service.

`encode` is the seam: in this process by default, or any function from RGB pixels to an `ImageEmbedding`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from functools import cached_property, partial

import numpy as np
import torch

from demo.cache import ByteCache
from demo.codings import Coding, compress, compress_all
from demo.lanes import Lane
from demo.pictures import DEFAULT_LIMITS, PictureLimits, read_picture
from demo.problems import BrokenPicture, EncodeFailed, OtherWeights, Problem, Unexpected, UnknownPicture
from demo.schemas import (
    Decoder,
    DecoderFile,
    Event,
    HealthReply,
    ModelInfo,
    Picture,
    Precision,
    Prompts,
    Segment,
)
from demo.settings import Settings
from demo.wire import pack_embedding, pack_masks
from sam import SAM, load_sam, predictor
from sam.export import export_hover_pair
from sam.hover import decoder_weights
from sam.predictor import ImageEmbedding

DECODER_PRECISIONS = ("int8", "fp16")
DECODER_CONTRACT = "hover"
PROGRESS_INTERVAL_S = 0.25
_WAITING_BYTES = 1_000_000_000  # decoded pixels that may wait for the encoder
_WAITING_DECODES = 64
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
    seconds: float

    @property
    def size(self) -> int:
        """Bytes held: the features, the fp16 body (half of them) and its compressed form (less than that)."""
        return 2 * self.embedding.features.nbytes


@dataclass
class Job:
    """One picture's way from its file to its embedding; both futures are shared by everyone who waits."""

    image_id: str
    read: Future[Picture] = field(default_factory=Future)
    encoded: Future[Encoded] = field(default_factory=Future)
    started_at: float | None = None
    fp16_zstd_file: bytes | None = None

    @property
    def failed(self) -> bool:
        return self.encoded.done() and self.encoded.exception() is not None


def load_service(settings: Settings) -> DemoService:
    """The service for `settings`; raises ValueError or OSError for a checkpoint or device that cannot be had."""
    model = load_sam(settings.checkpoint, device=_device(settings.device))
    return DemoService(model, cache_bytes=settings.cache_bytes, limits=settings.limits)


class DemoService:
    """Everything the routes can ask for; see `demo.schemas.Service`. Any event loop may use it."""

    def __init__(
        self,
        model: SAM,
        *,
        cache_bytes: int = 512_000_000,
        limits: PictureLimits = DEFAULT_LIMITS,
        encode: Encode | None = None,
    ) -> None:
        self.model = model
        self.limits = limits
        self.encode = encode or partial(predictor.encode, model)
        self.model_info = ModelInfo(id=model.config.model_id, weights_hash=model.weights_hash())
        self.prompt_frame = model.config.image_size
        self.mask_threshold = float(model.mask_threshold)
        self._reading = Lane("read pictures", capacity=4 * limits.max_bytes, retry_after_s=2)
        self._encoding = Lane("encode pictures", capacity=_WAITING_BYTES, retry_after_s=10)
        self._decoding = Lane("decode prompts", capacity=_WAITING_DECODES, retry_after_s=1)
        self._exporting = Lane("export decoders", capacity=1, retry_after_s=5)
        self._finished: ByteCache[Job] = ByteCache(cache_bytes)
        self._unfinished: dict[str, Job] = {}
        self._decoders: Future | None = None
        self._expected_s: float | None = None
        self._lock = threading.Lock()

    # ---- life -------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Begin to export the decoder graphs, in the background and once."""
        with self._lock:
            if self._decoders is None:
                self._decoders = self._exporting.submit(self._export_decoders)

    def close(self) -> None:
        """Drop what waits; call once, when no request will follow."""
        for lane in (self._reading, self._encoding, self._decoding, self._exporting):
            lane.close()

    def health(self) -> HealthReply:
        return HealthReply(
            model=self.model_info,
            queue=len(self._encoding),
            cached_pictures=len(self._finished),
            cached_bytes=self._finished.bytes_used,
        )

    # ---- pictures ---------------------------------------------------------------------------------

    async def add(self, data: bytes) -> tuple[Picture, bool]:
        """Read a picture file and queue its encode; True when the picture is new here.

        A picture that is here or on its way is joined, not read again. One whose encode failed is tried again.
        """
        image_id = hashlib.sha256(data).hexdigest()
        job, is_new = self._join_or_begin(image_id, data)
        return await _result(job.read), is_new

    async def progress(self, image_id: str) -> AsyncIterator[Event]:
        """What becomes of a picture, from now until it is done or has failed."""
        job, last = self._known_job(image_id), None
        encoded = asyncio.ensure_future(_result(job.encoded))
        try:
            while not job.encoded.done():
                if (event := self._waiting_event(job)) != last:
                    yield event
                last = event
                await asyncio.wait([encoded], timeout=PROGRESS_INTERVAL_S)
            yield _final_event(job.encoded)
        finally:
            encoded.cancel()

    # ---- what travels -----------------------------------------------------------------------------

    async def embedding_file(
        self, image_id: str, weights_hash: str, precision: Precision, coding: Coding
    ) -> tuple[bytes, Coding]:
        """The embedding as a safetensors body, and how it is coded: fp32 always travels as it is."""
        self._require_weights(weights_hash)
        job = self._known_job(image_id)
        encoded = await _result(job.encoded)
        if precision == "fp32":
            return self._pack(encoded.picture, encoded.embedding, "fp32"), "identity"
        if coding == "identity":
            return encoded.fp16_file, "identity"
        if job.fp16_zstd_file is None:
            job.fp16_zstd_file = await asyncio.to_thread(compress, encoded.fp16_file)
        return job.fp16_zstd_file, "zstd"

    async def decode_file(self, image_id: str, prompts: Prompts) -> bytes:
        """All four low-resolution masks for the prompts, as the decoder graph in the browser would answer."""
        job = self._known_job(image_id)
        encoded = await _result(job.encoded)
        logits, iou = await _result(self._decoding.submit(self._decode, encoded.embedding, prompts))
        return pack_masks(logits, iou, model=self.model_info, picture=encoded.picture)

    async def segment(self, image_id: str, prompts: Prompts) -> Segment:
        """One mask in original pixels: the best of three for a single click, the single mask otherwise."""
        encoded = await _result(self._known_job(image_id).encoded)
        return await _result(self._decoding.submit(self._segment, encoded.embedding, prompts))

    async def decoders(self) -> list[Decoder]:
        """The decoders for the page, exported once per process, less those that could not be made."""
        self.warm_up()
        return await _result(self._decoders)

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
            self._encoding.submit(
                self._run, job, picture, pixels, weight=max(pixels.nbytes, _LIGHTEST_PICTURE)
            )
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

    def _run(self, job: Job, picture: Picture, pixels: np.ndarray) -> None:
        """On the encoding lane: from the queue to the cache, whatever happens."""
        job.started_at = time.monotonic()
        try:
            encoded = self._encode(job, picture, pixels)
        except Exception as error:
            log.exception("the encode of picture %s failed", job.image_id)
            self._finish(job, _FAILURE_BYTES)
            job.encoded.set_exception(EncodeFailed(type(error).__name__, id=job.image_id))
        else:
            self._finish(job, encoded.size)
            job.encoded.set_result(encoded)

    def _encode(self, job: Job, picture: Picture, pixels: np.ndarray) -> Encoded:
        embedding = self.encode(pixels)
        seconds = time.monotonic() - job.started_at
        self._expected_s = seconds if self._expected_s is None else 0.7 * self._expected_s + 0.3 * seconds
        return Encoded(picture, embedding, self._pack(picture, embedding, "fp16"), seconds)

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
        expected_s = None if self._expected_s is None else round(self._expected_s, 2)
        return Event("encoding", {"elapsed_s": elapsed_s, "expected_s": expected_s})

    def _ahead_of(self, job: Job) -> int:
        with self._lock:
            line = list(self._unfinished)
        return line.index(job.image_id) if job.image_id in line else 0

    # ---- the model, on a lane ---------------------------------------------------------------------

    def _decode(self, embedding: ImageEmbedding, prompts: Prompts) -> tuple[np.ndarray, np.ndarray]:
        logits, iou = predictor.predict_low_res(self.model, embedding, **_arrays(prompts))
        return np.asarray(logits), np.asarray(iou)

    def _segment(self, embedding: ImageEmbedding, prompts: Prompts) -> Segment:
        masks = predictor.predict(
            self.model, embedding, **_arrays(prompts), multimask_output=prompts.ambiguous
        )
        best = int(np.argmax(masks.iou_predictions))
        return Segment(masks.masks[best], float(masks.iou_predictions[best]))

    def _pack(self, picture: Picture, embedding: ImageEmbedding, precision: Precision) -> bytes:
        features = embedding.features.detach().float().cpu().numpy()
        return pack_embedding(
            features, precision, model=self.model_info, picture=picture, prompt_frame=self.prompt_frame
        )

    def _export_decoders(self) -> list[Decoder]:
        decoders = (self._export_decoder(precision) for precision in DECODER_PRECISIONS)
        return [decoder for decoder in decoders if decoder is not None]

    @cached_property
    def _kernel_file(self) -> DecoderFile:
        """The kernel's weights, the same beside every precision of the graphs."""
        return _decoder_file(decoder_weights(self.model))

    def _export_decoder(self, precision: str) -> Decoder | None:
        try:
            pair, kernel = export_hover_pair(self.model, precision), self._kernel_file
        except Exception:
            log.exception(
                "the %s decoder could not be exported; the page falls back to the next one", precision
            )
            return None
        files = {role.name: _decoder_file(getattr(pair, role.name).bytes) for role in fields(pair)} | {"kernel": kernel}
        return Decoder(precision, DECODER_CONTRACT, int(pair.point.contract_version), files)

    def _require_weights(self, weights_hash: str) -> None:
        if weights_hash != self.model_info.weights_hash:
            detail = "the address names other weights than those that are loaded; reload the page"
            raise OtherWeights(detail, given=weights_hash, loaded=self.model_info.weights_hash)


def _decoder_file(data: bytes) -> DecoderFile:
    return DecoderFile(hashlib.sha256(data).hexdigest(), data, compress_all(data))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def _arrays(prompts: Prompts) -> dict[str, np.ndarray | None]:
    """Prompts as `sam.predictor` takes them: arrays in original pixels, None for what is absent."""
    return {
        "point_coords": np.array(prompts.points, dtype=np.float32) if prompts.points else None,
        "point_labels": np.array(prompts.labels, dtype=np.int64) if prompts.points else None,
        "box": np.array(prompts.box, dtype=np.float32) if prompts.box else None,
        "mask_input": prompts.mask,
    }


async def _result(future: Future):
    """Wait for shared work: a caller that is cancelled leaves the work to the others."""
    return await asyncio.shield(asyncio.wrap_future(future))


def _final_event(encoded: Future[Encoded]) -> Event:
    error = encoded.exception()
    if error is None:
        return Event("done", {"seconds": round(encoded.result().seconds, 3)})
    problem = error if isinstance(error, Problem) else Unexpected("the log of the server says more")
    return Event("failed", problem.document())
