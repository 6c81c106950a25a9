"""What the demo's tests share: a client of the real ASGI app, a real server on a loopback port, picture files."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import uvicorn
from PIL import Image

from demo.__main__ import address_of, listen
from demo.pictures import PictureLimits
from demo.settings import Settings

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


@contextmanager
def serving(app, *, lent: bool = False, http: type | str = "auto") -> Iterator[str]:
    """The app on a real loopback port, by its address; it closes its service at the end, unless that is lent."""
    listener = listen(Settings(port=0))
    lifespan = "off" if lent else "on"
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan=lifespan, http=http)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield address_of(listener).rstrip("/")
    finally:
        server.should_exit = True
        thread.join(10)


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


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
