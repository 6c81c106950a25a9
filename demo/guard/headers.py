"""Security headers on every answer: one set for our page, a looser one for the fallback UI."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.guard.hosting import DIRECT, Hosting

GRADIO_PATH = "/gradio"

_PAGE_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self'",
    "img-src": "'self' blob: data:",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
# Gradio's page has inline scripts, compiles templates at run time and styles elements in place.
_GRADIO_POLICY = {
    **_PAGE_POLICY,
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "font-src": "'self' data:",
    "worker-src": "'self' blob:",
    "base-uri": "'self'",
    "form-action": "'self'",
}
_DOCUMENTS = ("/", GRADIO_PATH + "/")
_EVERYWHERE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def security_headers(path: str, hosting: Hosting) -> dict[str, str]:
    """The headers of an answer to `path`, which has no prefix."""
    policy = _GRADIO_POLICY if _is_gradio(path) else _PAGE_POLICY
    policy = {**policy, "frame-ancestors": hosting.frame_ancestors or "'none'"}
    directives = "; ".join(f"{name} {value}" for name, value in policy.items())
    isolation = _isolation(path, hosting) if hosting.isolation_headers else {}
    return {**_EVERYWHERE, **isolation, "Content-Security-Policy": directives}


def _isolation(path: str, hosting: Hosting) -> dict[str, str]:
    """An isolated page frames only what consents, so a page that may be framed consents; its files need not."""
    framed = hosting.frame_ancestors and path in _DOCUMENTS
    return {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "cross-origin" if framed else "same-origin",
    }


class SecurityHeaders:
    """ASGI middleware that adds `security_headers`; streams pass through untouched."""

    def __init__(self, app: ASGIApp, hosting: Hosting = DIRECT) -> None:
        self.app, self.hosting = app, hosting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = security_headers(self.hosting.route_path(scope["path"]), self.hosting)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _is_gradio(path: str) -> bool:
    return path == GRADIO_PATH or path.startswith(GRADIO_PATH + "/")
