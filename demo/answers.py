"""Refusals as answers, for routes and for what stands before them."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse, Response

from demo.problems import Problem


def refusal(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem document, which nobody keeps."""
    headers = {"Cache-Control": "no-store", **problem.headers, **(headers or {})}
    return JSONResponse(
        problem.document(), status_code=problem.status, headers=headers, media_type="application/problem+json"
    )
