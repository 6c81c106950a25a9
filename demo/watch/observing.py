"""What was asked, as it is counted and logged: routes and statuses, never pictures, names or the hashes of either."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.answers import refused
from demo.guard.clients import client_of
from demo.guard.headers import GRADIO_PATH
from demo.guard.hosting import Hosting

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_MOUNTED = ("/static", GRADIO_PATH)


@dataclass(frozen=True)
class Asked:
    """A request that has ended.

    route: its template, "/api/images/{image_id}/decode"; "unknown" for an address that there is not, or where the
        request was refused before it was looked up.
    problem: the slug of the problem that it was refused with, before or after that; empty where it was not.
    first_s, seconds: until the answer began, and until it ended. status: 0 where the client left before.
    """

    method: str
    route: str
    status: int
    first_s: float
    seconds: float
    sent_bytes: int
    client: str
    problem: str


class Observed:
    """ASGI middleware that tells of every request once it has ended."""

    def __init__(self, app: ASGIApp, hosting: Hosting, tell: Sequence[Callable[[Asked], None]]) -> None:
        self.app, self.hosting, self.tell = app, hosting, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status, first_s, sent = time.monotonic(), 0, 0.0, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, first_s, sent
            if message["type"] == "http.response.start":
                status, first_s = message["status"], time.monotonic() - began
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except Exception:
            status = status or 500  # Starlette answers outside of every middleware
            raise
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            seconds = time.monotonic() - began
            asked = Asked(
                method=method,
                route=self._route(scope),
                status=status,
                first_s=first_s or seconds,
                seconds=seconds,
                sent_bytes=sent,
                client=client_of(scope),
                problem=refused(scope),
            )
            for each in self.tell:
                each(asked)

    def _route(self, scope: Scope) -> str:
        if route := getattr(scope.get("route"), "path", None):
            return route
        path = self.hosting.route_path(scope["path"])
        return next((mount for mount in _MOUNTED if path.startswith(mount + "/")), "unknown")
