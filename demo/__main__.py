"""`python -m demo`: parse, build, run."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG

from demo.app import create_app
from demo.guard.connections import LONGEST_HEAD, MOST_CONNECTIONS, Connection
from demo.lanes import any_left
from demo.memory import share_arenas
from demo.problems import Busy
from demo.routes.page import VENDOR_HINT, static_folder, vendor_is_built
from demo.schemas import Service
from demo.settings import Settings, has_desktop, parse_settings
from demo.watch.logs import log_as_json

_GOODBYE_S = 3  # after Ctrl+C
_LAST_WORDS_S = 2  # of any end, to tell those who still wait that they should come again
NO_TEMPORARY_FOLDER = (
    "no folder for temporary files can be written, so there is no Gradio page; mount a tmpfs at /tmp, or set TMPDIR"
)

ANY_NAME = "the server answers to any name, as none can be known here; --allowed-hosts names those that are yours"


class DemoServer(uvicorn.Server):
    """A server that says where it is, and opens the page, once it answers; and that ends within a time once it is told.

    service: what is asked, and told when the end comes.
    """

    def __init__(self, config: uvicorn.Config, address: str, service: Service, *, open_page: bool) -> None:
        super().__init__(config)
        self.address, self.service, self.open_page = address, service, open_page

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.started:
            return
        print(f"\n  The page is at  {self.address}\n  Stop with Ctrl+C.\n", flush=True)
        if self.open_page and has_desktop():
            webbrowser.open(self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What is in line is worked off while there is time; the rest is answered too, with 503.

        Nothing is begun that would not end in time. What runs longer than was believed is refused last.
        """
        time_left_s = self.config.timeout_graceful_shutdown - _LAST_WORDS_S
        reason = Busy("the server restarts", retry_after_s=10)
        self.service.drain(time.monotonic() + time_left_s, reason)
        asyncio.get_running_loop().call_later(time_left_s, self.service.refuse, reason)
        await super().shutdown(sockets=sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Whoever presses Ctrl+C waits for the prompt; whoever sends SIGTERM replaces a server that others use."""
        if sig != signal.SIGTERM:
            self.config.timeout_graceful_shutdown = _GOODBYE_S
        super().handle_exit(sig, frame)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page, and Gradio's beside it."""
    return serve(arguments, build)


def serve(arguments: Sequence[str] | None, build: Callable[[Settings], FastAPI]) -> int:
    """Serve what is built until stopped; 0, or 2 with a sentence when what was asked for cannot be done."""
    share_arenas()
    try:
        settings = parse_settings(arguments)
        if settings.log_format == "json":
            log_as_json()
        listener = listen(settings)
        app = build(settings)
    except (ValueError, OSError) as error:
        print(f"python -m demo: {error}", file=sys.stderr)
        return 2
    if not settings.allowed_hosts and settings.hosting.serves_any_host:
        print(f"Note: {ANY_NAME}", flush=True)
    config, address = uvicorn_config(app, settings), address_of(listener)
    server = DemoServer(config, address, app.state.service, open_page=settings.open)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # while it runs uvicorn has its own; then it raises the signal again,
    with suppress(KeyboardInterrupt):  # and this one: but whoever stops in order ends with 0
        server.run(sockets=[listener])
    if any_left():
        sys.stdout.flush()
        os._exit(0)
    return 0


def uvicorn_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves: who may say for whom a request comes is named by our settings alone."""
    proxies = [str(network) for network in settings.proxy_networks]
    return uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=settings.drain_s,
        http=Connection,
        ws="none",
        h11_max_incomplete_event_size=LONGEST_HEAD,
        limit_concurrency=MOST_CONNECTIONS,
        log_config=None if settings.log_format == "json" else LOGGING_CONFIG,
    )


def listen(settings: Settings) -> socket.socket:
    """A socket on the wanted address, taken before the model loads so that a taken port is told at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name != "nt":  # there, the option would share the port instead of reusing it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        reason = f"port {settings.port} of {settings.host} cannot be used ({error.strerror or error})"
        raise OSError(f"{reason}; try --port 0 for any free port") from None
    return listener


def build(settings: Settings) -> FastAPI:
    """The whole application: model, service, routes and, where Gradio is installed, its page."""
    service = load(settings)
    app = create_app(service, hosting=settings.hosting, safeguards=settings.safeguards)
    if not vendor_is_built(static_folder()):
        print(f"Note: {VENDOR_HINT}", flush=True)
    if not _has_temporary_folder():
        print(f"Note: {NO_TEMPORARY_FOLDER}", flush=True)
    elif importlib.util.find_spec("gradio"):
        from demo.gradio_app import mount_gradio

        mount_gradio(app, service, root_path=settings.root_path, home="../", private=settings.private)
    return app


def load(settings: Settings) -> Service:
    """The service with its model."""
    print(f"Loading {settings.checkpoint} ...", flush=True)
    from demo.service import load_service  # torch takes a while: --help and a taken port do not wait for it

    return load_service(settings)


def address_of(listener: socket.socket) -> str:
    """The address to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _has_temporary_folder() -> bool:
    try:
        return bool(tempfile.gettempdir())
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
