"""Binary bodies in the safetensors layout: an 8-byte length, a JSON header, then the tensors."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import save

from demo.schemas import Picture, Precision

_DTYPES: dict[Precision, type] = {"fp16": np.float16, "fp32": np.float32}


def pack_embedding(features: np.ndarray, precision: Precision, *, picture: Picture, prompt_frame: int) -> bytes:
    """Features float32 [1,256,64,64] -> tensor "image_embeddings", with what binds it to weights and window."""
    metadata = {
        "format": "sam-embedding",
        **_bindings(picture),
        "window": ",".join(map(str, picture.window)),
        "original_height": str(picture.original_hw[0]),
        "original_width": str(picture.original_hw[1]),
        "resized_height": str(picture.resized_hw[0]),
        "resized_width": str(picture.resized_hw[1]),
        "prompt_frame": str(prompt_frame),
    }
    return save({"image_embeddings": np.ascontiguousarray(features, dtype=_DTYPES[precision])}, metadata)


def pack_masks(low_res_logits: np.ndarray, iou_predictions: np.ndarray, *, picture: Picture) -> bytes:
    """Logits [4,256,256] as fp16 and IoU predictions [4] as fp32: one decode."""
    tensors = {
        "low_res_logits": np.ascontiguousarray(low_res_logits, dtype=np.float16),
        "iou_predictions": np.ascontiguousarray(iou_predictions, dtype=np.float32),
    }
    return save(tensors, {"format": "sam-masks", **_bindings(picture)})


def _bindings(picture: Picture) -> dict[str, str]:
    model = picture.model
    return {"version": "1", "model_id": model.id, "weights_hash": model.weights_hash, "image_id": picture.id}
