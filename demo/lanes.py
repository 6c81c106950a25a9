"""A lane: one worker thread and a bounded line of work before it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from demo.problems import Busy

Value = TypeVar("Value")


class Lane:
    """Runs work in order on one thread. Work has a weight; what would overfill the line is refused with Busy.

    A piece of work that finds the line empty is always taken, however heavy.
    """

    def __init__(self, name: str, *, capacity: int, retry_after_s: float) -> None:
        self.name, self.capacity, self.retry_after_s = name, capacity, retry_after_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"demo-{name}")
        self._lock = threading.Lock()
        self._weight = 0
        self._length = 0

    def __len__(self) -> int:
        """Pieces of work waiting or running."""
        return self._length

    def submit(self, work: Callable[..., Any], *arguments: Any, weight: int = 1) -> Future:
        """Queue `work(*arguments)`; raises Busy when its weight does not fit."""
        with self._lock:
            if self._length and self._weight + weight > self.capacity:
                detail = f"{self._length} in line to {self.name}"
                raise Busy(detail, retry_after_s=self.retry_after_s, waiting=self._length)
            self._weight += weight
            self._length += 1
        future = self._executor.submit(work, *arguments)
        future.add_done_callback(lambda _: self._leave(weight))
        return future

    def close(self) -> None:
        """Drop what waits and wait for what runs."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _leave(self, weight: int) -> None:
        with self._lock:
            self._weight -= weight
            self._length -= 1


async def result(future: Future[Value]) -> Value:
    """Wait for shared work: a caller that is cancelled leaves the work to the others."""
    return await asyncio.shield(asyncio.wrap_future(future))
