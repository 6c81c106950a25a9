"""Arithmetic on masks: pure functions on arrays. Run lengths are COCO's and go column by column.

A mask of a large picture is worked on as a crop: its pixels inside a window, and where that lies.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

Window = tuple[int, int, int, int]
"""x, y, width, height in whole pixels of the picture."""


class RLE(TypedDict):
    """COCO's uncompressed run lengths: `size` [height, width], `counts` of zeros and ones in turn, zeros first."""

    size: list[int]
    counts: list[int]


class CompressedRLE(TypedDict):
    """COCO's compressed run lengths: `size` [height, width], `counts` as pycocotools writes them, `str` or `bytes`."""

    size: list[int]
    counts: str | bytes


def rle_encode(mask: np.ndarray) -> RLE:
    """Run lengths of a boolean H,W mask, read column by column."""
    height, width = mask.shape
    pixels = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    first_is_mask = bool(pixels.size and pixels[0])
    bounds = [*([0] if first_is_mask else []), 0, *changes.tolist(), pixels.size]
    return {"size": [height, width], "counts": np.diff(bounds).tolist()}


def rle_decode(rle: RLE) -> np.ndarray:
    """The boolean H,W mask that `rle_encode` was given; `ValueError` if the runs do not fill it."""
    height, width = rle["size"]
    counts = np.asarray(rle["counts"], dtype=np.int64)
    if counts.sum() != height * width or (counts < 0).any():
        raise ValueError(f"the counts cover {counts.sum()} pixels, the size {height} x {width} needs {height * width}")
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return pixels.reshape(height, width, order="F")


def rle_compress(rle: RLE) -> CompressedRLE:
    """Run lengths as text."""
    return {"size": list(rle["size"]), "counts": compress_counts(rle["counts"])}


def rle_decompress(compressed: CompressedRLE) -> RLE:
    """The run lengths that `rle_compress`, or pycocotools, wrote; `ValueError` where the text is damaged."""
    return {"size": list(compressed["size"]), "counts": decompress_counts(compressed["counts"]).tolist()}


def compress_counts(counts: list[int] | np.ndarray) -> str:
    """COCO's compressed form of run lengths, byte for byte that of pycocotools: the inverse of `decompress_counts`."""
    values = np.array(counts, dtype=np.int64)
    values[3:] -= np.array(counts, dtype=np.int64)[1:-2]
    return "".join(map(_number_text, values.tolist()))


def _number_text(value: int) -> str:
    """Five bits a character, lowest first; a sixth says that more follow, and the last one's fifth is the sign."""
    text, more = "", True
    while more:
        digit, value = value & 31, value >> 5
        more = value != (-1 if digit & 16 else 0)
        text += chr(48 + (digit | 32 * more))
    return text


def decompress_counts(text: str | bytes) -> np.ndarray:
    """COCO's compressed counts -> int64 run lengths.

    A number is a little-endian series of characters from "0" on: five bits each, a sixth says that more follow, and
    the last one's fifth is the sign. From the fourth on, numbers are differences to the last run of that colour.
    """
    codes = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    is_last = codes & 32 == 0
    if not len(codes) or not is_last[-1] or codes.min() < 0 or codes.max() > 63:
        raise ValueError(f"compressed run lengths {text[:20]!r} are damaged or cut off")
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if digits.max() > 11:
        raise ValueError(f"compressed run lengths {text[:20]!r} hold a number of more than 60 bits")
    numbers = np.add.reduceat((codes & 31) << (5 * digits), starts)
    numbers -= ((codes[ends] & 16) >> 4) << (5 * (digits[ends] + 1))
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def rle_area(rle: RLE) -> int:
    """Pixels of mask."""
    return int(sum(rle["counts"][1::2]))


def rle_window(rle: RLE) -> Window:
    """The smallest window around a mask, read off its runs; zeros for an empty mask."""
    return runs_window(rle_runs(rle), rle["size"][0])


def runs_window(runs: np.ndarray, height: int) -> Window:
    """As `rle_window`, of (N, 2) first and end pixels of runs in a picture whose columns have `height` pixels."""
    if not len(runs):
        return (0, 0, 0, 0)
    starts, ends = runs.T
    left, right = int(starts[0] // height), int((ends[-1] - 1) // height) + 1
    if (starts // height != (ends - 1) // height).any():  # a run that goes on in the next column touches both borders
        return (left, 0, right - left, height)
    top, bottom = int((starts % height).min()), int(((ends - 1) % height).max()) + 1
    return (left, top, right - left, bottom - top)


def rle_crop(rle: RLE) -> tuple[np.ndarray, Window]:
    """The mask inside its window (boolean, the window's height and width), and the window."""
    height = rle["size"][0]
    x, y, width, tall = rle_window(rle)
    starts, ends = rle_runs(rle).T - x * height
    steps = np.zeros(width * height + 1, dtype=np.int8)
    steps[starts] += 1
    steps[ends] -= 1
    columns = steps[:-1].cumsum(dtype=np.int8).reshape(width, height)
    return columns[:, y : y + tall].T == 1, (x, y, width, tall)


def crop_to_rle(crop: np.ndarray, x: int, y: int, size: tuple[int, int]) -> RLE:
    """Run lengths of a picture of `size` (height, width) with a boolean crop at x, y in it, and nothing elsewhere."""
    (tall, wide), (height, width) = crop.shape, size
    if min(x, y) < 0 or x + wide > width or y + tall > height:
        raise ValueError(f"a crop of {wide} x {tall} at {x}, {y} does not lie inside a picture of {width} x {height}")
    edges = np.diff(np.pad(np.asarray(crop, bool).T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    columns, rows = np.nonzero(edges)
    bounds, times = np.unique((x + columns) * height + y + rows, return_counts=True)
    bounds = bounds[times == 1]  # a run that goes on in the next column is one run
    bounds = np.concatenate([[0], bounds, [height * width]])
    counts = np.diff(bounds).tolist()
    return {"size": [height, width], "counts": counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts}


def rle_runs(rle: RLE) -> np.ndarray:
    """First pixel of every run of mask, and the one after its last: (N, 2) int64, without empty runs."""
    bounds = np.cumsum(np.asarray(rle["counts"], dtype=np.int64))
    runs = bounds[: len(bounds) // 2 * 2].reshape(-1, 2)
    return runs[runs[:, 0] < runs[:, 1]]


def mask_to_box(mask: np.ndarray) -> np.ndarray:
    """Smallest box around a boolean H,W mask: XYXY of its outermost pixels, inclusive; zeros for an empty mask."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not columns.size:
        return np.zeros(4, dtype=np.int64)
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.int64)


def mask_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boolean masks; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def stability_score(logits: np.ndarray, mask_threshold: float = 0.0, offset: float = 1.0) -> np.ndarray:
    """IoU of the masks at thresholds `offset` above and below: logits (..., H, W) -> (...), 0 where both are empty."""
    inner = (logits > mask_threshold + offset).sum((-2, -1))
    outer = (logits > mask_threshold - offset).sum((-2, -1))
    return inner / np.maximum(outer, 1)
