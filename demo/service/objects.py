"""Masks where the browser computes nothing: candidates, run lengths, sketches to draw, files to take home."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from demo.problems import UnfitObjects
from demo.schemas import Candidates, Edge, KeptObject, Prompts, Sketch
from demo.service import prompting
from sam import SAM
from sam.formats import WRITERS, Files, MaskObject, Picture, Session, archive, png, write_all
from sam.formats.text import stem
from sam.masks import RLE, Window, compress_counts, decompress_counts, rle_crop, rle_encode
from sam.mattes import matte
from sam.predictor import ImageEmbedding
from sam.transforms import masks_to_original

CUTOUTS, ALL = "cutouts", "zip"
FORMATS = (CUTOUTS, *WRITERS, ALL)
FEATHER = 2.0
MATTE_RADIUS = 6
"""Pixels to each side of the edge that a matte may soften; see `sam.mattes`."""


def candidates(model: SAM, embedding: ImageEmbedding, prompts: Prompts) -> Candidates:
    """The single mask and the three of an ambiguous prompt, and which of them SAM would answer with."""
    logits, scores = prompting.decode(model, embedding, prompts)
    best = 1 + int(scores[1:].argmax()) if prompts.ambiguous else 0
    return Candidates(logits, tuple(float(np.clip(score, 0, 1)) for score in scores), best)


def full_mask(model: SAM, embedding: ImageEmbedding, logits: np.ndarray) -> RLE:
    """Low-resolution logits (256, 256) -> compressed run lengths of the mask in original pixels."""
    enlarged = masks_to_original(torch.from_numpy(logits)[None, None], embedding.frame)[0, 0]
    rle = rle_encode((enlarged > model.mask_threshold).numpy())
    return {"size": rle["size"], "counts": compress_counts(rle["counts"])}


def sketch(mask: RLE, hw: tuple[int, int]) -> Sketch:
    """A mask of the picture's size as it looks on a preview of (height, width): the pixel under each one's centre."""
    crop, (x, y, width, height) = rle_crop(_runs(mask))
    rows, columns = (
        np.floor((np.arange(small) + 0.5) * (large / small)).astype(np.int64)
        for small, large in zip(hw, mask["size"], strict=True)
    )
    top, bottom = np.searchsorted(rows, [y, y + height])
    left, right = np.searchsorted(columns, [x, x + width])
    return Sketch(int(left), int(top), crop[np.ix_(rows[top:bottom] - y, columns[left:right] - x)])


def export(
    name: str, hw: tuple[int, int], objects: Sequence[KeptObject], kind: str, image: np.ndarray | None, edge: Edge
) -> tuple[str, bytes]:
    """One file, by name, with the objects in a format of `FORMATS`; several files of a format come in a zip.

    image: (H, W, 3) uint8, for cut-outs only. UnfitObjects names what is wrong with the objects or the format.
    """
    if kind not in FORMATS:
        raise UnfitObjects(f"the format {kind!r} is unknown; there are {', '.join(FORMATS)}")
    try:
        session = Session(Picture(name, hw[1], hw[0]), tuple(map(_mask_object, objects)))
        files = _write(session, kind, image, edge)
    except ValueError as error:
        raise UnfitObjects(str(error)) from None
    if not files:
        raise UnfitObjects("there is no object to take home; keep one first")
    if len(files) == 1:
        return next(iter(files.items()))
    return f"{stem(name)}.{kind}.zip", archive.pack(files)


def _write(session: Session, kind: str, image: np.ndarray | None, edge: Edge) -> Files:
    if kind == CUTOUTS:
        return {
            f"{session.picture.stem}.{index + 1}.{stem(item.label)}.cutout.png": png.encode(_cut_out(image, item, edge))
            for index, item in enumerate(session.objects)
        }
    return write_all(session) if kind == ALL else WRITERS[kind](session)


def _cut_out(image: np.ndarray, item: MaskObject, edge: Edge) -> np.ndarray:
    if edge != "matte":
        return png.cut_out(image, item, feather=FEATHER if edge == "feathered" else 0.0)
    crop, window = rle_crop(item.mask)
    x, y, width, height = _grown(window, 4 * MATTE_RADIUS, image.shape[:2])  # the colours around tell the edge
    mask = np.zeros((height, width), bool)
    mask[window[1] - y :, window[0] - x :][: window[3], : window[2]] = crop
    around = image[y : y + height, x : x + width]
    alpha = np.floor(255 * matte(around, mask, MATTE_RADIUS) + 0.5).astype(np.uint8)
    return np.dstack([around, alpha])


def _grown(window: Window, margin: int, hw: tuple[int, int]) -> Window:
    """The window with a margin around it, as far as the picture goes."""
    x, y, width, height = window
    left, top = max(x - margin, 0), max(y - margin, 0)
    right, bottom = min(x + width + margin, hw[1]), min(y + height + margin, hw[0])
    return left, top, right - left, bottom - top


def _mask_object(item: KeptObject) -> MaskObject:
    return MaskObject(item.label, _runs(item.mask), item.colour, score=item.score)


def _runs(mask: RLE) -> RLE:
    return {"size": mask["size"], "counts": decompress_counts(mask["counts"]).tolist()}
