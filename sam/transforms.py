"""Geometry between the original picture, the resized picture and the padded model input: pure functions on values.

`ImageFrame` carries the three sizes together, so nobody can mix them. Coordinates are x, y in pixels of the frame
that the name says; each axis has its own scale, because rounding makes them differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .config import Size, as_size


@dataclass(frozen=True)
class ImageFrame:
    """Where a picture lies in the model input: (height, width) of the original, the resized and the padded picture.

    The resized picture sits at the top left of the padded one.
    """

    original_hw: Size
    resized_hw: Size
    padded_hw: Size

    def __post_init__(self) -> None:
        for name, (height, width) in vars(self).items():
            if height < 1 or width < 1:
                raise ValueError(f"{name} {(height, width)} must be at least 1 x 1")
        if self.resized_hw[0] > self.padded_hw[0] or self.resized_hw[1] > self.padded_hw[1]:
            raise ValueError(f"resized_hw {self.resized_hw} does not fit into padded_hw {self.padded_hw}")

    @classmethod
    def fit(cls, original_hw: Size, padded: int | Size) -> ImageFrame:
        """The largest frame that keeps the aspect ratio (Meta's `ResizeLongestSide` for a square input)."""
        (height, width), padded_hw = original_hw, as_size(padded)
        scale = min(padded_hw[0] / max(height, 1), padded_hw[1] / max(width, 1))
        resized_hw = tuple(max(1, int(side * scale + 0.5)) for side in (height, width))
        return cls((height, width), resized_hw, padded_hw)

    @classmethod
    def stretch(cls, original_hw: Size, padded: int | Size) -> ImageFrame:
        """Both sides scaled to the whole input, as MedSAM does."""
        return cls(tuple(original_hw), as_size(padded), as_size(padded))

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Model pixels per original pixel along x and y."""
        return (self.resized_hw[1] / self.original_hw[1], self.resized_hw[0] / self.original_hw[0])

    def points_to_model(self, points_xy: np.ndarray) -> np.ndarray:
        """Original pixels -> model pixels; (..., 2) of any number type to float64."""
        return np.asarray(points_xy, dtype=np.float64) * self.scale_xy

    def points_to_original(self, points_xy: np.ndarray) -> np.ndarray:
        """Model pixels -> original pixels; (..., 2)."""
        return np.asarray(points_xy, dtype=np.float64) / self.scale_xy

    def boxes_to_model(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Original pixels -> model pixels; (..., 4) XYXY."""
        return np.asarray(boxes_xyxy, dtype=np.float64) * (self.scale_xy * 2)

    def boxes_to_original(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Model pixels -> original pixels; (..., 4) XYXY."""
        return np.asarray(boxes_xyxy, dtype=np.float64) / (self.scale_xy * 2)


BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


def resize_image(image_hwc: np.ndarray, frame: ImageFrame, *, resample: Image.Resampling = BILINEAR) -> np.ndarray:
    """Resize a uint8 H,W,3 picture to the frame's resized size with Pillow's antialiased filter, as the original."""
    if image_hwc.shape[:2] == frame.resized_hw:
        return image_hwc
    height, width = frame.resized_hw
    return np.array(Image.fromarray(image_hwc).resize((width, height), resample))


def resize_tensor(image_bchw: Tensor, frame: ImageFrame, *, resample: Image.Resampling = BILINEAR) -> Tensor:
    """Resize a float B,3,H,W tensor to the frame's resized size (antialiased; close to Pillow's, not equal)."""
    if tuple(image_bchw.shape[-2:]) == frame.resized_hw:
        return image_bchw
    mode = {BILINEAR: "bilinear", BICUBIC: "bicubic"}[resample]
    return F.interpolate(image_bchw, frame.resized_hw, mode=mode, align_corners=False, antialias=True)


def resize_pictures(image_bchw: Tensor, frame: ImageFrame, *, resample: Image.Resampling = BILINEAR) -> Tensor:
    """Resize B,3,H,W values 0-255: pictures as files hold them exactly as `resize_image`, others as `resize_tensor`.

    A file holds whole numbers, so does what Pillow resizes it to: the same picture gets the same embedding whether
    it comes as an array or as a tensor. Fractions, and tensors that want a gradient, are interpolated.
    """
    if tuple(image_bchw.shape[-2:]) == frame.resized_hw:
        return image_bchw.float()
    if image_bchw.requires_grad or not torch.equal(image_bchw, image_bchw.round().clamp(0, 255)):
        return resize_tensor(image_bchw.float(), frame, resample=resample)
    pictures = image_bchw.to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    resized = [image_to_tensor(resize_image(picture, frame, resample=resample)) for picture in pictures]
    return torch.cat(resized).to(image_bchw.device)


def pad_tensor(image_bchw: Tensor, padded_hw: Size) -> Tensor:
    """Zero-pad right and below to `padded_hw`."""
    height, width = image_bchw.shape[-2:]
    return F.pad(image_bchw, (0, padded_hw[1] - width, 0, padded_hw[0] - height))


def masks_to_original(low_res_logits: Tensor, frame: ImageFrame) -> Tensor:
    """Low-resolution logits (B,M,h,w) -> logits of the original picture (B,M,H,W): up, unpad, up again; bilinear."""
    masks = F.interpolate(low_res_logits.float(), frame.padded_hw, mode="bilinear", align_corners=False)
    masks = masks[..., : frame.resized_hw[0], : frame.resized_hw[1]]
    return F.interpolate(masks, frame.original_hw, mode="bilinear", align_corners=False)


def image_to_tensor(image_hwc: np.ndarray) -> Tensor:
    """A uint8 H,W,3 array as a float32 1,3,H,W tensor, values 0-255."""
    return torch.from_numpy(np.array(image_hwc, order="C")).permute(2, 0, 1)[None].float()
