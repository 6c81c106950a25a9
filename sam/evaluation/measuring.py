"""The measurement: a row of scores for every mask, the model's and the baselines', from the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from ..datasets import Record
from ..masks import rle_encode
from ..model import SAM
from ..predictor import encode, predict
from .baselines import box_baselines, click_baselines, lab_image
from .metrics import boundary_f, clicks_needed, iou
from .protocol import Target, bounding_box, draw_targets, first_click
from .report import Report, Row
from .session import CLICKS, QUALITIES, Session, box_answer, click_session

Progress = Callable[[Sequence], Iterable]
"""Passes a sequence on and shows how far it is, as tqdm does."""


def evaluate(
    model: SAM,
    records: Sequence[Record],
    *,
    limit: int | None = None,
    masks: int = 6,
    seed: int = 0,
    max_clicks: int = 10,
    baselines: bool = True,
    progress: Progress = iter,
) -> Report:
    """Measure `model`, in eval mode, on every record, or on the first `limit` of each source.

    masks: how many a picture at most. max_clicks: when NoC gives up; RITM counts to 20, which takes twice as long.
    Raises `ValueError` when no picture holds a mask that is large enough.
    """
    if max_clicks < max(CLICKS):
        raise ValueError(f"max_clicks {max_clicks} must be at least {max(CLICKS)}, after which the IoU is reported")
    protocol = {"limit": limit, "masks": masks, "seed": seed, "max_clicks": max_clicks}
    rows = []
    for number, record in progress(first_of_each_source(records, limit)):
        targets = draw_targets(record, masks, np.random.default_rng([seed, number]))
        rows += score_picture(model, record, targets, max_clicks, baselines=baselines)
    if not rows:
        raise ValueError(f"none of {len(records)} pictures holds a mask that is large enough")
    return Report(tuple(rows), {"name": model.config.model_id, "weights": model.weights_hash()}, protocol)


def first_of_each_source(records: Sequence[Record], limit: int | None) -> list[tuple[int, Record]]:
    """The first `limit` records of each source, each with its number among all."""
    seen: dict[str, int] = {}
    chosen = []
    for number, record in enumerate(records):
        seen[record.source] = seen.get(record.source, 0) + 1
        if limit is None or seen[record.source] <= limit:
            chosen.append((number, record))
    return chosen


def score_picture(
    model: SAM, record: Record, targets: Iterable[Target], max_clicks: int, *, baselines: bool
) -> Iterator[Row]:
    """A row for each target of one picture, which is encoded once."""
    image = record.image()
    ask = partial(predict, model, encode(model, image))
    lab = lab_image(image) if baselines else None
    for target in targets:
        session, boxed = click_session(ask, target, max_clicks), box_answer(ask, target)
        scores = model_scores(session, boxed, target, max_clicks)
        if lab is not None:
            scores |= baseline_scores(image, lab, target)
        answers = {"1 click": rle_encode(session.first), "box": rle_encode(boxed)}
        yield Row(record.source, record.name, target.layer, target.segment, scores, answers)


def model_scores(session: Session, boxed: np.ndarray, target: Target, max_clicks: int) -> dict[str, float]:
    """Every measure of `MODEL_MEASURES` for one mask."""
    error = session.predicted_iou - session.ious[0]
    return {
        "1 click": session.ious[0],
        "oracle of 3": session.oracle,
        **{f"{clicks} clicks": session.iou_after(clicks) for clicks in CLICKS},
        "box": iou(boxed, target.mask, target.known),
        **{f"NoC@{quality}": clicks_needed(session.ious, quality / 100, max_clicks) for quality in QUALITIES},
        "boundary F, 1 click": boundary_f(session.first, target.mask, target.known),
        "boundary F, box": boundary_f(boxed, target.mask, target.known),
        "IoU error, 1 click": abs(error),
        "IoU bias, 1 click": error,
    }


def baseline_scores(image: np.ndarray, lab: np.ndarray, target: Target) -> dict[str, float]:
    """IoU of every baseline and setting for one mask."""
    answers = (
        *click_baselines(lab, first_click(target.mask)),
        *box_baselines(image, bounding_box(target.mask)),
    )
    return {name: iou(mask, target.mask, target.known) for name, mask in answers}
