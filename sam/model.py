"""SAM: image encoder, prompt encoder and mask decoder behind one call.

Source: SAM paper (Kirillov et al. 2023) and `segment_anything.modeling.sam`. Nothing here knows files of other
projects (see `checkpoint`) or keeps state between pictures (see `predictor`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from .config import VARIANTS, DecoderConfig, EncoderConfig, SAMConfig, Size, TinyConfig, TinyViTConfig, ViTConfig
from .image_encoder import ImageEncoderViT
from .layers import at_least_float32
from .mask_decoder import MaskDecoder
from .prompt_encoder import PromptEncoder
from .tiny import TinyEncoder
from .tiny_vit import TinyViT
from .transformer import TwoWayTransformer
from .transforms import BICUBIC, BILINEAR, ImageFrame, masks_to_original, pad_tensor, resize_pictures

Batch = dict[str, Any]
BATCH_KEYS = {"image", "points", "boxes", "masks", "original_size", "multimask_output"}

_ENCODERS: dict[type, type[nn.Module]] = {ViTConfig: ImageEncoderViT, TinyViTConfig: TinyViT, TinyConfig: TinyEncoder}


class SAM(nn.Module):
    """Segment Anything.

    `pixel_mean` and `pixel_std` are values in 0-255, in the channel order of `image_format`; `mask_threshold` splits
    logits into mask and background.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375),
        mask_threshold: float = 0.0,
        image_format: str = "RGB",
        preprocessing: str = "sam",
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        encoder, transformer = image_encoder.config, mask_decoder.transformer
        self.config = SAMConfig(
            image_encoder=encoder,
            mask_decoder=DecoderConfig(
                width=mask_decoder.transformer_dim if mask_decoder.transformer_dim != encoder.out_chans else None,
                mask_in_chans=prompt_encoder.mask_in_chans,
                depth=transformer.depth,
                num_heads=transformer.num_heads,
                mlp_dim=transformer.mlp_dim,
                num_multimask_outputs=mask_decoder.num_multimask_outputs,
                iou_head_depth=mask_decoder.iou_head_depth,
                iou_head_hidden_dim=mask_decoder.iou_head_hidden_dim,
            ),
            pixel_mean=tuple(map(float, pixel_mean)),
            pixel_std=tuple(map(float, pixel_std)),
            mask_threshold=float(mask_threshold),
            image_format=image_format,
            preprocessing=preprocessing,
        )
        self.register_buffer("pixel_mean", torch.tensor(self.config.pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(self.config.pixel_std).view(-1, 1, 1), persistent=False)
        self._hash: tuple[tuple, str] | None = None

    # --- construction and storage -------------------------------------------------------------------------------

    @classmethod
    def from_variant(cls, variant: str, **overrides: Any) -> SAM:
        """Build a variant with random weights; `overrides` are fields of `SAMConfig` or of the encoder's config."""
        if variant not in VARIANTS:
            raise ValueError(f"variant {variant!r} is unknown; use one of {', '.join(VARIANTS)}")
        config = VARIANTS[variant]
        of_model = {key: overrides.pop(key) for key in list(overrides) if key in SAMConfig.__dataclass_fields__}
        encoder = replace(of_model.pop("image_encoder", config.image_encoder), **overrides)
        return cls.from_config(replace(config, image_encoder=encoder, **of_model))

    @classmethod
    def from_config(cls, config: SAMConfig | dict[str, Any]) -> SAM:
        """Build the model that `config` describes, with random weights; a dictionary is read as `SAMConfig.to_dict`."""
        if isinstance(config, dict):
            config = SAMConfig.from_dict(config)
        return cls(
            build_image_encoder(config.image_encoder),
            build_prompt_encoder(config),
            build_mask_decoder(config),
            config.pixel_mean,
            config.pixel_std,
            config.mask_threshold,
            config.image_format,
            config.preprocessing,
        )

    def save(self, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write weights and configuration as one safetensors file; `dtype` stores floating tensors so.

        `sam.load_sam(path)` answers identically (within the precision stored).
        """
        tensors = {
            name: tensor.detach().to(dtype if dtype and tensor.is_floating_point() else tensor.dtype).contiguous()
            for name, tensor in self.state_dict().items()
        }
        save_file(tensors, str(path), metadata={"format": "pt", "config": json.dumps(self.config.to_dict())})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pixel_mean.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' type: float32 as loaded, float16 after `half()`; answers are float32 all the same."""
        return self.pixel_mean.dtype

    @property
    def mask_threshold(self) -> float:
        """Logits above this value are mask."""
        return self.config.mask_threshold

    @mask_threshold.setter
    def mask_threshold(self, value: float) -> None:
        self.config = replace(self.config, mask_threshold=float(value))

    @property
    def image_format(self) -> str:
        """Channel order the weights expect, RGB or BGR."""
        return self.config.image_format

    def weights_hash(self) -> str:
        """SHA-256 (64 hex digits) over names, types, shapes and values of all weights; recomputed when they change."""
        tensors = chain(self.parameters(), self.buffers())
        version = tuple((t.data_ptr(), None if t.is_inference() else t._version) for t in tensors)
        if self._hash is None or self._hash[0] != version:
            self._hash = (version, _digest(self.state_dict()))
        return self._hash[1]

    # --- pixels in, masks out -----------------------------------------------------------------------------------

    def frame(self, original_hw: tuple[int, int]) -> ImageFrame:
        """How a picture of this size lies in the model input."""
        place = ImageFrame.stretch if self.config.preprocessing == "medsam" else ImageFrame.fit
        return place(tuple(original_hw), self.config.image_encoder.input_hw)

    @property
    def resample(self) -> Image.Resampling:
        """The filter that brings a picture to its frame."""
        return BICUBIC if self.config.preprocessing == "medsam" else BILINEAR

    def preprocess(self, image: Tensor) -> Tensor:
        """Normalise a resized picture (..., 3, H, W), values 0-255 RGB, and pad it to the model input, in `dtype`."""
        if image.shape[-3] != 3:
            raise ValueError(f"image has {image.shape[-3]} channels, 3 are needed")
        if self.config.preprocessing == "medsam":
            low, high = image.amin((-3, -2, -1), keepdim=True), image.amax((-3, -2, -1), keepdim=True)
            image = (image - low) / (high - low).clamp(min=1e-8)
        else:
            image = (image.flip(-3) if self.image_format == "BGR" else image) - self.pixel_mean
            image = image / self.pixel_std
        return pad_tensor(image, self.config.image_encoder.input_hw).to(self.dtype)

    def postprocess_masks(self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]) -> Tensor:
        """Low-resolution logits (B, M, h, w) -> logits at `original_size`; `input_size` is the resized size."""
        frame = ImageFrame(tuple(original_size), tuple(input_size), self.config.image_encoder.input_hw)
        return masks_to_original(masks, frame)

    def encode_image(self, image_bchw: Tensor) -> Tensor:
        """Raw pictures (B, 3, H, W), 0-255 RGB -> embeddings (B, C, h, w)."""
        frame = self.frame(tuple(image_bchw.shape[-2:]))
        resized = resize_pictures(image_bchw, frame, resample=self.resample)
        return self.image_encoder(self.preprocess(resized.to(self.device)))

    def decode(
        self,
        image_embeddings: Tensor,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embeddings (I, C, h, w) and prompts in model pixels -> all tokens' logits (B, 1+M, 4h, 4w) and IoU (B, 1+M).

        B prompts per call, a multiple of I; consecutive prompts belong to the same picture.
        """
        sparse, dense = self.prompt_encoder(points, boxes, masks)
        image_embeddings = image_embeddings.to(self.dtype)
        pictures = image_embeddings.shape[0]
        if points is None and boxes is None and masks is None:  # one empty prompt per picture
            sparse, dense = sparse.expand(pictures, -1, -1), dense.expand(pictures, -1, -1, -1)
        dense_pe = self.prompt_encoder.get_dense_pe()
        logits, iou = self.mask_decoder.predict_masks(image_embeddings, dense_pe, sparse, dense)
        return at_least_float32(logits), at_least_float32(iou)

    def forward(self, batched_input: Batch | list[Batch], multimask_output: bool | None = None) -> Batch | list[Batch]:
        """Segment a batch, or Meta's list of pictures.

        batched_input: `image` (B, 3, H, W) raw 0-255 RGB; any subset of prompts, coordinates in the image's pixels:
        `points` = (coords (B, N, 2), labels (B, N)), `boxes` (B, N, 4) XYXY, `masks` (B, 1, h, w) low-resolution
        logits; `original_size` (H, W) of the answer, the image's by default; `multimask_output`, True by default.
        Returns `masks` (B, M, H, W) bool, `iou_predictions` (B, M), `low_res_logits` (B, M, h, w).

        With a prompt axis - coords (B, P, N, 2), labels (B, P, N), boxes (B, P, N, 4), masks (B, P, 1, h, w) - every
        answer gains that axis: (B, P, M, ...). Prompts that disagree about it raise `ValueError`.

        A list of dictionaries with Meta's keys (`point_coords`, `point_labels`, `boxes` (B, 4), `mask_inputs`) is
        answered by a list, as `segment_anything` does.
        """
        if isinstance(batched_input, dict):
            return self._forward_batch(batched_input, multimask_output)
        return [self._forward_record(record, multimask_output=bool(multimask_output)) for record in batched_input]

    def _forward_batch(self, batch: Batch, multimask_output: bool | None) -> Batch:
        unknown = sorted(batch.keys() - BATCH_KEYS)
        if unknown:
            raise ValueError(f"batch has unknown keys {unknown}; use {sorted(BATCH_KEYS)}, or a list of Meta's records")
        image = _require_image(batch)
        image_hw = tuple(image.shape[-2:])
        original_hw = _require_size(batch.get("original_size"), image_hw)
        prompts = Prompts.from_batch(batch, image.shape[0], self.config.low_res_hw)
        prompts = prompts.to_model(self.frame(image_hw), self.device)
        logits, iou = self.decode(self.encode_image(image), prompts.points, prompts.boxes, prompts.masks)
        if multimask_output is None:
            multimask_output = batch.get("multimask_output")
        if multimask_output is None:
            multimask_output = True
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        logits, iou = logits[:, chosen], iou[:, chosen]

        masks = self.postprocess_masks(logits, self.frame(image_hw).resized_hw, original_hw) > self.mask_threshold
        answer = {"masks": masks, "iou_predictions": iou, "low_res_logits": logits}
        if prompts.per_image is None:
            return answer
        return {key: value.unflatten(0, (image.shape[0], prompts.per_image)) for key, value in answer.items()}

    @torch.no_grad()
    def _forward_record(self, record: Batch, *, multimask_output: bool) -> Batch:
        """One record of Meta's list: image (3, H, W), already resized, prompts (B, ...) in its pixels."""
        points = (record["point_coords"], record["point_labels"]) if "point_coords" in record else None
        batch = {"image": record["image"][None], "original_size": record["original_size"]}
        if points is not None:
            batch["points"] = tuple(tensor[None] for tensor in points)
        if record.get("boxes") is not None:
            batch["boxes"] = record["boxes"][None, :, None]
        if record.get("mask_inputs") is not None:
            batch["masks"] = record["mask_inputs"][None]
        answer = self._forward_batch(batch, multimask_output)
        has_prompts = len(batch) > 2
        return {key: value[0] for key, value in answer.items()} if has_prompts else answer


@dataclass(frozen=True)
class Prompts:
    """The prompts of a batch, flattened to one prompt a row: picture 0's first, then picture 1's.

    `points` coords (B*P, N, 2) and labels (B*P, N); `boxes` (B*P, N, 4); `masks` (B*P, 1, h, w);
    `per_image` is P, or None where the caller gave no prompt axis.
    """

    points: tuple[Tensor, Tensor] | None
    boxes: Tensor | None
    masks: Tensor | None
    per_image: int | None

    @classmethod
    def from_batch(cls, batch: Batch, images: int, mask_hw: Size) -> Prompts:
        """Read the prompt keys of a batch of `images` pictures; `ValueError` names shapes that do not fit together.

        mask_hw: height and width of a low-resolution mask.
        """
        coords, labels = _require_points(batch.get("points"))
        boxes, masks = batch.get("boxes"), batch.get("masks")
        has_prompt_axis = isinstance(coords, Tensor) and coords.ndim == 4
        if isinstance(boxes, Tensor) and boxes.ndim == 2 + has_prompt_axis:  # one box per prompt, without its axis
            boxes = boxes.unsqueeze(-2)
        shapes = {
            "points": (coords, (None, 2)),
            "labels": (labels, (None,)),
            "boxes": (boxes, (None, 4)),
            "masks": (masks, (1, *mask_hw)),
        }
        axes = {
            name: _prompt_axis(name, tensor, (images, *shape))
            for name, (tensor, shape) in shapes.items()
            if tensor is not None
        }
        if len(set(axes.values())) > 1:
            raise ValueError(f"prompts disagree about the prompt axis (B, P, ...): P is {axes}")
        per_image = next(iter(axes.values()), None)
        if per_image == 0:
            raise ValueError("the prompt axis (B, P, ...) holds P = 0 prompts; leave them out to ask without any")
        if per_image is not None:
            coords, labels, boxes, masks = (
                None if tensor is None else tensor.flatten(0, 1) for tensor in (coords, labels, boxes, masks)
            )
        if coords is not None and coords.shape[:-1] != labels.shape:
            raise ValueError(
                f"labels {tuple(labels.shape)} must have one entry per point of coords {tuple(coords.shape)}"
            )
        return cls(None if coords is None else (coords, labels), boxes, masks, per_image)

    def to_model(self, frame: ImageFrame, device: torch.device) -> Prompts:
        """Scale coordinates from the picture's pixels to the model's, as float32 on `device`."""
        scale = torch.tensor(frame.scale_xy, dtype=torch.float32, device=device)

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, torch.float32)

        return Prompts(
            points=self.points and (move(self.points[0]) * scale, self.points[1].to(device)),
            boxes=None if self.boxes is None else move(self.boxes) * scale.repeat(2),
            masks=None if self.masks is None else move(self.masks),
            per_image=self.per_image,
        )


def build_image_encoder(config: EncoderConfig) -> nn.Module:
    """The encoder that `config` describes, with random weights."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    return _ENCODERS[type(config)](**values)


def build_prompt_encoder(config: SAMConfig) -> PromptEncoder:
    """The prompt encoder for `config`'s embedding grid and input size."""
    encoder = config.image_encoder
    return PromptEncoder(config.decoder_width, encoder.grid_hw, encoder.input_hw, config.mask_decoder.mask_in_chans)


def build_mask_decoder(config: SAMConfig) -> MaskDecoder:
    """The mask decoder with its two-way transformer."""
    decoder, width = config.mask_decoder, config.decoder_width
    return MaskDecoder(
        width,
        TwoWayTransformer(decoder.depth, width, decoder.num_heads, decoder.mlp_dim),
        decoder.num_multimask_outputs,
        decoder.iou_head_depth,
        decoder.iou_head_hidden_dim,
        config.image_encoder.out_chans,
    )


def _require_image(batch: Batch) -> Tensor:
    image = batch.get("image")
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[1] != 3:
        found = f"shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"batch['image'] must be a tensor (B, 3, H, W) with RGB values 0-255, got {found}")
    return image


def _require_size(size: Any, default: Size) -> Size:
    """(height, width) of the answer as two whole numbers, given as a tuple, an array or a tensor."""
    if size is None:
        return default
    values = size.tolist() if hasattr(size, "tolist") else list(size)
    if len(values) != 2 or not all(isinstance(side, int) and side > 0 for side in values):
        raise ValueError(f"original_size must be (height, width) in whole pixels, one for the batch, got {size}")
    return tuple(values)


def _require_points(points: Any) -> tuple[Tensor | None, Tensor | None]:
    if points is None:
        return None, None
    if not isinstance(points, tuple | list) or len(points) != 2 or any(part is None for part in points):
        raise ValueError("points must be the pair (coords (B, N, 2), labels (B, N))")
    return tuple(points)


def _prompt_axis(name: str, tensor: Any, shape: tuple[int | None, ...]) -> int | None:
    """P of a prompt of `shape` with a prompt axis after the first, None without that axis.

    In `shape`, None is any size; the first is the number of pictures.
    """
    found = tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
    if _fits(found, shape):
        return None
    if len(found) > 1 and _fits((found[0], *found[2:]), shape):
        return found[1]
    given = f"has shape {found}" if isinstance(tensor, Tensor) else f"is {type(tensor).__name__}"
    sizes = ", ".join("N" if size is None else str(size) for size in shape[1:])
    raise ValueError(
        f"{name} {given}; expected a tensor (B, {sizes}), or (B, P, {sizes}) with a prompt axis, "
        f"where B is {shape[0]} pictures"
    )


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(want in (None, got) for want, got in zip(shape, found, strict=True))


def _digest(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
