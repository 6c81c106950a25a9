"""What is done, one small file per picture: a killed run goes on after the last of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..checkpoint import whole_file
from ..config import Size

FOLDER = ".answers"


@dataclass(frozen=True)
class Mask:
    """One mask: COCO's run lengths as text, and what is known of it. `bbox` is XYWH with whole pixels covered."""

    segmentation: dict[str, Any]
    area: int
    bbox: list[int]
    predicted_iou: float
    stability_score: float | None = None
    category: str = ""
    prompt: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """All masks of one picture; `key` stands for all that they depend on."""

    name: str
    hw: Size
    key: str
    masks: tuple[Mask, ...]


@dataclass(frozen=True)
class Answers:
    """The answers below an output folder."""

    output: Path

    def load(self, name: str) -> Answer | None:
        """The picture's answer; None where there is none that can be read."""
        try:
            return answer_of(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, answer: Answer) -> None:
        """Keep an answer, whole or not at all."""
        write_json(self._path(answer.name), asdict(answer))

    def _path(self, name: str) -> Path:
        return self.output / FOLDER / f"{name}.json"


def text_of(answer: Answer) -> str:
    """An answer as it travels; `answer_of` reads it."""
    return json.dumps(asdict(answer), ensure_ascii=False)


def answer_of(text: str) -> Answer:
    """What `text_of` or a file says; ValueError, KeyError or TypeError where it is no answer."""
    document = json.loads(text)
    masks = tuple(Mask(**mask) for mask in document["masks"])
    return Answer(document["name"], tuple(document["hw"]), document["key"], masks)


def write_json(path: Path, document: Any) -> None:
    """Write JSON, whole or not at all, the same bytes for the same document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")


def key_of(*parts: Any) -> str:
    """A short name for everything that an answer depends on: plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
