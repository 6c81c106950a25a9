"""What was measured: one row a mask, and tables of means with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..datasets import group_by_source
from ..masks import RLE
from .baselines import FAMILIES, setting_name
from .metrics import Interval, bootstrap_interval

MODEL_MEASURES = {
    "1 click": "IoU; of the three masks the one with the best predicted IoU",
    "oracle of 3": "IoU of the best of those three masks",
    "3 clicks": "IoU after two corrective clicks",
    "5 clicks": "IoU after four corrective clicks",
    "box": "IoU of the single mask for the box around the true one",
    "NoC@80": "clicks needed to reach an IoU of .80 (less is better)",
    "NoC@85": "the same for .85",
    "NoC@90": "the same for .90",
    "boundary F, 1 click": "agreement of the contours, within 0.75 % of the diagonal",
    "boundary F, box": "the same for the box",
    "IoU error, 1 click": "how far the predicted IoU lies from the true one (less is better)",
    "IoU bias, 1 click": "predicted less true IoU (0 is best)",
}
"""What is measured of a model, and what it means."""
BASELINES = {
    "wand": "1 click, flood fill in Lab with the source's best tolerance",
    "disc": "1 click, a disc with the source's best radius",
    "GrabCut": "box",
    "ellipse": "the one inscribed in the box",
    "rectangle": "the box itself",
}
"""Answers without a model, and what they mean; all are IoU."""
RIVALS = {"1 click": ("wand", "disc"), "box": ("GrabCut", "ellipse", "rectangle")}
"""Which baselines answer the same prompt as a model's measure."""
ORDER = ("1 click", "wand", "disc", "oracle of 3", "3 clicks", "5 clicks", "box", "GrabCut", "ellipse", "rectangle")


@dataclass(frozen=True)
class Row:
    """One mask: where it lies, its scores, and what the model answered, which is not stored."""

    source: str
    picture: str
    layer: int
    segment: int
    scores: Mapping[str, float]
    answers: Mapping[str, RLE] = field(default_factory=dict, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        place = {"source": self.source, "picture": self.picture, "layer": self.layer, "segment": self.segment}
        return {**place, "scores": {name: round(value, 6) for name, value in self.scores.items()}}


@dataclass(frozen=True)
class Report:
    """All rows of one evaluation; `protocol` says how they were drawn and `model` whose weights answered."""

    rows: tuple[Row, ...]
    model: Mapping[str, str] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def by_source(self) -> dict[str, list[Row]]:
        """Rows of each source."""
        return group_by_source(self.rows)

    def values(self, source: str, measure: str) -> np.ndarray:
        """One value a mask, (N,); of a family of baselines its best setting's."""
        name = setting_name(measure, self.setting(source, measure)) if measure in FAMILIES else measure
        return np.array([row.scores[name] for row in self.by_source[source]])

    def setting(self, source: str, family: str) -> float:
        """The setting of a family of baselines that has the best mean over all masks of a source."""
        return max(FAMILIES[family], key=lambda s: self._mean(source, setting_name(family, s)))

    def interval(self, source: str, measure: str) -> Interval:
        """Mean and 95 % interval."""
        return bootstrap_interval(self.values(source, measure), self._pictures(source))

    def lead(self, source: str, measure: str, rival: str) -> Interval:
        """By how much a measure exceeds another on the same masks: the mean difference and its 95 % interval."""
        difference = self.values(source, measure) - self.values(source, rival)
        return bootstrap_interval(difference, self._pictures(source))

    def measures(self) -> list[str]:
        """What there is, in the order of the tables."""
        present = {name for row in self.rows[:1] for name in row.scores}
        families = [name for name, settings in FAMILIES.items() if setting_name(name, settings[0]) in present]
        order = dict.fromkeys((*ORDER, *MODEL_MEASURES))
        return [name for name in order if name in present or name in families]

    def as_markdown(self) -> str:
        """A table: a line a measure, a column a source; answers without a model are in italics."""
        heads = [
            f"{source} ({len(rows)} masks, {len(set(self._pictures(source)))} pictures)"
            for source, rows in self.by_source.items()
        ]
        lines = [_line("measure", *heads), _line(*["---"] * (1 + len(heads)))]
        return "\n".join([*lines, *(_line(*self._cells(measure)) for measure in self.measures())])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data, from which `from_dict` makes an equal report, save for the answers."""
        sources = {source: self._summary(source) for source in self.by_source}
        rows = [row.as_dict() for row in self.rows]
        return {"model": dict(self.model), "protocol": dict(self.protocol), "sources": sources, "rows": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """A report that was stored; `ValueError` for other data."""
        if not {"model", "protocol", "rows"} <= data.keys():
            raise ValueError(f"not a report of `evaluate`: it has {sorted(data)}, not model, protocol and rows")
        return cls(tuple(Row(**row) for row in data["rows"]), data["model"], data["protocol"])

    def _mean(self, source: str, name: str) -> float:
        return float(np.mean([row.scores[name] for row in self.by_source[source]]))

    def _pictures(self, source: str) -> list[str]:
        return [row.picture for row in self.by_source[source]]

    def _summary(self, source: str) -> dict[str, Any]:
        measures = {}
        for name in self.measures():
            measures[name] = {key: round(value, 4) for key, value in vars(self.interval(source, name)).items()}
            if name in FAMILIES:
                measures[name]["setting"] = self.setting(source, name)
        pictures = self._pictures(source)
        return {"masks": len(pictures), "pictures": len(set(pictures)), "measures": measures}

    def _cells(self, measure: str) -> Iterator[str]:
        yield f"*{measure}*" if measure in BASELINES else measure
        for source in self.by_source:
            setting = f" at {self.setting(source, measure):g}" if measure in FAMILIES else ""
            yield f"{self.interval(source, measure)}{setting}"


def legend(report: Report) -> str:
    """What the lines of the report's table mean, as a Markdown list."""
    meanings = MODEL_MEASURES | {name: f"no model: {meaning}" for name, meaning in BASELINES.items()}
    lines = [f"- {name}: {meanings[name]}" for name in report.measures()]
    intervals = "In brackets: 95 % intervals, from resampled pictures."
    cap = f"Where NoC's quality is not reached, {report.protocol.get('max_clicks')} clicks are counted."
    return "\n".join([f"{intervals} {cap}", "", *lines])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
