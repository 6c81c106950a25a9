"""Request bodies that are counted while they arrive: nothing beyond the limit is ever held."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.types import Message, Receive

from demo.problems import BadRequest, TooManyBytes
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
    async with request.form(max_files=1, max_fields=8) as form:
        upload = form.get(UPLOAD_FIELD)
        if not isinstance(upload, UploadFile):
            raise BadRequest(f"the form has no file in its field {UPLOAD_FIELD!r}", fields=list(form))
        return await upload.read()


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
