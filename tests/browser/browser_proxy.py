"""A reverse proxy on a loopback port, as hosts put one before the server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "host"}
_METHODS = ["GET", "HEAD", "POST"]


def reverse_proxy(upstream: str, prefix: str = "", *, strips: bool = False, adds: Mapping[str, str] | None = None):
    """An app that hands what lies under `prefix` to `upstream`, with or without it, and adds headers to answers.

    Added headers come beside those of the server. As most proxies do, it tells the host that the visitor asked for.
    """
    fresh = httpx.Limits(max_keepalive_connections=0)  # one that is kept may be closed in the moment it is asked again
    client = httpx.AsyncClient(base_url=upstream, timeout=None, trust_env=False, limits=fresh)

    async def forward(request: Request) -> Response:
        path = request.url.path
        if not path.startswith(prefix + "/"):
            return Response(f"nothing here but {prefix}/", 404)
        if strips:
            path = path.removeprefix(prefix)
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP]
        headers += [("x-forwarded-host", request.headers["host"]), ("x-forwarded-proto", "http")]
        address = httpx.URL(path=path, query=request.url.query.encode())
        asked = client.build_request(request.method, address, headers=headers, content=request.stream())
        answer = await client.send(asked, stream=True)
        close = BackgroundTask(answer.aclose)
        reply = StreamingResponse(answer.aiter_raw(), answer.status_code, background=close)
        kept = [pair for pair in answer.headers.raw if pair[0].decode().lower() not in _HOP_BY_HOP]
        added = [(name.encode(), value.encode()) for name, value in (adds or {}).items()]
        reply.raw_headers = kept + added
        return reply

    return Starlette(routes=[Route("/{path:path}", forward, methods=_METHODS)])


@contextmanager
def serving(app, host: str = "127.0.0.1") -> Iterator[str]:
    """The app on a free port, by its address with a slash at the end."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://{host}:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(20)
