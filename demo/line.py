"""A line of work, in turn between visitors: whose piece is next, what there is room for, and how long it would wait."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from statistics import fmean
from typing import Any

_REMEMBERED = 16


@dataclass(eq=False)
class Piece:
    """Work in line. expected_s: seconds that it is believed to take, where more is known than its line has learned."""

    work: Callable[[], Any]
    weight: int = 1
    visitor: str = ""
    expected_s: float | None = None
    future: Future = field(default_factory=Future)

    def fail(self, error: BaseException) -> None:
        """Tell who waits, unless nobody does or they have been told."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def finish(self, outcome: Any) -> None:
        """The same, with what came of it."""
        with suppress(InvalidStateError):
            self.future.set_result(outcome)


class Line:
    """Pieces that run or wait: visitor after visitor, in order for each of them. Not for several threads.

    Args:
        capacity: sum of the weights in line, what runs included.
        longest_wait_s: what would begin later than this is not taken.
        first_s: seconds that a piece is believed to take until one was measured.
        workers: how many pieces run at once.
    """

    def __init__(self, *, capacity: int, longest_wait_s: float = math.inf, first_s: float, workers: int = 1) -> None:
        self.capacity, self.longest_wait_s, self.workers = capacity, longest_wait_s, workers
        self.running: list[Piece] = []
        self._waiting: OrderedDict[str, deque[Piece]] = OrderedDict()  # by visitor; the first has the next turn
        self._first_s, self._seconds = first_s, deque[float](maxlen=_REMEMBERED)

    def __len__(self) -> int:
        """Pieces that run or wait."""
        return len(self.running) + sum(map(len, self._waiting.values()))

    # ---- coming and going -------------------------------------------------------------------------

    def add(self, piece: Piece) -> None:
        """To the end of its visitor's own line; whoever had none has the last turn."""
        self._waiting.setdefault(piece.visitor, deque()).append(piece)

    def begin(self) -> Piece | None:
        """The next piece, which runs from now on; None where nothing waits."""
        if not self._waiting:
            return None
        visitor, own = next(iter(self._waiting.items()))
        piece = own.popleft()
        if own:
            self._waiting.move_to_end(visitor)
        else:
            del self._waiting[visitor]
        self.running.append(piece)
        return piece

    def end(self, piece: Piece) -> None:
        """It runs no more."""
        self.running.remove(piece)

    def drop(self) -> list[Piece]:
        """All that waits, which leaves."""
        dropped = self.turns()
        self._waiting.clear()
        return dropped

    def learn(self, seconds: float) -> None:
        """A piece took this long."""
        self._seconds.append(seconds)

    # ---- what is expected, if nobody else comes ---------------------------------------------------

    def turns(self) -> list[Piece]:
        """What waits, as it begins."""
        lines, order = [list(own) for own in self._waiting.values()], []
        for turn in count():
            lines = [own for own in lines if len(own) > turn]
            if not lines:
                return order
            order += [own[turn] for own in lines]

    def seconds(self, *pieces: Piece) -> float:
        """Until all of these have ended, shared by the workers."""
        return sum(map(self.expected_s, pieces)) / self.workers

    def expected_s(self, piece: Piece) -> float:
        """Seconds that a piece takes."""
        return fmean(self._seconds or [self._first_s]) if piece.expected_s is None else piece.expected_s

    def wait_s(self, visitor: str, *, ended: int = 0) -> float:
        """Seconds until one more piece of a visitor begins, when `ended` of those in line have ended.

        As many as it takes with one worker, counted from where what runs began; with more, at most.
        """
        running, waiting = self._left(ended)
        before = [*running, *_before_next(visitor, waiting)]
        return self.seconds(*before) if len(before) >= self.workers else 0.0

    def has_room(self, piece: Piece, *, ended: int = 0) -> bool:
        """Whether `piece` is taken, when `ended` of those in line have ended."""
        there = [each for part in self._left(ended) for each in part]
        own = sum(each.weight for each in there if each.visitor == piece.visitor)
        free = self.capacity - sum(each.weight for each in there) - piece.weight
        is_greedy = piece.visitor and own and free < own + piece.weight
        fits = free >= 0 and not is_greedy and self.wait_s(piece.visitor, ended=ended) <= self.longest_wait_s
        return fits or not there

    def room_in_s(self, piece: Piece) -> float:
        """Seconds until `piece` is taken, if it comes then."""
        ended = bisect_left(range(len(self)), True, key=lambda ended: self.has_room(piece, ended=ended))
        return self.seconds(*[*self.running, *self.turns()][:ended])

    def _left(self, ended: int) -> tuple[list[Piece], list[Piece]]:
        """What runs and what waits, when so many have ended and the next have begun."""
        left = [*self.running, *self.turns()][ended:]
        return left[: self.workers], left[self.workers :]


def _before_next(visitor: str, waiting: Sequence[Piece]) -> list[Piece]:
    """What begins before one more piece of a visitor: all up to the visitor's last, and then one of each other's."""
    begun = max((place for place, piece in enumerate(waiting, 1) if piece.visitor == visitor), default=0)
    once_each = {piece.visitor: piece for piece in reversed(waiting[begun:])}
    return [*waiting[:begun], *once_each.values()]
