"""What the demo's tests share: a client of the real ASGI app, a real server on a loopback port, picture files."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx
import numpy as np
import uvicorn
from PIL import Image

from demo.__main__ import address_of, listen
from demo.pictures import PictureLimits
from demo.settings import Settings
from sam.automatic.decoder import PointDecoder

LIMITS = PictureLimits(max_bytes=300_000, max_pixels=1_000_000)


@dataclass
class Browser:
    """Synchronous requests to an ASGI app, each in an event loop of its own."""

    app: object

    def request(self, method: str, address: str, **options) -> httpx.Response:
        async def send() -> httpx.Response:
            async with client_of(self.app) as client:
                return await client.request(method, address, **options)

        return asyncio.run(send())

    def get(self, address: str, **options) -> httpx.Response:
        return self.request("GET", address, **options)

    def post(self, address: str, **options) -> httpx.Response:
        return self.request("POST", address, **options)

    def upload(self, data: bytes) -> dict:
        answer = self.post("/api/images", content=data, headers={"Content-Type": "image/png"})
        assert answer.status_code in (200, 201), answer.text
        return answer.json()


def client_of(app, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client at an address of its own."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=(address, 123))
    return httpx.AsyncClient(transport=transport, base_url="http://demo.test", timeout=120)


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time passes by itself, and at once where a test lets it: nobody's patience ends by chance."""

    passed_s = 0.0

    def time(self) -> float:
        return super().time() + self.passed_s

    def let_pass(self, seconds: float) -> None:
        """Called from another thread; returns when the loop has gone round after it."""

        def leap() -> None:
            self.passed_s += seconds
            self.call_soon(done.set)

        done = threading.Event()
        self.call_soon_threadsafe(leap)
        assert done.wait(120), "the loop does not go round"


@contextmanager
def serving(
    app,
    *,
    lent: bool = False,
    http: type | str = "auto",
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Iterator[str]:
    """The app on a real loopback port, by its address; it closes its service at the end, unless that is lent.

    It keeps idle connections: else a client may ask on one at the moment at which it is closed.
    """
    listener = listen(Settings(port=0))
    patience = {"timeout_graceful_shutdown": 1, "timeout_keep_alive": 100_000}
    config = uvicorn.Config(app, log_level="warning", lifespan="off" if lent else "on", http=http, **patience)
    server = uvicorn.Server(config)

    def run() -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(server.serve(sockets=[listener]))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield address_of(listener).rstrip("/")
    finally:
        server.should_exit = True
        thread.join(120)


def wait_until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


async def all_wait() -> None:
    """Until every task of this loop waits for something that no other task of it does: a thread, a test's gate."""
    for _ in range(1000):
        await asyncio.sleep(0)


class Deadline:
    """Takes the place of `threading.Timer` in lanes: time is up when a test says so, never because a machine is slow.

    A lane starts one for each piece of work, on the thread that does it.
    """

    _running: ClassVar[dict[threading.Thread, "Deadline"]] = {}

    def __init__(self, seconds: float, give_up: Callable[..., None], arguments: list[Any]) -> None:
        self.is_up = lambda: give_up(*arguments)

    def start(self) -> None:
        self._running[threading.current_thread()] = self

    def cancel(self) -> None:
        self._running.pop(threading.current_thread(), None)

    @classmethod
    def pass_for(cls, worker: threading.Thread) -> None:
        """The work that runs on this thread has taken too long."""
        cls._running.pop(worker).is_up()


class Hanging:
    """Work that does not return until `let_go`; `give_up` lets the `Deadline` of what began last pass."""

    def __init__(self) -> None:
        self._begun, self._gate = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> None:
        self._worker = threading.current_thread()
        self._begun.set()
        self._gate.wait()

    def give_up(self) -> None:
        assert self._begun.wait(120), "it never began"
        self._begun.clear()
        Deadline.pass_for(self._worker)

    def let_go(self) -> None:
        self._gate.set()


class DecoderGate:
    """Counts the batches of points that searches put to the decoder, and holds each back until it is let through."""

    def __init__(self, monkeypatch, let_through: int = 10**6) -> None:
        self.begun, self._permits = 0, threading.Semaphore(let_through)
        answer = PointDecoder.answer

        def gated(decoder: PointDecoder, points):
            self.begun += 1
            assert self._permits.acquire(timeout=300)
            return answer(decoder, points)

        monkeypatch.setattr(PointDecoder, "answer", gated)

    def open(self) -> None:
        self._permits.release(1000)


def png(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    """A picture file of blobs that no other seed or size makes."""
    rng = np.random.default_rng((seed, width, height))
    coarse = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def events_in(text: str) -> list[tuple[str, dict]]:
    """Server-sent events as (name, data)."""
    pairs = (block.split("\n", 1) for block in text.strip().split("\n\n"))
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]
