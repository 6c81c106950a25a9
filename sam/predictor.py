"""From a picture to masks: `encode` it once, `predict` from the embedding as often as wanted.

State lives in values: an `ImageEmbedding` belongs to no predictor and to no thread. `SamPredictor` is Meta's
interface over the same functions and holds nothing but the latest embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import Size
from .layers import at_least_float32
from .model import SAM
from .transforms import BILINEAR, ImageFrame, image_to_tensor, masks_to_original, resize_image, resize_tensor

POINT_LABELS = (-1, 0, 1)
"""Padding, background, foreground."""


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What the encoder saw: features (1, C, h, w) float32, where the picture lies in them, whose weights made them."""

    features: Tensor
    frame: ImageFrame
    model_id: str
    weights_hash: str

    @classmethod
    def from_array(cls, features: np.ndarray, frame: ImageFrame, model_id: str, weights_hash: str) -> ImageEmbedding:
        """Rebuild an embedding from a stored array of any float type."""
        return cls(torch.tensor(features, dtype=torch.float32), frame, model_id, weights_hash)

    @classmethod
    def of(cls, model: SAM, features: Tensor, frame: ImageFrame) -> ImageEmbedding:
        """Bind features that `model` computed to its weights."""
        return cls(features, frame, model.config.model_id, model.weights_hash())


@dataclass(frozen=True, eq=False)
class Masks:
    """M masks of one prompt: `masks` (M, H, W) bool, `iou_predictions` (M,) and `low_res_logits` (M, h, w) float32."""

    masks: np.ndarray
    iou_predictions: np.ndarray
    low_res_logits: np.ndarray


def encode(
    model: SAM,
    image: np.ndarray,
    *,
    image_format: str = "RGB",
    image_encoder: Callable[[Tensor], Tensor] | None = None,
) -> ImageEmbedding:
    """Encode a picture, (H, W, 3) uint8 in `image_format` (RGB or BGR); `ValueError` says what else was given.

    image_encoder: another way to compute the model's own encoder, see `sam.encoders`.
    """
    image = _rgb(require_picture(image), image_format)
    frame = model.frame(image.shape[:2])
    resized = resize_image(image, frame, resample=model.resample)
    return _encode_resized(model, image_to_tensor(resized), frame, image_encoder)


def encode_all(
    model: SAM, images: Sequence[np.ndarray], *, image_encoder: Callable[[Tensor], Tensor] | None = None
) -> list[ImageEmbedding]:
    """`encode` for RGB pictures of any sizes in one batch, which pays on GPUs; equal to it up to the last bits."""
    frames = [model.frame(require_picture(image).shape[:2]) for image in images]
    resized = [
        model.preprocess(
            image_to_tensor(resize_image(image, frame, resample=model.resample)).to(model.device, torch.float32)
        )
        for image, frame in zip(images, frames, strict=True)
    ]
    features = _features(model, torch.cat(resized), image_encoder)
    return [ImageEmbedding.of(model, each[None].clone(), frame) for each, frame in zip(features, frames, strict=True)]


def predict(
    model: SAM,
    embedding: ImageEmbedding,
    point_coords: Any = None,
    point_labels: Any = None,
    box: Any = None,
    mask_input: Any = None,
    *,
    multimask_output: bool = True,
) -> Masks:
    """Segment what the prompts point at; coordinates are pixels of the original picture.

    point_coords (N, 2) x, y and point_labels (N,) of 1 foreground, 0 background; box (4,) XYXY; mask_input
    (1, h, w) low-resolution logits of an earlier answer; any subset. `multimask_output` gives the three masks of an
    ambiguous prompt, else one. `ValueError` for prompts that do not fit, or an embedding of other weights.
    """
    prompt = Prompt.read(model, embedding.frame, point_coords, point_labels, box, mask_input)
    logits, iou = _decode(model, embedding, *prompt.tensors())
    chosen = slice(1, None) if multimask_output else slice(0, 1)
    masks = masks_to_original(logits[:, chosen], embedding.frame) > model.mask_threshold
    return Masks(_numpy(masks), _numpy(iou[:, chosen]), _numpy(logits[:, chosen]))


def predict_low_res(
    model: SAM,
    embedding: ImageEmbedding,
    point_coords: Any = None,
    point_labels: Any = None,
    box: Any = None,
    mask_input: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Answer `predict`'s prompts with all tokens, the single-mask token first: logits (1+M, h, w) and IoU (1+M,)."""
    prompt = Prompt.read(model, embedding.frame, point_coords, point_labels, box, mask_input)
    logits, iou = _decode(model, embedding, *prompt.tensors())
    return _numpy(logits), _numpy(iou)


@dataclass(frozen=True)
class Prompt:
    """One prompt, checked, in model pixels: coords (1, N, 2), labels (1, N), box (1, 4), mask (1, 1, h, w)."""

    coords: Tensor | None
    labels: Tensor | None
    box: Tensor | None
    mask: Tensor | None

    @classmethod
    def read(cls, model: SAM, frame: ImageFrame, coords: Any, labels: Any, box: Any, mask: Any) -> Prompt:
        """Check what a caller gave, in pixels of the original picture, and move it to the model's frame and device."""
        if (coords is None) != (labels is None):
            given, absent = ("point_labels", "point_coords") if coords is None else ("point_coords", "point_labels")
            raise ValueError(f"{given} needs {absent}: one label per point")
        if coords is not None:
            coords = frame.points_to_model(_floats("point_coords", coords, (None, 2)))[None]
            labels = _labels(labels, coords.shape[1])[None]
        if box is not None:
            box = frame.boxes_to_model(_floats("box", np.reshape(box, -1), (4,)))[None]
        if mask is not None:
            mask = _floats("mask_input", mask, (1, *model.config.low_res_hw))[None]
        return cls(*(None if part is None else _tensor(part, model.device) for part in (coords, labels, box, mask)))

    def tensors(self) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None, Tensor | None]:
        """Points, boxes and masks as `SAM.decode` takes them."""
        return None if self.coords is None else (self.coords, self.labels), self.box, self.mask


class ResizeLongestSide:
    """Meta's resizing for code that calls it: an `ImageFrame` per picture, pixels and coordinates through it.

    `target_length` is the long side of the result. A predictor's transform has its model's rule and filter instead.
    """

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length
        self._place: Callable[[Size], ImageFrame] = partial(ImageFrame.fit, padded=target_length)
        self._resample = BILINEAR

    @classmethod
    def of(cls, model: SAM) -> ResizeLongestSide:
        """The transform of `model`'s preprocessing."""
        transform = cls(model.config.image_size)
        transform._place, transform._resample = model.frame, model.resample
        return transform

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> Size:
        """(height, width) of a picture of `oldh` x `oldw` whose long side becomes `long_side_length`."""
        return ImageFrame.fit((oldh, oldw), long_side_length).resized_hw

    def apply_image(self, image: np.ndarray) -> np.ndarray:
        """Resize (H, W, 3) uint8."""
        return resize_image(image, self._frame(image.shape[:2]), resample=self._resample)

    def apply_coords(self, coords: np.ndarray, original_size: Size) -> np.ndarray:
        """Original pixels -> resized pixels; (..., 2)."""
        return self._frame(original_size).points_to_model(coords)

    def apply_boxes(self, boxes: np.ndarray, original_size: Size) -> np.ndarray:
        """Original pixels -> resized pixels; (N, 4) or (4,) XYXY to (N, 4)."""
        return self._frame(original_size).boxes_to_model(np.reshape(boxes, (-1, 4)))

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """Resize (B, 3, H, W); not exactly as `apply_image` does, which uses Pillow."""
        return resize_tensor(image, self._frame(image.shape[-2:]), resample=self._resample)

    def apply_coords_torch(self, coords: Tensor, original_size: Size) -> Tensor:
        """`apply_coords` for tensors."""
        return coords.float() * coords.new_tensor(self._frame(original_size).scale_xy, dtype=torch.float32)

    def apply_boxes_torch(self, boxes: Tensor, original_size: Size) -> Tensor:
        """`apply_boxes` for tensors."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def _frame(self, original_size: Size) -> ImageFrame:
        return self._place(tuple(original_size))


class SamPredictor:
    """Meta's predictor: `set_image`, then `predict` as often as wanted. One per thread; the model may be shared."""

    def __init__(self, sam_model: SAM) -> None:
        self.model = sam_model
        self.transform = ResizeLongestSide.of(sam_model)
        self._embedding: ImageEmbedding | None = None

    # --- the picture --------------------------------------------------------------------------------------------

    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Encode a picture, (H, W, 3) uint8."""
        self.reset_image()
        self._embedding = encode(self.model, image, image_format=image_format)

    def set_torch_image(self, transformed_image: Tensor, original_image_size: Size) -> None:
        """Encode a picture (1, 3, H, W), RGB 0-255, that `transform` has already resized from `original_image_size`."""
        self.reset_image()
        frame = self.model.frame(tuple(original_image_size))
        height, width = transformed_image.shape[-2:]
        # Another resizer may round the short side otherwise; the frame then takes the picture as it is.
        off = max(abs(height - frame.resized_hw[0]), abs(width - frame.resized_hw[1]))
        if tuple(transformed_image.shape[:-2]) != (1, 3) or max(height, width) != max(frame.resized_hw) or off > 1:
            raise ValueError(
                f"a picture of {frame.original_hw} pixels must be resized to (1, 3, {frame.resized_hw[0]}, "
                f"{frame.resized_hw[1]}), got {tuple(transformed_image.shape)}"
            )
        frame = replace(frame, resized_hw=(height, width))
        self._embedding = _encode_resized(self.model, transformed_image, frame)

    def reset_image(self) -> None:
        """Forget the picture."""
        self._embedding = None

    @property
    def embedding(self) -> ImageEmbedding:
        """The picture's embedding, a value that outlives the predictor; `RuntimeError` before `set_image`."""
        if self._embedding is None:
            raise RuntimeError("An image must be set with .set_image(...) before mask prediction.")
        return self._embedding

    def get_image_embedding(self) -> Tensor:
        """Features of the picture, (1, C, h, w)."""
        return self.embedding.features

    @property
    def is_image_set(self) -> bool:
        """Whether there is a picture."""
        return self._embedding is not None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def features(self) -> Tensor | None:
        """Features of the picture, (1, C, h, w), or None."""
        return self._embedding and self._embedding.features

    @property
    def original_size(self) -> Size | None:
        """(height, width) of the picture, or None."""
        return self._embedding and self._embedding.frame.original_hw

    @property
    def input_size(self) -> Size | None:
        """(height, width) of the resized picture, or None."""
        return self._embedding and self._embedding.frame.resized_hw

    # --- prompts ------------------------------------------------------------------------------------------------

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Answer a prompt in the picture's pixels: masks (M, H, W) or their logits, IoU (M,), low-res (M, h, w)."""
        prompt = Prompt.read(self.model, self.embedding.frame, point_coords, point_labels, box, mask_input)
        answer = self.predict_torch(
            prompt.coords, prompt.labels, prompt.box, prompt.mask, multimask_output, return_logits
        )
        return tuple(_numpy(tensor) for tensor in answer)

    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer a batch of prompts in resized pixels (see `transform`).

        Coordinates (B, N, 2), labels (B, N), boxes (B, 4), mask_input (B, 1, h, w).
        Returns masks (B, M, H, W) bool (or logits), IoU (B, M), low-resolution logits (B, M, h, w).
        """
        points = None if point_coords is None else (point_coords, point_labels)
        logits, iou = _decode(self.model, self.embedding, points, boxes, mask_input)
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        logits, iou = logits[:, chosen], iou[:, chosen]
        masks = masks_to_original(logits, self.embedding.frame)
        return masks if return_logits else masks > self.model.mask_threshold, iou, logits


@torch.no_grad()
def _encode_resized(
    model: SAM, image_bchw: Tensor, frame: ImageFrame, image_encoder: Callable[[Tensor], Tensor] | None = None
) -> ImageEmbedding:
    image_bchw = model.preprocess(image_bchw.to(model.device, torch.float32))
    return ImageEmbedding.of(model, _features(model, image_bchw, image_encoder), frame)


@torch.no_grad()
def _features(model: SAM, image_bchw: Tensor, image_encoder: Callable[[Tensor], Tensor] | None) -> Tensor:
    features = (image_encoder or model.image_encoder)(image_bchw)
    # In one order in memory, as it is read from a file: products of the decoder are summed in that order.
    return at_least_float32(features).contiguous()


@torch.no_grad()
def _decode(
    model: SAM,
    embedding: ImageEmbedding,
    points: tuple[Tensor, Tensor] | None,
    boxes: Tensor | None,
    masks: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """All tokens' logits (B, 1+M, h, w) and IoU (B, 1+M) for a batch of prompts in model pixels."""
    require_own_embedding(model, embedding)
    return model.decode(embedding.features.to(model.device), points, boxes, masks)


def require_own_embedding(model: SAM, embedding: ImageEmbedding) -> None:
    """`ValueError` unless this model, with the weights it has now, made the embedding."""
    if embedding.weights_hash != model.weights_hash():
        raise ValueError(
            f"the embedding belongs to weights {embedding.weights_hash[:12]} ({embedding.model_id}), "
            f"the model has {model.weights_hash()[:12]} ({model.config.model_id}); encode the picture again"
        )
    shape, expected = tuple(embedding.features.shape), model.config.embedding_shape
    if shape != expected:
        raise ValueError(f"the embedding's features have shape {shape}, the model's have {expected}")


def require_picture(image: Any) -> np.ndarray:
    """`image` as an array; `ValueError` unless it is a picture, (H, W, 3) uint8."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"the picture must be a non-empty uint8 array (H, W, 3), got {image.dtype} {image.shape}")
    return image


def _rgb(image: np.ndarray, image_format: str) -> np.ndarray:
    if image_format not in ("RGB", "BGR"):
        raise ValueError(f"image_format {image_format!r} is unknown; use 'RGB' or 'BGR'")
    return image[..., ::-1] if image_format == "BGR" else image


def _floats(name: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """`value` as finite float64 of `shape`, where None is any size."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers: {error}") from error
    if len(shape) != array.ndim or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        expected = ", ".join("N" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have shape ({expected}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array.tolist() if array.size <= 8 else 'NaN or infinity'}")
    return array


def _labels(value: Any, count: int) -> np.ndarray:
    labels = _floats("point_labels", value, (None,))
    if len(labels) != count:
        raise ValueError(f"point_labels has {len(labels)} labels for {count} points")
    if not np.isin(labels, POINT_LABELS).all():
        raise ValueError(f"point_labels must be 1 (foreground), 0 (background) or -1 (padding), got {labels.tolist()}")
    return labels.astype(np.int64)


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    kind = torch.int64 if array.dtype == np.int64 else torch.float32
    return torch.as_tensor(array, dtype=kind, device=device)


def _numpy(tensor_b: Tensor) -> np.ndarray:
    """The first of a batch as an array."""
    return tensor_b[0].cpu().numpy()
