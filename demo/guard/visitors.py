"""Visitors: told apart by a secret that their browser keeps, in a cookie that no script reads and no other site has."""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

COOKIE = "sam_visitor"
_SECURE_PREFIX = "__Host-"
"""Under TLS; then no neighbouring host can set the cookie for ours."""


def visitor_of(scope: Scope) -> str:
    """The secret that a visitor's browser keeps; empty for one that keeps none."""
    header = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    try:
        cookies = SimpleCookie(header.decode("latin-1"))
    except CookieError:
        return ""
    name = _cookie_name(scope)
    return cookies[name].value if name in cookies else ""


def with_cookie(scope: Scope, send: Send, secret: str) -> Send:
    """A `send` that gives the visitor a cookie; in a frame of another site browsers keep one over HTTPS only."""
    where = "SameSite=None; Secure; Partitioned" if _is_secure(scope) else "SameSite=Lax"
    cookie = f"{_cookie_name(scope)}={secret}; HttpOnly; Path=/; {where}"

    async def send_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("Set-Cookie", cookie)
        await send(message)

    return send_cookie


def new_secret() -> str:
    """128 bits that nobody guesses."""
    return secrets.token_urlsafe(16)


def _cookie_name(scope: Scope) -> str:
    return _SECURE_PREFIX + COOKIE if _is_secure(scope) else COOKIE


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") == "https"
