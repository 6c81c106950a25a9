"""One mask, clicked at until it is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..predictor import Masks
from .metrics import iou
from .protocol import Target, bounding_box, corrective_click, first_click

Ask = Callable[..., Masks]
"""`predict`, its model and picture already chosen."""

CLICKS = (3, 5)
"""After how many clicks the IoU is reported, besides the first."""
QUALITIES = (80, 85, 90)
"""IoU in percent that NoC counts clicks for."""


@dataclass(frozen=True, eq=False)
class Session:
    """One mask clicked at: the first answer (H, W) bool, its IoU as predicted, the best IoU of the three candidates,
    and the IoU after each click."""

    first: np.ndarray
    predicted_iou: float
    oracle: float
    ious: tuple[float, ...]

    def iou_after(self, clicks: int) -> float:
        """IoU after so many clicks; a session that ended before was right, or good enough."""
        return self.ious[min(clicks, len(self.ious)) - 1]


def click_session(ask: Ask, target: Target, max_clicks: int) -> Session:
    """Click at a mask until nothing is wrong, or `max_clicks`, or all that is reported is known.

    The first click is answered by the best of three masks by *predicted* IoU; each later one corrects the deepest
    error, with the previous answer's logits fed back, and is answered by the single mask.
    """
    points, labels = [first_click(target.mask)], [1]
    answer = ask(point_coords=points, point_labels=labels, multimask_output=True)
    best = int(answer.iou_predictions.argmax())
    first, predicted, logits = answer.masks[best], float(answer.iou_predictions[best]), answer.low_res_logits[best]
    candidates = [iou(mask, target.mask, target.known) for mask in answer.masks]
    ious, mask = [candidates[best]], first
    while not _is_over(ious, max_clicks) and (correction := corrective_click(mask, target)) is not None:
        points, labels = [*points, correction[0]], [*labels, correction[1]]
        answer = ask(point_coords=points, point_labels=labels, mask_input=logits[None], multimask_output=False)
        mask, logits = answer.masks[0], answer.low_res_logits[0]
        ious.append(iou(mask, target.mask, target.known))
    return Session(first, predicted, max(candidates), tuple(ious))


def box_answer(ask: Ask, target: Target) -> np.ndarray:
    """The single mask for the box around the target, H,W bool."""
    return ask(box=bounding_box(target.mask), multimask_output=False).masks[0]


def _is_over(ious: list[float], max_clicks: int) -> bool:
    good_enough = len(ious) >= max(CLICKS) and max(ious) >= max(QUALITIES) / 100
    return len(ious) >= max_clicks or good_enough
