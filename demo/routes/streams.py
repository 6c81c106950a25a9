"""Server-sent events: a stream that ends with its reader."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from demo.schemas import Event, EverythingUpdate

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def stream(first: Event, rest: AsyncGenerator[Event]) -> StreamingResponse:
    """Events as they come; `rest` is closed at the end, also when the reader has gone before."""
    return _EventStream(first, rest)


class _EventStream(StreamingResponse):
    def __init__(self, first: Event, rest: AsyncGenerator[Event]) -> None:
        super().__init__(_texts(first, rest), media_type="text/event-stream", headers=_HEADERS)
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`rest` is closed here: whoever leaves early may leave before anybody has asked it for an event."""
        async with aclosing(self._rest):
            await super().__call__(scope, receive, send)


async def _texts(first: Event, rest: AsyncIterator[Event]) -> AsyncIterator[str]:
    yield event_text(first)
    async for event in rest:
        yield event_text(event)


def event_text(event: Event) -> str:
    """One event on the wire."""
    return f"event: {event.name}\ndata: {json.dumps(event.data, separators=(',', ':'))}\n\n"


def update_event(update: EverythingUpdate) -> Event:
    """An update of everything mode."""
    return Event("update", asdict(update))
