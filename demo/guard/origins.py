"""Requests that a page of another site had a visitor's browser make are refused.

Names: whoever owns a domain can point it at 127.0.0.1, and a page of theirs is then of the same origin as our server
(DNS rebinding); but it asks by their name, which is not ours. Origins: a page elsewhere can send forms and pictures
here, though it cannot read the answers; browsers say whose page asks, in Sec-Fetch-Site or at least in Origin. What
says neither is no browser and passes. What they would show as a part of themselves is not served either.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from demo.answers import Refusal
from demo.guard.hosting import Hosting
from demo.problems import OtherHost, OtherSite, Problem

_CHANGE_NOTHING = ("GET", "HEAD", "OPTIONS")
_OWN_SITES = ("same-origin", "none")  # "none": the visitor's own doing, as an address that was typed
_DEFAULT_PORTS = {"http": 80, "https": 443}


class OwnOrigin:
    """ASGI middleware that lets through what names the server by a name of its own, and changes by its own pages."""

    def __init__(self, app: ASGIApp, hosting: Hosting) -> None:
        self.app, self.hosting = app, hosting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope) if scope["type"] == "http" else None
        await (Refusal(problem) if problem else self.app)(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        for host in (headers.get("host", ""), *_forwarded(headers)):
            if not self.hosting.serves(host):
                return OtherHost(host)
        if scope["method"] not in _CHANGE_NOTHING and not self._is_own(headers):
            return OtherSite(headers.get("origin", ""))
        if _is_read_elsewhere(headers):
            return OtherSite(headers.get("origin", ""))
        return None

    def _is_own(self, headers: Headers) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and self.hosting.is_named(origin.partition("://")[2]):
            return True  # by a name without a port: a proxy may have changed Host
        if site is not None:
            return site in _OWN_SITES
        return origin is None or is_at(origin, headers.get("host", ""))


def _is_read_elsewhere(headers: Headers) -> bool:
    """Whether a page of another site asks for a part of itself; following a link, or showing a frame, is another thing.

    It could not read the answer, but an answer may cost an encode.
    """
    mode, site = headers.get("sec-fetch-mode", "navigate"), headers.get("sec-fetch-site", "none")
    return mode != "navigate" and site not in _OWN_SITES


def _forwarded(headers: Headers) -> list[str]:
    """Hosts in X-Forwarded-Host, of which Gradio makes addresses, whoever sent it."""
    values = ",".join(headers.getlist("x-forwarded-host")).split(",")
    return [value.strip() for value in values if value.strip()]


def is_at(origin: str, host: str) -> bool:
    """Whether a page of `origin`, "https://example.org", is of the server that was asked as `host`, "example.org"."""
    try:
        page, asked = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(page.scheme)
        return default is not None and (page.hostname, page.port or default) == (asked.hostname, asked.port or default)
    except ValueError:  # a port that is none
        return False
