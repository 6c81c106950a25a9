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
from sam.masks import CompressedRLE, rle_compress, rle_crop, rle_decompress, rle_encode
from sam.predictor import ImageEmbedding
from sam.transforms import masks_to_original

CUTOUTS, ALL = "cutouts", "zip"
FORMATS = (CUTOUTS, *WRITERS, ALL)
EDGES: dict[Edge, dict[str, float]] = {"sharp": {}, "feathered": {"feather": 2.0}, "matte": {"soft": 6}}
"""How a cut-out ends, in the words of `sam.formats.png.cut_out`; pixels."""


def candidates(model: SAM, embedding: ImageEmbedding, prompts: Prompts) -> Candidates:
    """The single mask and the three of an ambiguous prompt, and which of them SAM would answer with."""
    logits, scores = prompting.decode(model, embedding, prompts)
    best = 1 + int(scores[1:].argmax()) if prompts.ambiguous else 0
    return Candidates(logits, tuple(float(np.clip(score, 0, 1)) for score in scores), best)


def full_mask(model: SAM, embedding: ImageEmbedding, logits: np.ndarray) -> CompressedRLE:
    """Low-resolution logits (256, 256) -> compressed run lengths of the mask in original pixels."""
    enlarged = masks_to_original(torch.from_numpy(logits)[None, None], embedding.frame)[0, 0]
    return rle_compress(rle_encode((enlarged > model.mask_threshold).numpy()))


def sketch(mask: CompressedRLE, hw: tuple[int, int]) -> Sketch:
    """A mask of the picture's size as it looks on a preview of (height, width): the pixel under each one's centre."""
    crop, (x, y, width, height) = rle_crop(rle_decompress(mask))
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
        return png.write_cutouts(session, image, **EDGES[edge])
    return write_all(session) if kind == ALL else WRITERS[kind](session)


def _mask_object(item: KeptObject) -> MaskObject:
    return MaskObject(item.label, rle_decompress(item.mask), item.colour, score=item.score)
