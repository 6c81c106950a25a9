"""What one of the crowd does: looks at the page, opens pictures, asks for masks, waits, changes its mind, leaves."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import httpx

from demo.bench.crowd.album import Album, Original
from demo.bench.crowd.tally import Tally, problem_of

THINKING_S = (5.0, 25.0)
"""Between two pictures: hovering, which asks the server nothing."""
GREEDY_PICTURES = 50
LONGEST_WAIT_S = 60
TIMEOUT_S = 180
KEEP_ALIVE_S = 2
"""Shorter than the server's: a request on a connection that is just being closed would be lost, and nobody's fault."""
PAGE = ("/", "/static/styles.css", "/static/gallery/gallery.json", "/api/model")
_GONE = (httpx.TransportError, httpx.StreamError)


class Visitor:
    """A person at an address of their own: one picture after the other, or, if greedy, very many at once."""

    def __init__(self, number: int, server: str, album: Album, tally: Tally, *, seed: int, greedy: bool) -> None:
        self.number, self.album, self.tally, self.greedy = number, album, tally, greedy
        self._chance = random.Random(f"{seed} {number}")
        self._client = httpx.AsyncClient(
            base_url=server,
            headers=said_to_come_from(number),
            timeout=TIMEOUT_S,
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
            verify=False,
            trust_env=False,
        )

    async def stay(self) -> None:
        """Come and go until cancelled, or until there is no server any more."""
        async with self._client:
            await asyncio.sleep(self._chance.uniform(0, THINKING_S[1]))
            while self.tally.stopped_at is None:
                await self._visit()
                await asyncio.sleep(self._chance.uniform(*THINKING_S))

    async def _visit(self) -> None:
        for path in PAGE:
            await self._ask("page", "GET", path)
        if self.greedy:
            await asyncio.gather(*(self._picture() for _ in range(GREEDY_PICTURES)))
        for _ in range(self._chance.randint(1, 3)):
            await self._picture()
            await asyncio.sleep(self._chance.uniform(*THINKING_S))

    # ---- one picture ------------------------------------------------------------------------------

    async def _picture(self) -> None:
        """From a file to its embedding and what is done with that; by chance something is done wrong on the way."""
        original, data = self.album.choose(self._chance)
        match self._chance.random():
            case luck if luck < 0.03:
                return await self._upload_no_picture()
            case luck if luck < 0.06:
                return await self._break_off_an_upload(data)
        reply = await self._upload(data)
        if reply is None:
            return
        if self._chance.random() < 0.4:
            await self._watch(reply["events_url"])
        if self._chance.random() < 0.05:
            await self._look_away(reply["embedding_url"])
        if await self._fetch(original, reply):
            await self._use(reply)

    async def _upload(self, data: bytes) -> dict | None:
        """What the server says of the picture; None after it has refused it several times."""
        for _ in range(5):
            answer = await self._ask("upload", "POST", "/api/images", content=data)
            if isinstance(answer, httpx.Response):
                reply = answer.json()
                right = reply["id"] == hashlib.sha256(data).hexdigest()
                self.tally.note("upload", "right" if right else "wrong", f"answered with {reply['id']}")
                return reply if right else None
            if answer is None:
                return None
            await asyncio.sleep(min(answer, LONGEST_WAIT_S))
        return None

    async def _fetch(self, original: Original, reply: dict) -> bool:
        """Whether the embedding came, and is that of the picture."""
        began_at = time.monotonic()
        answer = await self._ask("embedding", "GET", reply["embedding_url"])
        if not isinstance(answer, httpx.Response):
            return False
        right = await asyncio.to_thread(original.is_embedding, answer.content, reply["id"])
        self.tally.note("embedding", "right" if right else "wrong", "it is of another picture")
        self.tally.pictures[self.number] += right
        self.tally.waits["greedy" if self.greedy else "others"].append(time.monotonic() - began_at)
        return right

    async def _use(self, reply: dict) -> None:
        """One in ten has a browser that decodes nothing, one in thirty wants everything."""
        if self._chance.random() < 0.1:
            for _ in range(3):
                point = [self._chance.uniform(0, reply["width"]), self._chance.uniform(0, reply["height"])]
                await self._decode(reply, point)
        if self._chance.random() < 0.03:
            await self._search(reply)

    async def _decode(self, reply: dict, point: list[float]) -> None:
        answer = await self._ask("prompt", "POST", reply["decode_url"], json={"points": [point], "labels": [1]})
        if isinstance(answer, httpx.Response):
            right = len(answer.content) > 4 * 256 * 256 * 2
            self.tally.note("prompt", "right" if right else "wrong", f"{len(answer.content)} bytes")

    # ---- streams ----------------------------------------------------------------------------------

    async def _watch(self, address: str) -> None:
        """Progress to its end, or until the connection is dropped, after which one comes again."""
        patience = self._chance.choice((1, 2, 1000))
        ended = await self._read_events("progress", "GET", address, patience)
        if ended is False:
            await self._read_events("progress", "GET", address, 1000)

    async def _search(self, reply: dict) -> None:
        wanted = {"preset": "few", "points_per_side": self._chance.choice((4, 8))}
        await self._read_events(
            "everything", "POST", reply["everything_url"], self._chance.choice((2, 1000)), json=wanted
        )

    async def _read_events(self, what: str, method: str, address: str, patience: int, **options) -> bool | None:
        """Whether the stream came to its end within `patience` events; None where there was none."""

        async def read(response: httpx.Response) -> bool:
            seen, last = 0, {}
            async for name, last in events_of(response):
                seen += 1
                if name == "failed" and "retry_after_s" not in last:
                    self.tally.note(what, "wrong", json.dumps(last))
                    return True
                if name in ("done", "failed"):
                    self.tally.note(what, "right" if name == "done" else "busy")
                    return True
                if seen >= patience:
                    self.tally.note(what, "left")
                    return False
            self.tally.note(what, "wrong", f"the stream ended with {last}")
            return True

        return await self._stream(what, method, address, read, **options)

    async def _look_away(self, address: str) -> None:
        """Ask for an embedding and read none of it."""

        async def ignore(response: httpx.Response) -> None:
            await asyncio.sleep(self._chance.uniform(5, 20))
            self.tally.note("not read", "left")

        await self._stream("not read", "GET", address, ignore)

    # ---- what goes wrong --------------------------------------------------------------------------

    async def _upload_no_picture(self) -> None:
        began_at = time.monotonic()
        try:
            answer = await self._client.post("/api/images", content=self._chance.randbytes(5000))
        except _GONE as error:
            return self.tally.note_failure("no picture", began_at, error)
        if answer.status_code in (429, 503):
            self.tally.note_refusal("no picture", answer)
        else:
            right = problem_of(answer) == "/problems/unsupported-picture"
            self.tally.note("no picture", "right" if right else "wrong", f"{answer.status_code}")

    async def _break_off_an_upload(self, data: bytes) -> None:
        async def half() -> AsyncIterator[bytes]:
            yield data[: len(data) // 2]
            raise ConnectionAbortedError

        with suppress(ConnectionAbortedError, *_GONE):
            await self._client.post("/api/images", content=half(), headers={"Content-Length": str(len(data))})
        self.tally.note("half an upload", "left")

    # ---- requests ---------------------------------------------------------------------------------

    async def _ask(self, what: str, method: str, path: str, **options) -> httpx.Response | int | None:
        """An answer whose content is to be judged; seconds to wait where it was refused; None where that is all."""
        began_at = time.monotonic()
        try:
            answer = await self._request(what, method, path, **options)
        except _GONE as error:
            return self.tally.note_failure(what, began_at, error)
        if not answer.is_success:
            return self.tally.note_refusal(what, answer)
        if what == "page":
            self.tally.note(what, "right")
        return answer

    async def _request(self, what: str, method: str, path: str, **options) -> httpx.Response:
        try:
            return await self._client.request(method, path, **options)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            if self.tally.stopped_at is not None:
                raise
            self.tally.note(what, "again")
            return await self._client.request(method, path, **options)

    async def _stream(
        self, what: str, method: str, path: str, read: Callable[[httpx.Response], Awaitable[bool | None]], **options
    ) -> bool | None:
        began_at = time.monotonic()
        try:
            async with self._client.stream(method, path, **options) as response:
                if response.is_success:
                    return await read(response)
                await response.aread()
                self.tally.note_refusal(what, response)
        except _GONE as error:
            self.tally.note_failure(what, began_at, error)
        return None


async def events_of(response: httpx.Response) -> AsyncIterator[tuple[str, dict]]:
    """Server-sent events as (name, data)."""
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def said_to_come_from(number: int) -> dict[str, str]:
    """The header by which a proxy tells one visitor from another."""
    return {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}
