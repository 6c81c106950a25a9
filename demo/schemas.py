"""Wire types and size limits, and the service as the routes see it. Knows nothing of torch."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from demo.codings import Coding
from demo.problems import Problem

Precision = Literal["fp16", "fp32"]
Edge = Literal["sharp", "feathered", "matte"]
ModelState = Literal["loaded", "loading", "on_disk", "downloading", "not_downloaded", "failed"]
EMBEDDING_PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")
MAX_PROMPT_BYTES = 256 * 1024
MAX_POINTS = 256
MAX_POINTS_PER_SIDE = 64
MAX_BATCH = 32
MAX_PREDICT_BYTES = 8_000_000
MASK_SHAPE = (1, 256, 256)
MULTIPART_OVERHEAD_BYTES = 64 * 1024

Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[int, Field(ge=0, lt=1_000_000)]
Length = Annotated[int, Field(ge=1, lt=1_000_000)]
Window = tuple[Offset, Offset, Length, Length]
"""x, y, width, height in pixels of the upright picture."""


def _read_mask(given: Any) -> np.ndarray | None:
    """Base64 of `MASK_SHAPE` little-endian fp16 -> float32; ValueError says what is wrong with it."""
    if given is None:
        return None
    try:
        data = base64.b64decode(given, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ValueError("not base64") from None
    if len(data) != (wanted := 2 * int(np.prod(MASK_SHAPE))):
        raise ValueError(f"{len(data)} bytes; {wanted} are needed: fp16 logits of {MASK_SHAPE[1]} x {MASK_SHAPE[2]}")
    logits = np.frombuffer(data, "<f2").reshape(MASK_SHAPE).astype(np.float32)
    if not np.isfinite(logits).all():
        raise ValueError("logits that are NaN or infinite")
    return logits


_MASK_SCHEMA = {
    "anyOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "null"}],
    "description": "Low-resolution logits of an earlier answer: base64 of 256 x 256 little-endian fp16, row by row.",
}
MaskLogits = Annotated[np.ndarray | None, BeforeValidator(_read_mask), WithJsonSchema(_MASK_SCHEMA)]


class Prompts(BaseModel):
    """Clicks (label 1 positive, 0 negative) and at most one box, in pixels of the upright original.

    `mask` is an earlier answer's low-resolution logits that these prompts correct. `view` is the window to look at, one
    of the picture's views (see `GET /api/images/{image_id}/views/{view}`), and where `mask` was answered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    points: Annotated[list[tuple[Coordinate, Coordinate]], Field(max_length=MAX_POINTS)] = []
    labels: Annotated[list[Literal[0, 1]], Field(max_length=MAX_POINTS)] = []
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    mask: MaskLogits = None
    view: Window | None = None

    @model_validator(mode="after")
    def _complete(self) -> Prompts:
        if len(self.points) != len(self.labels):
            raise ValueError(f"{len(self.points)} points with {len(self.labels)} labels; each point needs one")
        if not self.points and self.box is None:
            raise ValueError("neither a point nor a box; at least one is needed")
        if self.box and (self.box[0] > self.box[2] or self.box[1] > self.box[3]):
            raise ValueError(f"box {self.box} is not x0 <= x1, y0 <= y1")
        if self.view and (outside := [each for each in self.places if not _holds(self.view, each)]):
            raise ValueError(f"{outside[0]} does not lie in the view {self.view}")
        return self

    @property
    def places(self) -> list[tuple[float, float]]:
        """The points and the box's two corners."""
        return [*self.points, *((self.box[:2], self.box[2:]) if self.box else ())]

    @property
    def ambiguous(self) -> bool:
        """A single click may mean a part, an object or a group: the best of three masks answers it."""
        return len(self.points) == 1 and self.box is None


def _holds(window: Window, point: tuple[float, float]) -> bool:
    x, y, width, height = window
    return x <= point[0] <= x + width and y <= point[1] <= y + height


class PredictRequest(BaseModel):
    """A batch of prompts, each answered by itself.

    `masks`: `best` gives one mask for each prompt, `all` the model's three, best first. `format`: `rle` is COCO's
    compressed run lengths {"size": [height, width], "counts": text}, `png` base64 of a black and white PNG as large as
    the picture, `logits` base64 of 256 x 256 little-endian fp16, which a later prompt takes as its `mask`. `shown`: the
    window [x, y, width, height] that somebody looks at. Zoomed in, masks are finer: points are answered in the view
    that fits what is shown, a box in the one that fits the box, what a view cuts in a larger one; its `view` tells.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"prompts": [{"points": [[320, 210]], "labels": [1]}, {"box": [40, 30, 410, 300]}]},
                {"prompts": [{"points": [[320, 210]], "labels": [1]}], "shown": [260, 150, 160, 120]},
            ]
        },
    )

    prompts: Annotated[list[Prompts], Field(min_length=1, max_length=MAX_BATCH)]
    masks: Literal["best", "all"] = "best"
    format: Literal["rle", "png", "logits"] = "rle"
    shown: Window | None = None


class EverythingRequest(BaseModel):
    """How much to find. `preset` is the beginning; what is given besides it takes its place.

    `points_per_side`: of the grid that is asked. `pred_iou_thresh`, `stability_score_thresh`: the least quality of a
    mask. `least_share`: of the picture's area, for objects to be shown. `most_iou`: of two masks that share more than
    this, the better one stays.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"preset": "few", "least_share": 0.002}]}
    )
    CHANGES: ClassVar = ("points_per_side", "pred_iou_thresh", "stability_score_thresh")

    preset: Literal["few", "balanced", "fine"] = "balanced"
    points_per_side: Annotated[int | None, Field(ge=1, le=MAX_POINTS_PER_SIDE)] = None
    pred_iou_thresh: Share | None = None
    stability_score_thresh: Share | None = None
    least_share: Share = 0.0005
    most_iou: Share = 0.9


class ModelInfo(BaseModel):
    id: str
    weights_hash: str


class Limits(BaseModel):
    max_bytes: int
    max_pixels: int


class FileReply(BaseModel):
    """One file of a decoder."""

    url: str
    sha256: Sha256
    bytes: int


class DecoderReply(BaseModel):
    """A decoder as listed in `ModelReply`: its files by the roles that its contract gives them."""

    precision: str
    contract: str
    contract_version: int
    files: dict[str, FileReply]


class EncoderReply(BaseModel):
    """How pictures are encoded here, and seconds per encode of every way that was measured."""

    way: str
    seconds: dict[str, float] = {}


class ModelOffer(BaseModel):
    """A model that visitors may choose. `bytes`: of its weights' file, null where nobody tells.

    `source`: where the weights come from, null for those that are nobody's but the server's. `sha256`: what they are
    verified against when they are downloaded, null where nobody has published it. `problem`: a problem document that
    says why it failed.
    """

    id: str
    title: str
    licence: str
    citation: str
    bytes: int | None
    source: str | None
    sha256: Sha256 | None
    state: ModelState
    default: bool
    problem: dict[str, Any] | None


class ModelsReply(BaseModel):
    """Answer of GET /api/models: the default first."""

    models: list[ModelOffer]


class DownloadRequest(BaseModel):
    """Consent to a download and to the licence of what is downloaded."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"agreed": True}]})

    agreed: bool = False


class ModelReply(BaseModel):
    """Answer of GET /api/model and GET /api/models/{model_id}; `id` is the one to choose it by."""

    id: str
    model: ModelInfo
    encoder: EncoderReply
    prompt_frame: int
    mask_threshold: float
    embedding_precisions: tuple[Precision, ...] = EMBEDDING_PRECISIONS
    decoders: list[DecoderReply]
    limits: Limits


class ImageReply(BaseModel):
    """Answer of POST /api/images: sizes are after EXIF orientation."""

    id: Sha256
    width: int
    height: int
    resized_width: int
    resized_height: int
    model: ModelInfo
    embedding_url: str
    events_url: str
    decode_url: str
    views_url: Annotated[str, Field(description="A template; {view} stands for x,y,width,height.")]
    picture_url: str
    predict_url: str
    everything_url: str


class ViewReply(BaseModel):
    """Answer of GET /api/images/{image_id}/views/{view}: a window of the picture, encoded by itself in `seconds`.

    `resized_width` and `resized_height` are its size in the model's input; prompts count from the window's corner.
    """

    window: Annotated[Window, Field(examples=[[256, 128, 256, 256]])]
    resized_width: int
    resized_height: int
    model: ModelInfo
    embedding_url: str
    seconds: float


Rle = Annotated[dict[str, Any], Field(examples=[{"size": [427, 640], "counts": "o`b0g0f<2N2N1O2N2N"}])]


class MaskReply(BaseModel):
    """A mask, the IoU that the model predicts, and how little the mask hangs on its threshold, from 0 to 1.

    `area` in pixels; `box` [x0, y0, x1, y1] around them, null for an empty mask. `view`: the window that was looked at,
    null for all of the picture; logits are of it.
    """

    mask: Rle | str
    score: float
    stability: float
    area: int
    box: tuple[int, int, int, int] | None
    view: Window | None = None


class PredictReply(BaseModel):
    """Answer of POST /api/images/{image_id}/predict: the masks of each prompt, in the order of the prompts."""

    image_id: Sha256
    model: ModelInfo
    size: Annotated[tuple[int, int], Field(description="Height and width of the picture and of every mask.")]
    format: Literal["rle", "png", "logits"]
    answers: list[list[MaskReply]]


class HealthReply(BaseModel):
    """Answer of GET /healthz; `queue` counts encodes that wait or run, `searches` those of everything mode.

    `encodes` were done since the start and took `encode_seconds` in all.

    `model` and `encoder` are those of the default; `loaded` are the models in memory, `loaded_bytes` what they take.

    `lost_threads`: workers that did not come back from a picture or a prompt. While others can take their place the
    status is "ok"; where none can it is "stalled", answered with 503, and only a new process helps.
    """

    status: Literal["ok", "stalled"] = "ok"
    lost_threads: int = 0
    model: ModelInfo
    encoder: EncoderReply
    loaded: list[str]
    loaded_bytes: int
    queue: int
    encodes: int
    encode_seconds: float
    cached_pictures: int
    cached_bytes: int
    searches: int


@dataclass(frozen=True)
class Picture:
    """An uploaded picture, or a view of it, as a model takes it: the sha256 of its file, its sizes, the model.

    origin_xy: where in the picture a view begins.
    """

    id: str
    original_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    model: ModelInfo
    origin_xy: tuple[int, int] = (0, 0)

    @property
    def window(self) -> Window:
        """Where it lies in the picture; a picture lies in itself."""
        return (*self.origin_xy, self.original_hw[1], self.original_hw[0])

    @property
    def pixels(self) -> int:
        """Of the original."""
        return self.original_hw[0] * self.original_hw[1]


@dataclass(frozen=True)
class Event:
    """A step of an encode: queued {position}, encoding {elapsed_s, expected_s}, done {seconds}, failed.

    Of everything mode: started {search_url, total}, update, done, cancelled, failed.
    Of a model: downloading {done, total, remaining_s}, loading, done {state}, failed.
    """

    name: Literal["queued", "encoding", "started", "update", "downloading", "loading", "done", "cancelled", "failed"]
    data: dict[str, Any]


@dataclass(frozen=True)
class DecoderFile:
    """An ONNX graph, or the kernel's weights, as it is and as it travels."""

    sha256: str
    data: bytes = field(repr=False)
    packed: Mapping[Coding, bytes] = field(repr=False)


@dataclass(frozen=True)
class Decoder:
    """The files of one decoder by role, with what the page must know before it loads them."""

    precision: str
    contract: str
    contract_version: int
    files: Mapping[str, DecoderFile]


@dataclass(frozen=True)
class Segment:
    """A mask in original pixels, bool (H, W), and the model's own estimate of its IoU."""

    mask: np.ndarray
    iou: float


@dataclass(frozen=True, eq=False)
class Candidates:
    """Four answers to one question, logits float32 (4, 256, 256): the single mask, then the three of a vague one.

    scores: predicted IoU, 0 to 1. best: which of them SAM answers with.
    """

    logits: np.ndarray = field(repr=False)
    scores: tuple[float, ...]
    best: int


@dataclass(frozen=True, eq=False)
class Sketch:
    """A mask on a preview: its pixels inside a window, bool (h, w), and the window's left and upper end."""

    x: int
    y: int
    pixels: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class KeptObject:
    """A named mask to take home: COCO's compressed run lengths, a colour as #rrggbb, predicted IoU from 0 to 1."""

    label: str
    mask: dict[str, Any] = field(repr=False)
    colour: str
    score: float


@dataclass(frozen=True)
class FoundObject:
    """One object of everything mode; box (x0, y0, x1, y1) and point (x, y) in pixels of the upright original.

    mask: COCO's compressed run lengths, {"size": [height, width], "counts": text}. score: the IoU that the model
    predicts. stability: from 0 to 1, how little the mask hangs on its threshold. area: pixels. point: what found it.
    """

    id: int
    mask: dict[str, Any] = field(repr=False)
    score: float
    stability: float
    area: int
    box: tuple[int, int, int, int]
    point: tuple[float, float]


@dataclass(frozen=True)
class EverythingUpdate:
    """What one batch of points changed: objects found, numbers of objects that a better one replaced.

    The first update comes before any work and says no more than `total`.

    parents: for every object shown that is part of another, the smallest that contains it. `done` of `total` points
    are asked; eta_s: seconds until the last.
    """

    added: list[FoundObject]
    retracted: list[int]
    parents: dict[int, int]
    done: int
    total: int
    eta_s: float | None = None

    def with_eta(self, seconds: float) -> EverythingUpdate:
        return replace(self, eta_s=round(seconds, 2))


@dataclass(frozen=True)
class Described:
    """A loaded model: what a client must know to ask it, and to decode for itself."""

    id: str
    info: ModelInfo
    encoder: EncoderReply
    prompt_frame: int
    mask_threshold: float
    decoders: Sequence[Decoder]


class Service(Protocol):
    """What the routes and the fallback UI need. Every method that can refuse raises a `Problem`.

    model: one of `models` by its id, None for the default; it is loaded where need be.
    """

    limits: Any

    def warm_up(self) -> None: ...

    def drain(self, until: float, reason: Problem) -> None: ...

    def refuse(self, reason: Problem) -> None: ...

    def close(self) -> None: ...

    def health(self) -> HealthReply: ...

    def models(self) -> list[ModelOffer]: ...

    def load(self, model: str) -> ModelOffer: ...

    def download(self, model: str, *, agreed: bool) -> ModelOffer: ...

    def cancel_download(self, model: str) -> ModelOffer: ...

    def model_progress(self, model: str) -> AsyncIterator[Event]: ...

    async def describe(self, model: str | None = None) -> Described: ...

    async def decoder_file(self, sha256: str) -> DecoderFile: ...

    async def add(
        self, data: bytes, *, model: str | None = None, visitor: str = "", owner: str = ""
    ) -> tuple[Picture, bool]: ...

    async def picture(self, image_id: str, *, model: str | None = None, visitor: str = "") -> Picture: ...

    def progress(self, image_id: str, *, model: str | None = None, visitor: str = "") -> AsyncIterator[Event]: ...

    async def png_file(self, image_id: str, *, visitor: str = "") -> bytes: ...

    async def embedding_file(
        self,
        image_id: str,
        weights_hash: str,
        precision: Precision,
        coding: Coding,
        view: Window | None = None,
        *,
        visitor: str = "",
    ) -> tuple[bytes, Coding]: ...

    async def view(
        self, image_id: str, window: Window, *, model: str | None = None, visitor: str = ""
    ) -> tuple[Picture, float]: ...

    async def decode_file(
        self, image_id: str, prompts: Prompts, *, model: str | None = None, visitor: str = ""
    ) -> bytes: ...

    async def segment(
        self, image_id: str, prompts: Prompts, *, model: str | None = None, visitor: str = ""
    ) -> Segment: ...

    async def predict(
        self, image_id: str, request: PredictRequest, *, model: str | None = None, visitor: str = ""
    ) -> PredictReply: ...

    async def candidates(
        self, image_id: str, prompts: Prompts, *, model: str | None = None, visitor: str = ""
    ) -> Candidates: ...

    async def full_mask(
        self, image_id: str, logits: np.ndarray, *, model: str | None = None, visitor: str = ""
    ) -> dict[str, Any]: ...

    def sketch(self, mask: dict[str, Any], hw: tuple[int, int]) -> Sketch: ...

    @property
    def formats(self) -> tuple[str, ...]: ...

    async def export(
        self, image_id: str, name: str, objects: Sequence[KeptObject], kind: str, edge: Edge, *, visitor: str = ""
    ) -> tuple[str, bytes]: ...

    def everything(
        self,
        image_id: str,
        request: EverythingRequest,
        *,
        model: str | None = None,
        visitor: str = "",
        stop: threading.Event | None = None,
    ) -> AsyncIterator[EverythingUpdate]: ...
