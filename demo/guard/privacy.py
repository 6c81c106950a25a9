"""`--private`: a picture is there for the visitor who uploaded it, and for nobody else.

Its name is made of its bytes and of the visitor's secret, so that the same picture of two visitors is two pictures:
neither can learn from an answer, nor from the time that it takes, whether the other has it. A name shows whose it is
to whoever has the secret: every route with an `image_id` asks for that, and answers others as if there were no such
picture.
"""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.guard.headers import GRADIO_PATH
from demo.guard.hosting import Hosting
from demo.guard.visitors import new_secret, visitor_of, with_cookie
from demo.pictures import is_picture_of
from demo.problems import UnknownPicture

_OWN = ("/api/images", "/api/embeddings")
_VISITOR = "visitor"


class PrivateVisits:
    """ASGI middleware that gives every visitor a secret, and leaves nothing of theirs in a cache."""

    def __init__(self, app: ASGIApp, hosting: Hosting) -> None:
        self.app, self.hosting = app, hosting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self.hosting.route_path(scope["path"]) if scope["type"] == "http" else GRADIO_PATH
        if path.startswith(GRADIO_PATH):  # has a gate of its own
            return await self.app(scope, receive, send)
        visitor = visitor_of(scope)
        if not visitor and (path == "/" or (scope["method"], path) == ("POST", "/api/images")):
            visitor = new_secret()
            send = with_cookie(scope, send, visitor)
        if path.startswith(_OWN):
            send = _uncached(send)
        scope.setdefault("state", {})[_VISITOR] = visitor
        await self.app(scope, receive, send)


def owner_of(request: Request) -> str:
    """The secret of whoever asks; empty where nothing is private."""
    return request.scope.get("state", {}).get(_VISITOR, "")


def require_owner(request: Request) -> None:
    """Refuse a picture of another visitor, as one that was never here."""
    image_id = request.path_params.get("image_id")
    if image_id is not None and not is_picture_of(image_id, owner_of(request)):
        raise UnknownPicture("it was never uploaded here, or made room for others", id=image_id)


def _uncached(send: Send) -> Send:
    async def send_uncached(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Cache-Control"] = "private, no-store"
            del headers["ETag"]
        await send(message)

    return send_uncached
