"""Server-sent events: a stream that ends with its reader."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import asdict

from fastapi.responses import StreamingResponse

from demo.schemas import Event, EverythingUpdate

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def stream(first: Event, rest: AsyncIterator[Event]) -> StreamingResponse:
    """Events as they come; `rest` is closed at the end, also when the reader has gone before."""

    async def texts() -> AsyncIterator[str]:
        async with aclosing(rest) as events:
            yield event_text(first)
            async for event in events:
                yield event_text(event)

    return StreamingResponse(texts(), media_type="text/event-stream", headers=_HEADERS)


def event_text(event: Event) -> str:
    """One event on the wire."""
    return f"event: {event.name}\ndata: {json.dumps(event.data, separators=(',', ':'))}\n\n"


def update_event(update: EverythingUpdate) -> Event:
    """An update of everything mode."""
    return Event("update", asdict(update))
