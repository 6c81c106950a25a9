"""What a caller may choose: Meta's parameters with Meta's defaults, checked once, and presets with plain names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]
Precision = Literal["fp32", "bf16"]
OUTPUT_MODES: tuple[OutputMode, ...] = ("binary_mask", "uncompressed_rle", "coco_rle")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")

PRESETS: dict[str, dict[str, Any]] = {
    "few": {"points_per_side": 12, "pred_iou_thresh": 0.9, "box_nms_thresh": 0.5, "min_mask_region_area": 400},
    "balanced": {"points_per_side": 32},
    "fine": {"points_per_side": 32, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2, "pred_iou_thresh": 0.84},
}
"""How much to find: the main objects, Meta's defaults, or small things too. Whatever is not said is the default."""
OF_MODEL: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "few": {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.1},
        "balanced": {"pred_iou_thresh": 0.4, "stability_score_thresh": 0.1, "min_mask_region_area": 200},
        "fine": {"pred_iou_thresh": 0.35, "stability_score_thresh": 0.15, "min_mask_region_area": 100},
    }
}
"""What a preset says otherwise for a model, by its id: `tiny` predicts less IoU, and its logits are flatter."""


@dataclass(frozen=True)
class Settings:
    """Parameters of the automatic mask generator; the meaning of each stands at `SamAutomaticMaskGenerator`."""

    points_per_side: int | None = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: Sequence[np.ndarray] | None = None
    min_mask_region_area: int = 0
    output_mode: OutputMode = "binary_mask"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        if (self.points_per_side is None) == (self.point_grids is None):
            raise ValueError("give exactly one of points_per_side and point_grids, and None for the other")
        if self.output_mode not in OUTPUT_MODES:
            raise ValueError(f"output_mode {self.output_mode!r} is unknown; use one of {', '.join(OUTPUT_MODES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        _require_at_least(1, points_per_batch=self.points_per_batch, points_per_side=self.points_per_side)
        _require_at_least(1, crop_n_points_downscale_factor=self.crop_n_points_downscale_factor)
        _require_at_least(0, crop_n_layers=self.crop_n_layers, min_mask_region_area=self.min_mask_region_area)
        _require_at_least(0, stability_score_offset=self.stability_score_offset)
        if not 0 <= self.crop_overlap_ratio < 1:
            raise ValueError(f"crop_overlap_ratio {self.crop_overlap_ratio} must lie in [0, 1): crops overlap in part")
        if self.point_grids is not None:
            _require_grids(self.point_grids, self.crop_n_layers)

    @classmethod
    def preset(cls, name: str, model_id: str = "", **changes: Any) -> Settings:
        """The settings of a preset, as it suits the model of this id, with `changes` on top of it."""
        if name not in PRESETS:
            raise ValueError(f"preset {name!r} is unknown; use one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **OF_MODEL.get(model_id, {}).get(name, {}), **changes})


def _require_at_least(least: float, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not value >= least:
            raise ValueError(f"{name} {value} must be at least {least}")


def _require_grids(grids: Sequence[np.ndarray], crop_n_layers: int) -> None:
    if len(grids) <= crop_n_layers:
        raise ValueError(
            f"point_grids has {len(grids)} grids, crop_n_layers {crop_n_layers} needs {crop_n_layers + 1}: "
            "one for the picture, one for every layer of crops"
        )
    for layer, grid in enumerate(grids):
        grid = np.asarray(grid)
        if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid):
            raise ValueError(f"point_grids[{layer}] must have shape (N, 2) with N at least 1, got {grid.shape}")
        if not ((grid >= 0) & (grid <= 1)).all():
            raise ValueError(f"point_grids[{layer}] must hold shares of width and height, 0 to 1")
