"""How the server is reached: under which names and prefix, who may frame its page, who sends the isolation headers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d*)?")
_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d+)?")


ANY_HOST = "*"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""No domain of anybody's leads a browser to these."""


@dataclass(frozen=True)
class Hosting:
    """What stands between the server and its visitors; by default nothing. Raises ValueError naming what is wrong.

    Args:
        root_path: the prefix that a reverse proxy mounts the server under, "/some/prefix", whether or not it strips it.
        frame_ancestors: origins whose pages may show ours in a frame, separated by spaces; none by default.
        isolation_headers: whether the server sends the headers that isolate its page and so give it threads. Where
            a proxy adds them, it must not: sent twice, browsers ignore them.
        hosts: names that the server goes by, beside those of this machine's loopback and its address; "*" for any,
            "*.example.org" for all below one.
        address: what it is bound to.
    """

    root_path: str = ""
    frame_ancestors: str = ""
    isolation_headers: bool = True
    hosts: tuple[str, ...] = (ANY_HOST,)
    address: str = ""

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.root_path):
            raise ValueError(f"root-path is {self.root_path!r}; it looks like /some/prefix, without a slash at the end")
        for origin in self.frame_ancestors.split():
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"frame-ancestors has {origin!r}; origins look like https://example.org")
        for host in self.hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"allowed-hosts has {host!r}; hosts look like example.org, *.example.org or [fd00::1]")

    @property
    def serves_any_host(self) -> bool:
        return ANY_HOST in self.hosts

    def serves(self, host: str) -> bool:
        """Whether a request for `host`, as the header Host has it, is for this server."""
        bound = f"[{self.address}]" if ":" in self.address else self.address
        return self.serves_any_host or host_name(host) in (*LOOPBACK_NAMES, bound) or self.is_named(host_name(host))

    def is_named(self, name: str) -> bool:
        """Whether a name is among `hosts`, "*" aside."""
        return any(
            name.endswith(own[1:].lower()) if own.startswith("*.") else name == own.lower()
            for own in self.hosts
            if own != ANY_HOST
        )

    def route_path(self, path: str) -> str:
        """`path` without the prefix, "/" where nothing else is left of it."""
        return (path.removeprefix(self.root_path) or "/") if self.is_under_root(path) else path

    def is_under_root(self, path: str) -> bool:
        return path == self.root_path or path.startswith(self.root_path + "/")


def host_name(host: str) -> str:
    """The name or address in a header Host, without its port, as names are compared; empty where it has none."""
    found = _AUTHORITY.fullmatch(host)
    return found[1].lower().removesuffix(".") if found else ""


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
