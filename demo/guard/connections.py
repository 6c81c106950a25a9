"""Connections that are used to hold the server up are ended: heads and bodies that trickle in, answers nobody reads.

uvicorn ends a connection that is idle between two requests; it waits for ever for the rest of a request that began, and
for a reader of what it wrote. A body's own deadline is `demo.guard.bodies`', which can still answer with a problem.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True)
class Patience:
    """How long the server waits.

    Args:
        head_s: for a request's head, and for the rest of a body that was answered without being read.
        stall_s: for a reader, who must take `least_bytes` in that time or the rest of what waits for them.
        least_bytes: a kilobyte a second, by default.
    """

    head_s: float = 20
    stall_s: float = 30
    least_bytes: int = 30_000


MOST_CONNECTIONS = 1000
"""More are answered with 503 until some end."""
LONGEST_HEAD = 32 * 1024
"""Bytes; what is longer is answered with 400."""


class Connection(H11Protocol):
    """uvicorn's own HTTP/1.1 protocol, with an end to its patience."""

    patience = Patience()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head: TimerHandle | None = None
        self._stall: TimerHandle | None = None

    # ---- what comes in ----------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def connection_lost(self, error: Exception | None) -> None:
        for timer in (self._head, self._stall):
            if timer:
                timer.cancel()
        super().connection_lost(error)

    def _expect_head(self) -> None:
        """Wait for what nobody can be answered without, from its first byte on; between two requests uvicorn waits."""
        if not self._owes_us():
            if self._head:
                self._head.cancel()
            self._head = None
        elif self._head is None:
            self._head = self.loop.call_later(self.patience.head_s, self.transport.abort)

    def _owes_us(self) -> bool:
        answered = self.conn.our_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        return self.conn.their_state is h11.IDLE or (answered and self.conn.their_state is h11.SEND_BODY)

    # ---- what goes out ----------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall and not self.transport.is_closing():
            self._stall.cancel()
            self._stall = None

    def timeout_keep_alive_handler(self) -> None:
        """Between two requests for too long; closing waits until what was written is read."""
        super().timeout_keep_alive_handler()
        if self._stall is None:
            self._expect_reader()

    def _expect_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(self.patience.stall_s, self._end_unless_read, waiting)

    def _end_unless_read(self, waiting: int) -> None:
        if waiting - self.transport.get_write_buffer_size() < self.patience.least_bytes:
            self.transport.abort()
        else:
            self._expect_reader()
