"""Prompts of the wire, answered by the model: plain functions for a lane to run."""

from __future__ import annotations

import numpy as np

from demo.schemas import Prompts, Segment
from sam import SAM, predictor
from sam.predictor import ImageEmbedding


def decode(model: SAM, embedding: ImageEmbedding, prompts: Prompts) -> tuple[np.ndarray, np.ndarray]:
    """All four low-resolution masks, logits float32 (4, 256, 256), and their predicted IoU (4,)."""
    logits, iou = predictor.predict_low_res(model, embedding, **_arrays(prompts))
    return np.asarray(logits), np.asarray(iou)


def segment(model: SAM, embedding: ImageEmbedding, prompts: Prompts) -> Segment:
    """The best of three masks for a single click, the single mask otherwise, in original pixels."""
    masks = predictor.predict(model, embedding, **_arrays(prompts), multimask_output=prompts.ambiguous)
    best = int(np.argmax(masks.iou_predictions))
    return Segment(masks.masks[best], float(masks.iou_predictions[best]))


def _arrays(prompts: Prompts) -> dict[str, np.ndarray | None]:
    """Prompts as `sam.predictor` takes them: arrays in original pixels, None for what is absent."""
    return {
        "point_coords": np.array(prompts.points, dtype=np.float32) if prompts.points else None,
        "point_labels": np.array(prompts.labels, dtype=np.int64) if prompts.points else None,
        "box": np.array(prompts.box, dtype=np.float32) if prompts.box else None,
        "mask_input": prompts.mask,
    }
