"""A lane: a worker thread, or a few, and a bounded line of work before it, in turn between visitors."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from statistics import fmean
from typing import Any, TypeVar

from demo.problems import Busy, Problem, Stalled

Value = TypeVar("Value")

REPLACEMENTS = 2
"""Workers that may be lost to work that does not return; each keeps its memory, and a core if it is busy."""
CLOSING_S = 5
_REMEMBERED = 16
_THREADS = "demo lane: "


@dataclass(eq=False)
class _Piece:
    """Work in line."""

    work: Callable[[], Any]
    weight: int
    visitor: str
    future: Future = field(default_factory=Future)

    def fail(self, error: BaseException) -> None:
        """Tell who waits, unless nobody does or they have been told."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def finish(self, outcome: Any) -> None:
        """The same, with what came of it."""
        with suppress(InvalidStateError):
            self.future.set_result(outcome)


class Lane:
    """Runs work on one thread, or on `workers`: in turn between visitors, in order for each of them.

    Work has a weight; what would overfill the line is refused with Busy. So is what would leave less room free than its
    visitor then fills, so that there is room for the next visitor, however much one sends. Work that finds the line
    empty is always taken, however heavy.

    Work that has not returned after `deadline_s` seconds fails with Stalled, and another thread goes on with the rest.
    A thread cannot be ended from outside, so that this is done `REPLACEMENTS` times; then all is refused with Stalled
    until one of the lost threads comes back.

    Args:
        capacity: sum of the weights in line, what runs included.
        first_s: seconds that a piece is believed to take until one was measured; Retry-After is made of them.
        niceness: how far the thread steps back, 0 to 19, where the system can do so for a thread (Linux).
        workers: how many pieces run at once, for work that waits for other machines.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        first_s: float,
        deadline_s: float | None = None,
        niceness: int = 0,
        workers: int = 1,
    ) -> None:
        self.name, self.capacity, self.deadline_s, self.niceness = name, capacity, deadline_s, niceness
        self.workers = workers
        self._waiting: OrderedDict[str, deque[_Piece]] = OrderedDict()  # by visitor; the first has the next turn
        self._weights: Counter[str] = Counter()  # by visitor, what runs included
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._running: set[_Piece] = set()
        self._lost: set[threading.Thread] = set()
        self._first_s, self._seconds = first_s, deque[float](maxlen=_REMEMBERED)
        self._next_seat_at = 0.0
        self._refusal: Problem | None = None

    def __len__(self) -> int:
        """Pieces of work waiting or running."""
        with self._changed:
            return self._length()

    @property
    def lost(self) -> int:
        """Threads that have not come back from their work in time."""
        return len(self._lost)

    @property
    def stalled(self) -> bool:
        """Whether nothing can run any more."""
        return len(self._lost) > REPLACEMENTS

    def submit(self, work: Callable[..., Any], *arguments: Any, weight: int = 1, visitor: str = "") -> Future:
        """Queue `work(*arguments)`; raises Busy when its weight does not fit, Stalled when nothing runs any more.

        visitor: any name that tells one from another. Work of nobody in particular may fill the whole line.
        """
        piece = _Piece(lambda: work(*arguments), weight, visitor)
        with self._changed:
            self._require_room(piece)
            self._waiting.setdefault(visitor, deque()).append(piece)
            self._weights[visitor] += weight
            if len(self._threads) < min(self.workers, self._length()):
                self._start()
            self._changed.notify()
        return piece.future

    def require_room(self, *, weight: int = 1, visitor: str = "") -> None:
        """Raise what `submit` would raise now for work of such a weight."""
        with self._changed:
            self._require_room(_Piece(lambda: None, weight, visitor))

    def ahead_of(self, future: Future) -> int:
        """How many pieces end before this one begins, if nobody else comes; 0 for what runs or is done."""
        with self._changed:
            rounds = chain.from_iterable(zip_longest(*self._waiting.values()))
            futures = [piece.future for piece in rounds if piece is not None]
            if future not in futures:
                return 0
            return max(0, futures.index(future) + len(self._running) - self.workers + 1)

    def refuse(self, reason: Problem) -> None:
        """Fail what waits, what runs and whatever comes with `reason`: nobody waits for this lane any more."""
        with self._changed:
            self._refusal = self._refusal or reason
            dropped = [*self._drop_waiting(), *self._running]
            self._changed.notify_all()
        for piece in dropped:
            piece.fail(reason)

    def close(self) -> None:
        """Drop what waits, and wait for what runs: where a deadline says that it may never end, not for long."""
        self.refuse(Busy("the server is stopping", retry_after_s=1))
        for thread in tuple(self._threads):
            thread.join(None if self.deadline_s is None else CLOSING_S)

    # ---- the line; all with the lock held ---------------------------------------------------------

    def _length(self) -> int:
        return sum(map(len, self._waiting.values())) + len(self._running)

    def _require_room(self, piece: _Piece) -> None:
        if self._refusal is not None:
            raise self._refusal
        if self.stalled:
            raise self._stall()
        own, total = self._weights[piece.visitor], self._weights.total()
        free = self.capacity - total - piece.weight
        greedy = piece.visitor and own and free < own + piece.weight
        if self._length() and (free < 0 or greedy):
            raise self._busy(piece.visitor if greedy else "")

    def _busy(self, visitor: str) -> Busy:
        """Everyone who is sent away is told another time to come back: one piece after the other makes room."""
        now, length = time.monotonic(), self._length()
        piece_s = fmean(self._seconds or [self._first_s]) / self.workers
        own = len(self._waiting.get(visitor, ()))
        self._next_seat_at = min(max(self._next_seat_at, now) + piece_s, now + length * piece_s)
        detail = f"{length} in line to {self.name}" + (f", {own} of them yours" if visitor else "")
        return Busy(detail, retry_after_s=max(self._next_seat_at - now, 1), waiting=length)

    def _stall(self) -> Stalled:
        return Stalled(f"work to {self.name} does not come back", retry_after_s=self.deadline_s or 1)

    def _next(self) -> _Piece:
        visitor, line = next(iter(self._waiting.items()))
        piece = line.popleft()
        if line:
            self._waiting.move_to_end(visitor)
        else:
            del self._waiting[visitor]
        return piece

    def _leave(self, piece: _Piece) -> None:
        self._weights[piece.visitor] -= piece.weight
        if not self._weights[piece.visitor]:
            del self._weights[piece.visitor]

    def _drop_waiting(self) -> list[_Piece]:
        dropped = [piece for line in self._waiting.values() for piece in line]
        for piece in dropped:
            self._leave(piece)
        self._waiting.clear()
        return dropped

    # ---- the thread -------------------------------------------------------------------------------

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=_THREADS + self.name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        step_back(self.niceness)
        while self._run(self._take()):  # a thread that waits holds nothing of the piece before
            pass

    def _run(self, piece: _Piece | None) -> bool:
        """Whether there may be more to do."""
        if piece is None:
            return False
        started_at = time.monotonic()
        watch = self._watch(piece)
        try:
            outcome, error = piece.work(), None
        except Problem as problem:  # told to visitors, not traced: nothing of what it was about is held by it
            outcome, error = None, problem.with_traceback(None)
        except BaseException as raised:  # also SystemExit: the thread belongs to everybody
            outcome, error = None, raised
        if watch:
            watch.cancel()
        if not self._done(piece, time.monotonic() - started_at):
            return False
        if error is None:
            piece.finish(outcome)
        else:
            piece.fail(error)
        return True

    def _take(self) -> _Piece | None:
        with self._changed:
            while True:
                while not self._waiting:
                    if self._refusal is not None:
                        return None
                    self._changed.wait()
                piece = self._next()
                if piece.future.set_running_or_notify_cancel():
                    self._running.add(piece)
                    return piece
                self._leave(piece)  # whoever asked for it has taken it back

    def _done(self, piece: _Piece, seconds: float) -> bool:
        """Whether the piece came back in time; a thread that was given up makes room for another one."""
        with self._changed:
            if threading.current_thread() in self._lost:
                self._lost.discard(threading.current_thread())
                return False
            self._seconds.append(seconds)
            self._running.discard(piece)
            self._leave(piece)
            return True

    def _watch(self, piece: _Piece) -> threading.Timer | None:
        if self.deadline_s is None:
            return None
        timer = threading.Timer(self.deadline_s, self._give_up, [piece, threading.current_thread()])
        timer.daemon = True
        timer.start()
        return timer

    def _give_up(self, piece: _Piece, worker: threading.Thread) -> None:
        """The piece does not come back: its thread is left to itself, and another one takes its place."""
        with self._changed:
            if piece not in self._running:
                return
            self._running.discard(piece)
            self._leave(piece)
            self._threads.discard(worker)
            self._lost.add(worker)
            failed = [piece, *(self._drop_waiting() if self.stalled else [])]
            if not self.stalled:
                self._start()
        for each in failed:
            each.fail(self._stall())


def any_left() -> bool:
    """Whether work of any lane still runs. Threads inside of torch make a process crash when it ends around them."""
    return any(thread.name.startswith(_THREADS) for thread in threading.enumerate())


async def result(future: Future[Value]) -> Value:
    """Wait for shared work: a caller that is cancelled leaves the work to the others."""
    shared = asyncio.wrap_future(future)
    shared.add_done_callback(lambda done: done.cancelled() or done.exception())  # who has left asks nothing more
    return await asyncio.shield(shared)


def step_back(niceness: int) -> None:
    """Let other threads go first, and with this one those that it starts, where a thread can do so: on Linux."""
    if niceness and sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + niceness)
