"""A small server for the benchmark's page: the page's own files, and bytes that a run hands out."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from demo.guard.headers import SecurityHeaders
from demo.routes.page import VENDOR_HINT, StaticPage, static_folder, vendor_is_built

PAGE = "demo/bench/page/bench.html"
START_S = 30
Files = dict[str, tuple[bytes, str]]
"""Bodies and their content codings by name."""


class BenchServer:
    """What is served where: `/demo/bench/page` and `/static` as in the checkout, `/files` from memory."""

    def __init__(self, address: str, files: Files) -> None:
        self.page = f"{address}/{PAGE}"
        self._files = files

    def publish(self, data: bytes, *, coding: str = "identity") -> str:
        """Serve `data`, which is in a content coding; returns its address on this server."""
        name = hashlib.sha256(data).hexdigest()
        self._files[name] = (data, coding)
        return f"/files/{name}"


@contextmanager
def serving() -> Iterator[BenchServer]:
    """A server on a free port, for as long as the context lasts. Raises `RuntimeError` where the runtime is missing."""
    if not vendor_is_built(static_folder()):
        raise RuntimeError(VENDOR_HINT)
    files: Files = {}
    config = uvicorn.Config(_application(files), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield BenchServer(f"http://127.0.0.1:{_port(server)}", files)
    finally:
        server.should_exit = True
        thread.join()


def _application(files: Files) -> Starlette:
    async def file(request: Request) -> Response:
        data, coding = files[request.path_params["name"]]
        headers = {"Cache-Control": "no-store", "Content-Encoding": coding}
        return Response(data, headers=headers, media_type="application/octet-stream")

    page = StaticPage(directory=Path(__file__).parent / "page")
    routes = [
        Route("/files/{name}", file),
        Mount("/demo/bench/page", page),
        Mount("/static", StaticPage(directory=static_folder())),
    ]
    application = Starlette(routes=routes)
    application.add_middleware(SecurityHeaders)
    return application


def _port(server: uvicorn.Server) -> int:
    deadline = time.monotonic() + START_S
    while not server.started:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the benchmark's server did not start within {START_S} s")
        time.sleep(0.01)
    return server.servers[0].sockets[0].getsockname()[1]
