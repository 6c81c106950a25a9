"""Answers that routes and what stands before them give: refusals, and bodies that never change."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from demo.codings import Coding, choose_coding
from demo.problems import Problem

IMMUTABLE = "private, max-age=31536000, immutable"
_REFUSED = "demo.refused"


class Refusal(JSONResponse):
    """The problem document, which nobody keeps; the scope of the request remembers which problem it was."""

    media_type = "application/problem+json"

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        headers = {"Cache-Control": "no-store", **problem.headers, **(headers or {})}
        super().__init__(problem.document(), problem.status, headers)
        self.problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_REFUSED] = self.problem.slug()
        await super().__call__(scope, receive, send)


def refused(scope: Scope) -> str:
    """The slug of the problem that a request was refused with; empty where it was not."""
    return scope.get(_REFUSED, "")


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
