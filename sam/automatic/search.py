"""The search: crop by crop and batch by batch, points are asked and masks that pass the filters are handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..model import SAM
from ..predictor import ImageEmbedding, encode, require_own_embedding
from .boxes import cut_by_crop
from .candidates import Candidate
from .decoder import DTYPES, Answers, PointDecoder
from .enlarging import Enlarger
from .grids import Crop, crops, point_grids, scattered
from .settings import Precision, Settings


@dataclass(frozen=True, eq=False)
class Step:
    """What one batch of points found, and how many of the points of all crops are `done`."""

    found: list[Candidate]
    done: int
    total: int


def search(
    model: SAM,
    image: np.ndarray,
    settings: Settings,
    embedding: ImageEmbedding | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Ask every point of every crop; a step per `points_per_batch`, each batch spread over the whole crop.

    image (H, W, 3) uint8 RGB; embedding: the whole picture's, if there is one. `cancelled` is asked before every batch
    that goes through the decoder and before every encoding; the search ends when it says so.
    """
    grids, layers = point_grids(settings), crops(image.shape[:2], settings)
    total = sum(len(grids[crop.layer]) for crop in layers)
    done = 0
    for number, crop in enumerate(layers):
        if cancelled():
            return
        given = embedding if crop.layer == 0 else None
        area = CropSearch(model, image, number, crop, grids[crop.layer], settings, given)
        for points in batches(scattered(len(area.points)), settings.points_per_batch):
            found: list[Candidate] = []
            for chunk in batches(points, area.decoder.batch):
                if cancelled():
                    return
                found += area.ask(chunk)
            done += len(points)
            yield Step(found, done, total)


def batches(indexes: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Pieces of at most `size`, in order."""
    return (indexes[start : start + size] for start in range(0, len(indexes), size))


class CropSearch:
    """One crop, encoded and prepared once; `points` are the grid in pixels of the crop."""

    def __init__(
        self,
        model: SAM,
        image: np.ndarray,
        number: int,
        crop: Crop,
        grid: np.ndarray,
        settings: Settings,
        embedding: ImageEmbedding | None,
    ) -> None:
        self.number, self.crop, self.settings = number, crop, settings
        self.image_hw = image.shape[:2]
        self.points = grid * (crop.hw[1], crop.hw[0])
        with torch.no_grad():
            if embedding is None:
                embedding = encode_crop(model, crop.cut(image), settings.precision)
            require_own_embedding(model, embedding)
            if embedding.frame.original_hw != crop.hw:
                raise ValueError(
                    f"the embedding belongs to a picture of {embedding.frame.original_hw}, this one has {crop.hw}"
                )
            self.decoder = PointDecoder(model, embedding.features.to(model.device), settings.precision)
        self.frame = embedding.frame
        self.enlarger = Enlarger(
            self.frame, model.config.low_res_hw, model.mask_threshold, settings.stability_score_offset
        )

    @torch.no_grad()
    def ask(self, indexes: np.ndarray) -> list[Candidate]:
        """The masks of some of the points that pass all filters."""
        points_xy = self.frame.points_to_model(self.points[indexes]).astype(np.float32)  # some devices have no float64
        points = torch.from_numpy(points_xy).to(self.decoder.cells.device)
        answers = self.decoder.answer(points)
        predicted = answers.iou[:, 1:].cpu().numpy()  # mask 0 is for prompts that are not ambiguous
        threshold = self.settings.pred_iou_thresh
        passed = predicted > threshold if threshold > 0 else np.ones_like(predicted, dtype=bool)
        chosen = np.pad(passed, ((0, 0), (1, 0)))
        return [
            candidate
            for rows in batches(np.flatnonzero(passed.any(1)), self.decoder.upscaled_at_once)
            for candidate in self._masks(answers, predicted, indexes, rows, chosen[rows])
        ]

    def _masks(
        self, answers: Answers, predicted: np.ndarray, points: np.ndarray, rows: np.ndarray, chosen: np.ndarray
    ) -> Iterator[Candidate]:
        """Those of the `chosen` masks of the answers' `rows` that are stable and not cut by the crop."""
        logits = self.decoder.upscale(answers, rows, chosen, self.enlarger.low_hw).cpu()
        x0, y0, _, _ = self.crop.box
        for (place, mask), low in zip(np.argwhere(chosen[:, 1:]).tolist(), logits, strict=True):
            row, point = rows[place], int(points[rows[place]])
            enlarged = self.enlarger.enlarge(low, self.settings.stability_score_thresh)
            if enlarged is None:
                continue
            box = enlarged.box + np.array([x0, y0, x0, y0])
            if not cut_by_crop(box, self.crop.box, (0, 0, self.image_hw[1], self.image_hw[0]))[0]:
                yield Candidate(
                    (self.number, point, mask),
                    self.crop,
                    self.points[point] + (x0, y0),
                    predicted[row, mask],
                    enlarged.stability,
                    box,
                    enlarged.runs((x0, y0), self.image_hw[0]),
                )


def encode_crop(model: SAM, image: np.ndarray, precision: Precision) -> ImageEmbedding:
    """`encode`, in mixed precision where that is asked for; the features are float32 either way."""
    dtype = DTYPES[precision]
    mixed = nullcontext() if dtype == torch.float32 else torch.autocast(model.device.type, dtype)
    with mixed:
        embedding = encode(model, image)
    return replace(embedding, features=embedding.features.float())
