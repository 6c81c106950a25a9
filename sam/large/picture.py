"""`LargePicture`: prompts on a picture of any size; each is answered in the view that fits what is looked at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..automatic.enlarging import Enlarger
from ..automatic.runs import area, bounding_box, to_mask, to_rle
from ..config import Size
from ..masks import RLE, Window
from ..model import SAM
from ..predictor import ImageEmbedding, encode, predict_low_res
from ..transforms import ImageFrame
from .generator import as_source
from .picker import Box, cut_by_view, side_for_box, side_for_points, views_outward
from .runs import enlarged, placed
from .sources import Source
from .views import View

CACHE_BYTES = 256 * 2**20
EDGE_SHARE = 1 / 128
"""A mask that ends this close to the edge of its view, in sides of the view, was probably cut by it."""
SMOOTH_PIXELS = 16 * 2**20
"""Masks are interpolated down to the picture's pixels where their view has no more than these; else to the view's."""


@dataclass(frozen=True, eq=False)
class LargeMask:
    """One mask of a large picture: `window` x, y, width, height in the picture, and the mask in it as run lengths.

    `rle` has the size of the window, which is as small as the mask allows; both are empty for no pixels. `area` in
    pixels, `iou_prediction` as the model predicts it, `view` that it was seen in, `low_res_logits` (h, w) float32 of
    the view for a correction.
    """

    picture_hw: Size
    window: Window
    rle: RLE
    area: int
    iou_prediction: float
    view: View
    low_res_logits: np.ndarray

    def crop(self) -> np.ndarray:
        """(height, width) bool, the mask in its window."""
        return to_mask(_runs_of(self.rle), tuple(self.rle["size"]))

    def picture_rle(self) -> RLE:
        """Run lengths in the whole picture, without a bitmap of it."""
        x, y, _, height = self.window
        return to_rle(placed(_runs_of(self.rle), max(height, 1), (x, y), self.picture_hw[0]), self.picture_hw)


class LargePicture:
    """A picture and a model that answers prompts on it; several threads may ask.

    Embeddings of views are kept up to `cache_bytes`, those unused for the longest time go first. `detail`: longest
    side of a view in its own pixels, more than which the model would not see.
    """

    def __init__(
        self, model: SAM, picture: Source | np.ndarray, *, cache_bytes: int = CACHE_BYTES, detail: int | None = None
    ) -> None:
        if cache_bytes < 0:
            raise ValueError(f"cache_bytes {cache_bytes} must not be negative; 0 keeps no embedding")
        self.model, self.source, self.cache_bytes = model, as_source(picture), cache_bytes
        self.detail = model.config.image_size if detail is None else detail
        self._kept: OrderedDict[View, ImageEmbedding] = OrderedDict()
        self._lock = threading.Lock()

    def predict(
        self,
        point_coords: Any = None,
        point_labels: Any = None,
        box: Any = None,
        *,
        shown: Window | None = None,
        previous: LargeMask | None = None,
    ) -> LargeMask:
        """The mask that points (N, 2) with labels (N,), 1 foreground or 0 background, or a box XYXY ask for.

        Coordinates are pixels of the picture. shown: the window that is on the screen, for points: zooming in makes
        the view smaller and the mask finer. A box says by itself how large its view is. A mask that the view's edge
        cuts is asked for again in a larger view. One point is ambiguous and gets the best of three masks; more points
        or a box get the single mask. previous: the answer that these prompts correct; its view is used again where it
        holds them. `ValueError` for prompts that do not fit or lie outside of the picture.
        """
        around = _box_around(point_coords, box)
        if previous is not None and previous.view.holds(around):
            return self._answer(previous.view, point_coords, point_labels, box, previous)
        hw = self.source.hw
        side = side_for_points(hw, around, shown) if box is None else side_for_box(around)
        for view in views_outward(hw, around, side, detail=self.detail):
            found = self._answer(view, point_coords, point_labels, box, None)
            if not self._cut(found):
                break
        return found

    def embedding(self, view: View) -> ImageEmbedding:
        """The view's embedding, from memory or made now; its frame's original is the view."""
        with self._lock:
            if view in self._kept:
                self._kept.move_to_end(view)
                return self._kept[view]
        made = encode(self.model, view.look(self.source))
        with self._lock:
            self._kept[view] = made
            while self._kept and sum(map(_bytes, self._kept.values())) > self.cache_bytes:
                self._kept.popitem(last=False)
        return made

    @property
    def kept_views(self) -> tuple[View, ...]:
        """Views whose embeddings are in memory, the latest used last."""
        with self._lock:
            return tuple(self._kept)

    def _answer(self, view: View, coords: Any, labels: Any, box: Any, previous: LargeMask | None) -> LargeMask:
        points = None if coords is None else view.from_picture(coords)
        corners = None if box is None else view.from_picture(np.reshape(box, (2, 2))).ravel()
        before = None if previous is None else previous.low_res_logits[None]
        logits, iou = predict_low_res(self.model, self.embedding(view), points, labels, corners, before)
        ambiguous = box is None and len(points) == 1 and previous is None
        best = 1 + int(iou[1:].argmax()) if ambiguous else 0
        return self._placed(view, logits[best], float(iou[best]))

    def _placed(self, view: View, logits: np.ndarray, iou: float) -> LargeMask:
        """The mask of a view's low-resolution logits, in the picture."""
        hw, (x, y, width, height) = self.source.hw, view.window
        frame, scale = self.embedding(view).frame, view.scale
        if width * height <= SMOOTH_PIXELS:  # interpolated to the picture's pixels; the view covers whole ones
            frame, scale = _stretched(frame, view), 1
        enlarger = Enlarger(frame, self.model.config.low_res_hw, self.model.mask_threshold, 0.0)
        rows, columns = enlarger.low_hw
        mask = enlarger.enlarge(torch.from_numpy(logits[:rows, :columns].copy()), 0)
        seen = mask.runs((0, 0), frame.original_hw[0])
        runs = placed(enlarged(seen, frame.original_hw[0], scale, (height, width)), height, (x, y), hw[0])
        box = bounding_box(runs, hw[0])
        x0, y0, x1, y1 = (*box[:2].tolist(), *(box[2:] + 1).tolist()) if len(runs) else (0, 0, 0, 0)
        window = (x0, y0, x1 - x0, y1 - y0)
        in_window = placed(runs, hw[0], (-x0, -y0), y1 - y0) if len(runs) else runs
        rle = to_rle(in_window, (y1 - y0, x1 - x0))
        return LargeMask(hw, window, rle, area(runs), iou, view, logits)

    def _cut(self, mask: LargeMask) -> bool:
        x, y, width, height = mask.window
        margin = round(max(mask.view.window[2:]) * EDGE_SHARE)
        return mask.area > 0 and cut_by_view(
            np.array([x, y, x + width - 1, y + height - 1]), mask.view, self.source.hw, margin
        )


def _stretched(frame: ImageFrame, view: View) -> ImageFrame:
    """The frame with the picture's pixels as its original instead of the view's."""
    return replace(frame, original_hw=(view.window[3], view.window[2]))


def _runs_of(rle: RLE) -> np.ndarray:
    bounds = np.cumsum(np.asarray(rle["counts"], dtype=np.int64))
    return bounds[: len(bounds) // 2 * 2].reshape(-1, 2)


def _bytes(embedding: ImageEmbedding) -> int:
    return embedding.features.numel() * embedding.features.element_size()


def _box_around(points: Any, box: Any) -> Box:
    """x0, y0, x1, y1 around all prompts."""
    parts = [np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in (points, box) if part is not None]
    if not parts or not sum(map(len, parts)):
        raise ValueError("a prompt is needed: points with labels, or a box")
    every = np.concatenate(parts)
    return (*every.min(0).tolist(), *every.max(0).tolist())
