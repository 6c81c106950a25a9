"""A lane: a worker thread, or a few, and a bounded line of work before it, in turn between visitors."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from demo.line import Line, Piece
from demo.problems import Busy, Problem, Stalled

Value = TypeVar("Value")

REPLACEMENTS = 2
"""Workers that may be lost to work that does not return; each keeps its memory, and a core if it is busy."""
CLOSING_S = 5
DRAINED_S = 0.5
"""Whoever waited for what still runs after a drain has been answered."""
_THREADS = "demo lane: "


@dataclass(frozen=True)
class _Drain:
    """Nothing is begun that would not have ended `at` (monotonic seconds); who asked for it is told `reason`."""

    at: float
    reason: Problem


class Lane:
    """Runs work on one thread, or on `workers`: in turn between visitors, in order for each of them.

    Work has a weight; what would overfill the line is refused with Busy. So is what would leave less room free than its
    visitor then fills, so that there is room for the next visitor, however much one sends; and what would wait too long
    for its turn, which is longer for who has much in line. Work that finds the line empty is always taken.

    Work that has not returned after `deadline_s` seconds fails with Stalled, and another thread goes on with the rest.
    A thread cannot be ended from outside, so that this is done `REPLACEMENTS` times; then all is refused with Stalled
    until one of the lost threads comes back.

    Args:
        capacity: sum of the weights in line, what runs included.
        first_s: seconds that a piece is believed to take until one was measured; Retry-After is made of them.
        longest_wait_s: until a piece begins, as far as can be told when it comes.
        niceness: how far the thread steps back, 0 to 19, where the system can do so for a thread (Linux).
        workers: how many pieces run at once, for work that waits for other machines.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        first_s: float,
        longest_wait_s: float = math.inf,
        deadline_s: float | None = None,
        niceness: int = 0,
        workers: int = 1,
    ) -> None:
        self.name, self.deadline_s, self.niceness = name, deadline_s, niceness
        self._line = Line(capacity=capacity, longest_wait_s=longest_wait_s, first_s=first_s, workers=workers)
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._lost: set[threading.Thread] = set()
        self._next_seat_at = 0.0
        self._drain: _Drain | None = None
        self._refusal: Problem | None = None

    def __len__(self) -> int:
        """Pieces of work waiting or running."""
        with self._changed:
            return len(self._line)

    @property
    def lost(self) -> int:
        """Threads that have not come back from their work in time."""
        return len(self._lost)

    @property
    def stalled(self) -> bool:
        """Whether nothing can run any more."""
        return len(self._lost) > REPLACEMENTS

    def submit(
        self,
        work: Callable[..., Any],
        *arguments: Any,
        weight: int = 1,
        visitor: str = "",
        expected_s: float | None = None,
    ) -> Future:
        """Queue `work(*arguments)`; raises Busy when there is no room, Stalled when nothing runs any more.

        visitor: any name that tells one from another. Work of nobody in particular may fill the whole line.
        expected_s: how long it takes, where that is known better than from the work before it.
        """
        piece = Piece(lambda: work(*arguments), weight, visitor, expected_s)
        with self._changed:
            self._require_room(piece)
            self._line.add(piece)
            if len(self._threads) < min(self._line.workers, len(self._line)):
                self._start()
            self._changed.notify()
        return piece.future

    def require_room(self, *, weight: int = 1, visitor: str = "") -> None:
        """Raise what `submit` would raise now for work of such a weight."""
        with self._changed:
            self._require_room(Piece(lambda: None, weight, visitor))

    def ahead_of(self, future: Future) -> int:
        """How many pieces end before this one begins, if nobody else comes; 0 for what runs or is done."""
        with self._changed:
            futures = [piece.future for piece in self._line.turns()]
            if future not in futures:
                return 0
            return max(0, futures.index(future) + len(self._line.running) - self._line.workers + 1)

    def drain(self, until: float, reason: Problem) -> None:
        """From now on begin only what will have ended by then (monotonic seconds); the rest fails with `reason`."""
        with self._changed:
            self._drain = _Drain(until, reason)

    def refuse(self, reason: Problem) -> None:
        """Fail what waits, what runs and whatever comes with `reason`: nobody waits for this lane any more."""
        with self._changed:
            self._refusal = self._refusal or reason
            dropped = [*self._line.drop(), *self._line.running]
            self._changed.notify_all()
        for piece in dropped:
            piece.fail(reason)

    def close(self) -> None:
        """Drop what waits, and wait for what runs: not for long where it may never end, less where time was given."""
        self.refuse(Busy("the server is stopping", retry_after_s=1))
        may_not_end = None if self.deadline_s is None else CLOSING_S
        for thread in tuple(self._threads):
            thread.join(may_not_end if self._drain is None else DRAINED_S)

    # ---- the line; all with the lock held ---------------------------------------------------------

    def _require_room(self, piece: Piece) -> None:
        if self._refusal is not None:
            raise self._refusal
        if self.stalled:
            raise self._stall()
        if not self._line.has_room(piece):
            raise self._busy(piece)

    def _busy(self, piece: Piece) -> Busy:
        """Everyone who is sent away is told another time to come back: one piece after the other makes room."""
        now, line = time.monotonic(), [*self._line.running, *self._line.turns()]
        soonest, latest = now + self._line.room_in_s(piece), now + self._line.seconds(*line)
        self._next_seat_at = min(max(self._next_seat_at + self._line.seconds(piece), soonest), latest)
        own = sum(bool(piece.visitor) and each.visitor == piece.visitor for each in line)
        detail = f"{len(line)} in line to {self.name}" + (f", {own} of them yours" if own else "")
        detail += f"; one more would wait {self._line.wait_s(piece.visitor):.0f} seconds"
        return Busy(detail, retry_after_s=max(self._next_seat_at - now, 1), waiting=len(line))

    def _stall(self) -> Stalled:
        return Stalled(f"work to {self.name} does not come back", retry_after_s=self.deadline_s or 1)

    # ---- the thread -------------------------------------------------------------------------------

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=_THREADS + self.name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        step_back(self.niceness)
        while self._run(self._take()):  # a thread that waits holds nothing of the piece before
            pass

    def _run(self, piece: Piece | None) -> bool:
        """Whether there may be more to do."""
        if piece is None:
            return False
        if (reason := self._too_late_for(piece)) is not None:
            piece.fail(reason)
            return True
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

    def _take(self) -> Piece | None:
        with self._changed:
            while True:
                while (piece := self._line.begin()) is None:
                    if self._refusal is not None:
                        return None
                    self._changed.wait()
                if piece.future.set_running_or_notify_cancel():
                    return piece
                self._line.end(piece)  # whoever asked for it has taken it back

    def _too_late_for(self, piece: Piece) -> Problem | None:
        """Why the piece is not begun any more; it leaves the line."""
        with self._changed:
            if self._drain is None or time.monotonic() + self._line.expected_s(piece) <= self._drain.at:
                return None
            self._line.end(piece)
            return self._drain.reason

    def _done(self, piece: Piece, seconds: float) -> bool:
        """Whether the piece came back in time; a thread that was given up makes room for another one."""
        with self._changed:
            if threading.current_thread() in self._lost:
                self._lost.discard(threading.current_thread())
                return False
            self._line.learn(seconds)
            self._line.end(piece)
            return True

    def _watch(self, piece: Piece) -> threading.Timer | None:
        if self.deadline_s is None:
            return None
        timer = threading.Timer(self.deadline_s, self._give_up, [piece, threading.current_thread()])
        timer.daemon = True
        timer.start()
        return timer

    def _give_up(self, piece: Piece, worker: threading.Thread) -> None:
        """The piece does not come back: its thread is left to itself, and another one takes its place."""
        with self._changed:
            if piece not in self._line.running:
                return
            self._line.end(piece)
            self._threads.discard(worker)
            self._lost.add(worker)
            failed = [piece, *(self._line.drop() if self.stalled else [])]
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
