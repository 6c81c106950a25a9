"""Answers that several groups of routes give: bodies that never change, in the coding that their reader takes."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request, Response

from demo.codings import Coding, choose_coding

IMMUTABLE = "private, max-age=31536000, immutable"


def immutable(request: Request, body: bytes, *, etag: str, media_type: str, coding: Coding = "identity") -> Response:
    """A body that its address fixes for ever; 304 for a client that already has it."""
    headers = {"Cache-Control": IMMUTABLE, "ETag": f'"{etag}"', "Vary": "Accept-Encoding"}
    if f'"{etag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if coding != "identity":
        headers["Content-Encoding"] = coding
    return Response(body, media_type=media_type, headers=headers)


def coding_for(request: Request, offered: Collection[Coding]) -> Coding:
    """The best of these that the request's sender reads."""
    return choose_coding(request.headers.get("accept-encoding", ""), offered)
