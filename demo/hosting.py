"""How the server is reached: under which prefix, who may frame its page, and who sends the isolation headers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d+)?")


@dataclass(frozen=True)
class Hosting:
    """What stands between the server and its visitors; by default nothing. Raises ValueError naming what is wrong.

    Args:
        root_path: the prefix that a reverse proxy mounts the server under, "/some/prefix", whether or not it strips it.
        frame_ancestors: origins whose pages may show ours in a frame, separated by spaces; none by default.
        isolation_headers: whether the server sends the headers that isolate its page and so give it threads. Where
            a proxy adds them, it must not: sent twice, browsers ignore them.
    """

    root_path: str = ""
    frame_ancestors: str = ""
    isolation_headers: bool = True

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.root_path):
            raise ValueError(f"root-path is {self.root_path!r}; it looks like /some/prefix, without a slash at the end")
        for origin in self.frame_ancestors.split():
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"frame-ancestors has {origin!r}; origins look like https://example.org")

    def route_path(self, path: str) -> str:
        """`path` without the prefix, "/" where nothing else is left of it."""
        return (path.removeprefix(self.root_path) or "/") if self.is_under_root(path) else path

    def is_under_root(self, path: str) -> bool:
        return path == self.root_path or path.startswith(self.root_path + "/")


DIRECT = Hosting()
"""Nothing stands in between."""


class UnderRootPath:
    """ASGI middleware: a proxy strips its prefix or leaves it, and inside every path has it, as ASGI wants.

    The prefix itself leads to the page with a slash, which the page's relative addresses need.
    """

    def __init__(self, app: ASGIApp, hosting: Hosting) -> None:
        self.app, self.hosting = app, hosting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = self.hosting.root_path
        if scope["type"] == "http" and prefix:
            if scope["path"] == prefix:
                return await RedirectResponse(prefix + "/")(scope, receive, send)
            stripped = not self.hosting.is_under_root(scope["path"])
            scope = {**scope, "root_path": prefix, "path": prefix * stripped + scope["path"]}
        await self.app(scope, receive, send)
