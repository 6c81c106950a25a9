"""How good a model is, with simulated clicks and boxes, beside answers that need no model.

Protocol: up to six masks a picture, each at least 0.25 % of it, seeded. First click: the mask's deepest point, the
picture's border counted as outside; the answer is the best of the three by *predicted* IoU. Corrective click: the
deepest point over both error regions, previous logits fed back, single mask. Box: [xmin, ymin, xmax + 1, ymax + 1],
single mask. IoU at original resolution, unknown pixels left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from ..model import SAM
from ..predictor import ImageEmbedding, encode, predict
from .data import Record

DISC_RADII = (0.06, 0.09, 0.12, 0.16, 0.2)
"""Radii of the fixed disc around a click, as shares of the picture's long side; the best one is reported."""


@dataclass(frozen=True)
class Target:
    """One mask to find: `mask` and `known` are H,W bool."""

    source: str
    mask: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Report:
    """IoU per source and measure: `scores[source][measure]` holds one value a mask, in 0-1."""

    scores: dict[str, dict[str, np.ndarray]]

    def means(self) -> dict[str, dict[str, float]]:
        """Mean IoU; of the fixed discs only the best."""
        return {
            source: _with_best_disc({key: float(v.mean()) for key, v in by.items()})
            for source, by in self.scores.items()
        }

    def as_dict(self) -> dict:
        """Plain JSON data."""
        counts = {source: len(next(iter(by.values()))) for source, by in self.scores.items()}
        return {source: {"masks": counts[source], **means} for source, means in self.means().items()}

    def as_markdown(self) -> str:
        """A table, one row a source."""
        rows = self.as_dict()
        columns = list(next(iter(rows.values())))
        lines = ["| source | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for source, row in rows.items():
            cells = [f"{row[column]:.3f}" if isinstance(row[column], float) else str(row[column]) for column in columns]
            lines.append(f"| {source} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def evaluate(model: SAM, records: list[Record], *, limit: int | None = None, masks: int = 6, seed: int = 0) -> Report:
    """Measure `model` on every record, or the first `limit` of each source."""
    scores: dict[str, dict[str, list[float]]] = {}
    seen: dict[str, int] = {}
    for number, record in enumerate(records):
        seen[record.source] = seen.get(record.source, 0) + 1
        if limit is not None and seen[record.source] > limit:
            continue
        embedding = encode(model, record.image)
        for target in draw_targets(record, masks, np.random.default_rng([seed, number])):
            for measure, value in score_target(model, embedding, target).items():
                scores.setdefault(target.source, {}).setdefault(measure, []).append(value)
    return Report({source: {key: np.array(values) for key, values in by.items()} for source, by in scores.items()})


def draw_targets(record: Record, masks: int, rng: np.random.Generator, share: float = 0.0025) -> Iterator[Target]:
    """Up to `masks` random segments of at least `share` of the picture."""
    choices = []
    for index, layer in enumerate(record.layers):
        counts = np.bincount(layer[layer > 0].astype(np.int64))
        choices += [(index, segment) for segment in np.flatnonzero(counts >= share * layer.size)]
    for choice in rng.permutation(len(choices))[:masks]:
        index, segment = choices[choice]
        layer = record.layers[index]
        known = (layer > 0) if record.zero_is_unknown else np.ones_like(layer, dtype=bool)
        yield Target(record.source, layer == segment, known)


def score_target(model: SAM, embedding: ImageEmbedding, target: Target) -> dict[str, float]:
    """IoU of every measure for one mask."""
    mask = target.mask
    click, box = deepest_point(mask), bounding_box(mask)
    first = predict(model, embedding, point_coords=[click], point_labels=[1], multimask_output=True)
    best = int(first.iou_predictions.argmax())
    candidates = [_iou(candidate, target) for candidate in first.masks]
    boxed = predict(model, embedding, box=box, multimask_output=False)
    return {
        "1 click": candidates[best],
        "oracle of 3": max(candidates),
        "3 clicks": _iou(
            correct(model, embedding, target, click, first.masks[best], first.low_res_logits[best], 2), target
        ),
        "box": _iou(boxed.masks[0], target),
        "ellipse": _iou(inscribed_ellipse(box, mask.shape), target),
        **{f"disc {radius}": _iou(disc(click, radius, mask.shape), target) for radius in DISC_RADII},
    }


def correct(
    model: SAM,
    embedding: ImageEmbedding,
    target: Target,
    click: np.ndarray,
    mask: np.ndarray,
    logits: np.ndarray,
    rounds: int,
) -> np.ndarray:
    """Add `rounds` corrective clicks to an answer; the H,W mask after the last."""
    points, labels = [click], [1]
    for _ in range(rounds):
        missed, extra = target.mask & ~mask & target.known, mask & ~target.mask & target.known
        points.append(deepest_point(missed, extra))
        labels.append(int(missed[tuple(points[-1][::-1].astype(int))]))
        answer = predict(
            model, embedding, point_coords=points, point_labels=labels, mask_input=logits[None], multimask_output=False
        )
        mask, logits = answer.masks[0], answer.low_res_logits[0]
    return mask


def deepest_point(*regions: np.ndarray) -> np.ndarray:
    """x, y of the pixel furthest from the rim of any of the H,W regions, the picture's border counted as outside."""
    depth = np.max([distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1] for region in regions], axis=0)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return np.array([column, row], dtype=np.float64)


def bounding_box(mask: np.ndarray) -> np.ndarray:
    """[xmin, ymin, xmax + 1, ymax + 1] of an H,W mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def inscribed_ellipse(box_xyxy: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """The ellipse that touches the box's four sides, H,W bool."""
    x0, y0, x1, y1 = box_xyxy
    return _ellipse(((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2), hw)


def disc(centre_xy: np.ndarray, radius: float, hw: tuple[int, int]) -> np.ndarray:
    """A disc around a click; `radius` is a share of the picture's long side. H,W bool."""
    return _ellipse(centre_xy + 0.5, (radius * max(hw),) * 2, hw)


def _ellipse(centre_xy: tuple[float, float], radii_xy: tuple[float, float], hw: tuple[int, int]) -> np.ndarray:
    y, x = np.ogrid[: hw[0], : hw[1]]
    return ((x + 0.5 - centre_xy[0]) / radii_xy[0]) ** 2 + ((y + 0.5 - centre_xy[1]) / radii_xy[1]) ** 2 <= 1


def _iou(mask: np.ndarray, target: Target) -> float:
    mask, truth = mask & target.known, target.mask & target.known
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def _with_best_disc(means: dict[str, float]) -> dict[str, float]:
    discs = {key: value for key, value in means.items() if key.startswith("disc")}
    return {**{key: value for key, value in means.items() if key not in discs}, "best disc": max(discs.values())}
