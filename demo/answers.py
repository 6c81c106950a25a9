"""Answers that routes and what stands before them give: refusals, and bodies that never change."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from demo.codings import Coding, choose_coding
from demo.problems import Problem

IMMUTABLE = "private, max-age=31536000, immutable"


def refusal(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem document, which nobody keeps."""
    headers = {"Cache-Control": "no-store", **problem.headers, **(headers or {})}
    return JSONResponse(
        problem.document(), status_code=problem.status, headers=headers, media_type="application/problem+json"
    )


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
