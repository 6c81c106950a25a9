"""Prompts of the wire, answered by the model: plain functions for a lane to run."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from demo.schemas import MaskReply, PredictRequest, Prompts, Segment
from sam import SAM, predictor
from sam.masks import rle_compress, rle_encode, stability_score
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


def masks(model: SAM, embedding: ImageEmbedding, prompts: Prompts, request: PredictRequest) -> list[MaskReply]:
    """The masks that answer one prompt of `request`, best first, as they travel."""
    ambiguous = prompts.ambiguous or request.masks == "all"
    found = predictor.predict(model, embedding, **_arrays(prompts), multimask_output=ambiguous)
    stability = stability_score(found.low_res_logits, model.mask_threshold)
    best_first = np.argsort(-found.iou_predictions, kind="stable")
    return [
        MaskReply(
            mask=_written(found.masks[index], found.low_res_logits[index], request.format),
            score=round(float(found.iou_predictions[index]), 4),
            stability=round(float(stability[index]), 4),
            area=int(found.masks[index].sum()),
            box=_box(found.masks[index]),
        )
        for index in (best_first if request.masks == "all" else best_first[:1])
    ]


def _written(mask: np.ndarray, logits: np.ndarray, form: str) -> dict | str:
    match form:
        case "rle":
            return rle_compress(rle_encode(mask))
        case "png":
            file = io.BytesIO()
            Image.fromarray(mask).save(file, "PNG")
            return base64.b64encode(file.getvalue()).decode()
        case _:
            return base64.b64encode(logits.astype("<f2").tobytes()).decode()


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if len(rows) else None


def _arrays(prompts: Prompts) -> dict[str, np.ndarray | None]:
    """Prompts as `sam.predictor` takes them: arrays in original pixels, None for what is absent."""
    return {
        "point_coords": np.array(prompts.points, dtype=np.float32) if prompts.points else None,
        "point_labels": np.array(prompts.labels, dtype=np.int64) if prompts.points else None,
        "box": np.array(prompts.box, dtype=np.float32) if prompts.box else None,
        "mask_input": prompts.mask,
    }
