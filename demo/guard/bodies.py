"""Request bodies that are counted and timed while they arrive: nothing is held beyond the limit, or for ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.problems import BadRequest, TooManyBytes, TooSlow
from demo.schemas import MULTIPART_OVERHEAD_BYTES

UPLOAD_FIELD = "file"


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body; raises TooManyBytes as soon as it is known to be too long."""
    request = limited(request, max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    return bytes(body)


async def read_upload(request: Request, max_bytes: int) -> bytes:
    """The picture file in a body: the body itself, or the field "file" of a multipart form."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await read_body(request, max_bytes)
    request = limited(request, max_bytes + MULTIPART_OVERHEAD_BYTES, named=max_bytes)
    try:
        async with request.form(max_files=1, max_fields=8) as form:
            upload = form.get(UPLOAD_FIELD)
            if not isinstance(upload, UploadFile):
                raise BadRequest(f"the form has no file in its field {UPLOAD_FIELD!r}", fields=list(form))
            return await upload.read()
    except HTTPException as error:  # Starlette's, for a form that is none
        raise BadRequest(f"the form cannot be read: {error.detail}") from None


def limited(request: Request, max_bytes: int, *, named: int | None = None) -> Request:
    """The request with a body of at most `max_bytes`; a refusal names `named`, or else `max_bytes`."""
    limit = max_bytes if named is None else named
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise TooManyBytes(limit, int(declared))
    return Request(request.scope, limit_receive(request.receive, max_bytes, limit))


def limit_receive(receive: Receive, max_bytes: int, named: int) -> Receive:
    """An ASGI `receive` that raises TooManyBytes once the body passes `max_bytes`."""
    received = 0

    async def count() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise TooManyBytes(named)
        return message

    return count


@dataclass(frozen=True)
class BodyPatience:
    """How long a body may take: `first_s`, and a second more for every `least_bytes_per_s` that have arrived."""

    first_s: float = 30
    least_bytes_per_s: int = 8_000


PATIENT = BodyPatience()


class TimedBodies:
    """ASGI middleware that refuses a body which takes longer: whoever reads it is told TooSlow."""

    def __init__(self, app: ASGIApp, patience: BodyPatience) -> None:
        self.app, self.patience = app, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timed = time_receive(receive, self.patience) if scope["type"] == "http" else receive
        await self.app(scope, timed, send)


def time_receive(receive: Receive, patience: BodyPatience) -> Receive:
    """An ASGI `receive` that raises TooSlow while a body is late; what comes after the body is waited for."""
    began: float | None = None
    received, ended = 0, False

    async def receive_in_time() -> Message:
        nonlocal began, received, ended
        if ended:
            return await receive()
        now = asyncio.get_running_loop().time()
        began = now if began is None else began
        try:
            async with asyncio.timeout_at(began + patience.first_s + received / patience.least_bytes_per_s):
                message = await receive()
        except TimeoutError:
            raise TooSlow(received, now - began) from None
        received += len(message.get("body", b""))
        ended = not message.get("more_body", False)
        return message

    return receive_in_time
