"""What one visitor has on the desk, as values: every step makes a new one, so undo is the one before.

Coordinates are pixels of the upright original. Masks are COCO's compressed run lengths, as the service gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from demo.gradio_app.refused import Refused
from demo.schemas import Candidates, KeptObject, Prompts, Sketch

Kind = Literal["add", "remove", "corner", "take"]
"""What a click does: add to the mask, take away from it, set a corner of a box, take an object that was found."""
KINDS: tuple[Kind, ...] = ("add", "remove", "corner", "take")
Point = tuple[float, float]

PALETTE = (
    "#e6432f", "#1f9d61", "#2f6fed", "#d99a00", "#8d4de8", "#0aa3b5",
    "#d6409f", "#7a9a01", "#f07b2b", "#4b5bd7", "#a8583b", "#3f8f8a",
)  # fmt: skip
"""The page's colours of objects."""
LONGEST_LABEL = 200


@dataclass(frozen=True, eq=False)
class Opened:
    """The picture on the desk: its file's name, the service's id for it, its size, and a preview to draw on."""

    name: str
    id: str
    original_hw: tuple[int, int]
    preview: np.ndarray = field(repr=False)

    @property
    def scale_xy(self) -> Point:
        """Original pixels per preview pixel."""
        return self.original_hw[1] / self.preview.shape[1], self.original_hw[0] / self.preview.shape[0]

    def require_inside(self, point: Point) -> None:
        """Refused unless the point lies on the picture."""
        height, width = self.original_hw
        if not (0 <= point[0] <= width and 0 <= point[1] <= height):
            x, y = (f"{value:g}" for value in point)
            raise Refused(f"({x}, {y}) is not on the picture; x goes from 0 to {width}, y from 0 to {height}.")


@dataclass(frozen=True)
class Click:
    """A point with what it says: label 1 is on the object, 0 is not."""

    x: float
    y: float
    label: Literal[0, 1]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A mask of the picture's size as run lengths, and the same small enough to be drawn on the preview."""

    mask: dict[str, Any] = field(repr=False)
    sketch: Sketch = field(repr=False)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model said to the prompts, and the candidate that is shown."""

    candidates: Candidates
    chosen: int
    drawn: Drawn

    @property
    def score(self) -> float:
        return self.candidates.scores[self.chosen]


@dataclass(frozen=True, eq=False)
class Thing:
    """A kept object. `found_id` is its number where everything mode found it."""

    label: str
    colour: str
    score: float
    drawn: Drawn
    shown: bool = True
    found_id: int | None = None


@dataclass(frozen=True, eq=False)
class Desk:
    """A picture, the prompts with their answer, and the objects that were kept, the lowest first."""

    picture: Opened
    clicks: tuple[Click, ...] = ()
    corner: Point | None = None
    box: tuple[float, float, float, float] | None = None
    answer: Answer | None = None
    things: tuple[Thing, ...] = ()

    @property
    def prompts(self) -> Prompts:
        """What to ask the model. A click after the first corrects the mask that is shown."""
        points, labels = [(click.x, click.y) for click in self.clicks], [click.label for click in self.clicks]
        prompts = Prompts(points=points, labels=labels, box=self.box)
        if self.answer is None:
            return prompts
        return prompts.model_copy(update={"mask": self.answer.candidates.logits[self.answer.chosen][None]})

    def with_click(self, point: Point, kind: Kind) -> Desk:
        """The desk with one more click; the answer is the one before, to be corrected."""
        self.picture.require_inside(point)
        if kind == "remove" and self.answer is None:
            raise Refused("There is nothing to take away from yet; add to the mask first.")
        return replace(self, clicks=(*self.clicks, Click(*point, int(kind == "add"))), corner=None)

    def with_corner(self, point: Point) -> Desk:
        """The first corner waits for the second; the two make a box, which replaces an earlier one and its answer."""
        self.picture.require_inside(point)
        if self.corner is None:
            return replace(self, corner=point)
        (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(self.corner, point, strict=True))
        if x1 - x0 < 1 or y1 - y0 < 1:
            raise Refused("The two corners are the same place; set the second one elsewhere.")
        return replace(self, corner=None, box=(x0, y0, x1, y1), answer=None)

    def without_prompts(self) -> Desk:
        return replace(self, clicks=(), corner=None, box=None, answer=None)

    def with_thing(self, thing: Thing) -> Desk:
        return replace(self, things=(*self.things, thing))

    def keep(self, label: str) -> Desk:
        """The answer becomes an object, and the prompts are done with."""
        if self.answer is None:
            raise Refused("There is no mask to keep yet; click on the picture first.")
        thing = Thing(self.label_or_next(label), self.next_colour, self.answer.score, self.answer.drawn)
        return self.with_thing(thing).without_prompts()

    def relabel(self, index: int, label: str) -> Desk:
        thing = self.thing(index)
        return self._with_things([*self.things[:index], replace(thing, label=_label(label)), *self.things[index + 1 :]])

    def remove(self, index: int) -> Desk:
        self.thing(index)
        return self._with_things([*self.things[:index], *self.things[index + 1 :]])

    def show(self, indices: Sequence[int]) -> Desk:
        """Exactly these objects are shown and exported."""
        for index in indices:
            self.thing(index)
        return self._with_things([replace(thing, shown=at in indices) for at, thing in enumerate(self.things)])

    def thing(self, index: int) -> Thing:
        """Object `index`, from 0 on; Refused if there is none."""
        if not 0 <= index < len(self.things):
            raise Refused(f"There is no object {index + 1}; {len(self.things)} are kept.")
        return self.things[index]

    def label_or_next(self, label: str) -> str:
        """The label, or "object 3" where none is given."""
        return _label(label) if label.strip() else f"object {len(self.things) + 1}"

    @property
    def next_colour(self) -> str:
        """The colour that is used least."""
        uses = [sum(thing.colour == colour for thing in self.things) for colour in PALETTE]
        return PALETTE[uses.index(min(uses))]

    @property
    def exported(self) -> list[KeptObject]:
        """The objects that are shown; without any, the mask that is."""
        shown = [thing for thing in self.things if thing.shown]
        if not shown and self.answer is not None:
            shown = [Thing(self.label_or_next(""), self.next_colour, self.answer.score, self.answer.drawn)]
        return [KeptObject(thing.label, thing.drawn.mask, thing.colour, thing.score) for thing in shown]

    def _with_things(self, things: Sequence[Thing]) -> Desk:
        return replace(self, things=tuple(things))


def _label(given: str) -> str:
    label = " ".join(given.split())
    if not label or len(label) > LONGEST_LABEL or not label.isprintable():
        raise Refused(f"The label {given[:40]!r} cannot stand; use 1 to {LONGEST_LABEL} characters that can be seen.")
    return label
