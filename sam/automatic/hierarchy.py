"""Whole, part, sub-part: records as a tree, in which a mask hangs below the smallest that contains it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .candidates import Record
from .filters import overlap, runs_of

CONTAINED = 0.9
"""The share of a part's pixels that lie in its whole; borders of masks rarely agree to the pixel."""


@dataclass(eq=False)
class Node:
    """A record, its number among all records, its parts, largest first, and how deep it lies: 0 for a whole."""

    record: Record
    number: int
    level: int = 0
    parts: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This one, then everything below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


def tree(records: Sequence[Record], contained: float = CONTAINED) -> list[Node]:
    """The wholes, largest first, with their parts below them.

    A mask is part of another when that is larger and at least the share `contained` of the mask's pixels lie in it; of
    several the smallest is its parent. Of equally large masks the earlier counts as larger.
    """
    if not 0.5 < contained <= 1:
        raise ValueError(f"contained {contained} must lie in (0.5, 1]; a mask of which less lies inside is no part")
    order = sorted(range(len(records)), key=lambda index: (-records[index]["area"], index))
    runs = {index: runs_of(records[index]) for index in order}
    nodes = {index: Node(records[index], index) for index in order}
    wholes = []
    for place, index in enumerate(order):
        parent = _smallest_around(index, order[:place], records, runs, contained)
        if parent is None:
            wholes.append(nodes[index])
        else:
            nodes[index].level = nodes[parent].level + 1
            nodes[parent].parts.append(nodes[index])
    return wholes


def _smallest_around(
    index: int, larger: Sequence[int], records: Sequence[Record], runs: dict[int, np.ndarray], contained: float
) -> int | None:
    needed = contained * records[index]["area"]
    around = (other for other in reversed(larger) if overlap(runs[index], runs[other]) >= needed)
    return next(around, None) if records[index]["area"] else None
