"""What stands before Gradio: only routes of this page and its clients, bodies up to the limit, one's own files."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from posixpath import normpath

import gradio as gr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.gradio_app.visits import NO_VISITOR, owner_of
from demo.guard.bodies import limit_receive
from demo.guard.visitors import new_secret, visitor_of, with_cookie
from demo.problems import HttpProblem, Problem, TooManyBytes

_BEGINNINGS = ("", "/", "/config", "/config/")
_FILE = "/gradio_api/file="
_OPEN_ROUTES = {
    "GET": re.compile(
        r"/?|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static|svelte)/.*"
        r"|/gradio_api/(info|startup-events|theme\.css|queue/data|upload_progress|heartbeat/[^/]+)"
        r"|/gradio_api/call/\w+/\w+"
    ),
    "POST": re.compile(r"/gradio_api/(queue/join|upload|cancel|reset|call/\w+)"),
}


class Gate:
    """Answers 404 to everything that is not open, and gives every visitor a cookie that their files are bound to.

    visits: the folder in which every owner has one; gallery: pictures for everybody.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, visits: Path, gallery: Path) -> None:
        self.app, self.max_bytes = app, max_bytes
        self.visits, self.gallery = str(visits), str(gallery)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http" or not self._is_open(scope):
            raise HttpProblem(404, "Not Found")
        if (given := _declared_bytes(scope)) > self.max_bytes:
            raise TooManyBytes(self.max_bytes, given)
        if _route_path(scope) in _BEGINNINGS and not visitor_of(scope):
            send = with_cookie(scope, send, new_secret())
        await self._answer(_without_origin(scope), receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body that turns out too long or too slow is refused by us; what Gradio makes of that is not sent."""
        refused: list[Problem] = []
        counted = limit_receive(receive, self.max_bytes, self.max_bytes)

        async def receive_noting() -> Message:
            try:
                return await counted()
            except Problem as problem:
                refused.append(problem)
                raise

        async def send_unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        try:
            await self.app(scope, receive_noting, send_unless_refused)
        except BaseException:
            if not refused:
                raise
        if refused:
            raise refused[0]

    def _is_open(self, scope: Scope) -> bool:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = _route_path(scope)
        if method == "GET" and path.startswith(_FILE):
            return self._may_read(path.removeprefix(_FILE), visitor_of(scope))
        return method in _OPEN_ROUTES and _OPEN_ROUTES[method].fullmatch(path) is not None

    def _may_read(self, file: str, visitor: str) -> bool:
        """Whether a file is the visitor's own, one that no cookie could be kept for, or of the gallery."""
        owners = {NO_VISITOR, owner_of(visitor)}
        folders = [self.gallery, *(f"{self.visits}/{owner}" for owner in owners)]
        return normpath(file) == file and any(file.startswith(folder + "/") for folder in folders)


def _without_origin(scope: Scope) -> Scope:
    """Who asks has been checked; Gradio would let the pages of any origin read its answers."""
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"origin"]}


def _route_path(scope: Scope) -> str:
    return scope["path"].removeprefix(scope["root_path"])


def _declared_bytes(scope: Scope) -> int:
    declared = dict(scope["headers"]).get(b"content-length", b"")
    return int(declared) if declared.isdigit() else 0


def keep_inside(blocks: gr.Blocks, root: Path) -> None:
    """Any component takes whatever file or address a client names, before it looks at it; these take files of `root`.

    Gradio's own check of paths sleeps where its application is mounted in another one.
    """
    for block in blocks.blocks.values():
        block.async_move_resource_to_block_cache = partial(
            _only_inside, block.async_move_resource_to_block_cache, root.resolve()
        )


async def _only_inside(move, root: Path, given: str | os.PathLike | None) -> str | None:
    if given is not None and not Path(given).resolve().is_relative_to(root):
        raise gr.Error("Only uploaded files are opened; upload the picture.", print_exception=False)
    return await move(given)
