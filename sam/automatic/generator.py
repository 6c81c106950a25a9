"""`SamAutomaticMaskGenerator`: Meta's interface to everything mode, all at once or as the work goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..model import SAM
from ..predictor import ImageEmbedding, SamPredictor, require_picture
from .candidates import Candidate, Record, Selection
from .grids import point_grids as layer_grids
from .search import search
from .settings import OutputMode, Precision, Settings


@dataclass(frozen=True, eq=False)
class Update:
    """What changed with one batch of points.

    `added`: records that are new in the answer, by a number that stays theirs. `retracted`: numbers of records that a
    better one replaced. `order`: numbers of the whole answer as it stands, in the order of `generate`. `done` of
    `total` points are asked; with the last update, `done == total`, the answer is `generate`'s.
    """

    added: dict[int, Record]
    retracted: tuple[int, ...]
    order: tuple[int, ...]
    done: int
    total: int


class SamAutomaticMaskGenerator:
    """Finds all objects of a picture: asks a grid of points and keeps what is good, stable and no duplicate.

    Parameters, defaults and records are those of `segment_anything.SamAutomaticMaskGenerator`:

    points_per_side: the grid's points along each side; or None, with `point_grids`: for the picture and every layer
    of crops an array (N, 2) of x, y in [0, 1]. points_per_batch: points between two updates; no result depends on it.
    pred_iou_thresh: least quality that the model predicts. stability_score_thresh: least IoU between the masks at
    `stability_score_offset` above and below the threshold of logits. box_nms_thresh, crop_nms_thresh: IoU of boxes
    above which the worse mask is a duplicate, in a crop and across them. crop_n_layers: search again in layers of
    4, 16 ... crops, which overlap by `crop_overlap_ratio` of the short side, with a grid that is
    `crop_n_points_downscale_factor` times coarser in every layer. min_mask_region_area: fill holes and remove islands
    of fewer pixels. output_mode: `binary_mask`, `uncompressed_rle` or `coco_rle`.
    precision: `bf16` computes encoder and decoder in mixed precision; pays where the processor has AMX. With `tiny`
    predicted IoU moves by less than 0.005, and of masks of the better half 95 % keep an IoU of 0.98 with fp32's.
    `model.image_encoder.compile()` before is PyTorch's own compiler, for GPUs and many pictures: predicted IoU stays
    within 1e-4, masks but for pixels on their borders.
    Raises `ValueError` that names the parameter.
    """

    def __init__(
        self,
        model: SAM,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[np.ndarray] | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
        *,
        precision: Precision = "fp32",
    ) -> None:
        given = locals()
        self.model = model
        self.settings = Settings(**{field.name: given[field.name] for field in fields(Settings)})
        self.point_grids = layer_grids(self.settings)
        self.predictor = SamPredictor(model)

    @classmethod
    def preset(cls, model: SAM, name: str, **changes: Any) -> SamAutomaticMaskGenerator:
        """A generator for `few`, `balanced` or `fine` (see `settings.PRESETS`), with `changes` on top."""
        settings = Settings.preset(name, model.config.model_id, **changes)
        return cls(model, **{field.name: getattr(settings, field.name) for field in fields(Settings)})

    def generate(self, image: np.ndarray, *, embedding: ImageEmbedding | None = None) -> list[Record]:
        """All masks of a picture, (H, W, 3) uint8 RGB, best first; by smallest crop first where there are crops.

        Each is a dictionary: `segmentation` (H, W) bool or run lengths, `area` in pixels, `bbox` XYWH, `predicted_iou`,
        `stability_score`, `point_coords` [[x, y]] that found it, `crop_box` XYWH that it was found in.
        embedding: the picture's, to save encoding it again.
        """
        image = require_picture(image)
        selection = Selection(self.settings, image.shape[:2])
        for step in search(self.model, image, self.settings, embedding):
            selection.add(step.found)
        return [self._record(candidate, image) for candidate in selection.current()]

    def generate_iter(
        self,
        image: np.ndarray,
        *,
        embedding: ImageEmbedding | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Update]:
        """The same, as the work goes on: an update per batch of points; the last one's answer is `generate`'s.

        Every batch covers the whole picture more finely. `cancelled` is asked before every batch that goes through
        the decoder, some points each; when it says so the updates end. Leaving the loop cancels too.
        """
        image = require_picture(image)
        selection = Selection(self.settings, image.shape[:2])
        numbers: dict[tuple[int, int, int], int] = {}
        shown: set[int] = set()
        for step in search(self.model, image, self.settings, embedding, cancelled):
            selection.add(step.found)
            current = {numbers.setdefault(kept.place, len(numbers)): kept for kept in selection.current()}
            added = {number: self._record(kept, image) for number, kept in current.items() if number not in shown}
            yield Update(added, tuple(sorted(shown - current.keys())), tuple(current), step.done, step.total)
            shown = set(current)

    def _record(self, candidate: Candidate, image: np.ndarray) -> Record:
        return candidate.record(image.shape[:2], self.settings.output_mode)
