"""Prompts of the wire, answered by the model: plain functions for a lane to run."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from demo.schemas import MaskReply, PredictRequest, Prompts, Segment, Window
from demo.service.pictures import Encoded
from sam import SAM, predictor
from sam.large import View
from sam.large.picker import cut_by_view
from sam.large.picture import EDGE_SHARE
from sam.masks import rle_compress, rle_encode, stability_score
from sam.predictor import ImageEmbedding


def decode(
    model: SAM, embedding: ImageEmbedding, prompts: Prompts, origin_xy: tuple[int, int] = (0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    """All four low-resolution masks, logits float32 (4, 256, 256), and their predicted IoU (4,).

    origin_xy: where in the picture begins what was encoded.
    """
    logits, iou = predictor.predict_low_res(model, embedding, **_arrays(prompts, origin_xy))
    return np.asarray(logits), np.asarray(iou)


def segment(model: SAM, embedding: ImageEmbedding, prompts: Prompts) -> Segment:
    """The best of three masks for a single click, the single mask otherwise, in original pixels."""
    masks = predictor.predict(model, embedding, **_arrays(prompts), multimask_output=prompts.ambiguous)
    best = int(np.argmax(masks.iou_predictions))
    return Segment(masks.masks[best], float(masks.iou_predictions[best]))


def masks(
    model: SAM, seen: Encoded, prompts: Prompts, request: PredictRequest, picture_hw: tuple[int, int]
) -> tuple[list[MaskReply], bool]:
    """The masks that answer one prompt of `request`, best first, as they travel, and whether the view cuts the best."""
    ambiguous, window = prompts.ambiguous or request.masks == "all", seen.picture.window
    arrays = _arrays(prompts, seen.picture.origin_xy)
    found = predictor.predict(model, seen.embedding, **arrays, multimask_output=ambiguous)
    stability = stability_score(found.low_res_logits, model.mask_threshold)
    best_first = np.argsort(-found.iou_predictions, kind="stable")
    replies = [
        MaskReply(
            mask=_written(_placed(found.masks[index], window, picture_hw), found.low_res_logits[index], request.format),
            score=round(float(found.iou_predictions[index]), 4),
            stability=round(float(stability[index]), 4),
            area=int(found.masks[index].sum()),
            box=_box(found.masks[index], seen.picture.origin_xy),
            view=window if window[2:] != picture_hw[::-1] else None,
        )
        for index in (best_first if request.masks == "all" else best_first[:1])
    ]
    return replies, _is_cut(replies[0].box, window, picture_hw)


def _is_cut(box: tuple[int, int, int, int] | None, window: Window, picture_hw: tuple[int, int]) -> bool:
    margin = round(max(window[2:]) * EDGE_SHARE)
    return box is not None and cut_by_view(np.array(box) - (0, 0, 1, 1), View(window), picture_hw, margin)


def _placed(mask: np.ndarray, window: Window, picture_hw: tuple[int, int]) -> np.ndarray:
    """A mask of a window in the picture."""
    if mask.shape == picture_hw:
        return mask
    x, y, width, height = window
    placed = np.zeros(picture_hw, dtype=bool)
    placed[y : y + height, x : x + width] = mask
    return placed


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


def _box(mask: np.ndarray, origin_xy: tuple[int, int]) -> tuple[int, int, int, int] | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    x, y = origin_xy
    return (x + int(columns[0]), y + int(rows[0]), x + int(columns[-1]) + 1, y + int(rows[-1]) + 1)


def _arrays(prompts: Prompts, origin_xy: tuple[int, int] = (0, 0)) -> dict[str, np.ndarray | None]:
    """Prompts as `sam.predictor` takes them: arrays in pixels of what was encoded, None for what is absent."""
    return {
        "point_coords": np.array(prompts.points, dtype=np.float32) - origin_xy if prompts.points else None,
        "point_labels": np.array(prompts.labels, dtype=np.int64) if prompts.points else None,
        "box": np.array(prompts.box, dtype=np.float32) - (origin_xy * 2) if prompts.box else None,
        "mask_input": prompts.mask,
    }
