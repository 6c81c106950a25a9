"""What the API says of itself: its OpenAPI document, the words for it, and a page that needs no script."""

from __future__ import annotations

import html
import json
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Response
from fastapi import Path as InPath

from demo.pictures import PictureLimits
from demo.problems import BadRequest, Problem
from demo.schemas import MAX_BATCH, MAX_POINTS, MAX_POINTS_PER_SIDE, MAX_PREDICT_BYTES, MAX_PROMPT_BYTES

OPENAPI_PATH, DOCS_PATH = "/api/openapi.json", "/api/docs"
SAFETENSORS, EVENT_STREAM = "application/vnd.safetensors", "text/event-stream"
_PROBLEM_JSON = "application/problem+json"
_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

Hash = Annotated[str, InPath(pattern=r"^[0-9a-f]{64}$", examples=[_SHA])]

View = Annotated[str, InPath(pattern=r"^\d{1,6}(,\d{1,6}){3}$", examples=["256,128,256,256"])]
"""x,y,width,height of a view, as it stands in an address."""


def describe(limits: PictureLimits) -> str:
    """What a reader of the API must know before its routes."""
    return f"""\
Upload a picture, then ask: masks for points and boxes, everything at once, or the embedding itself. Nothing else is
needed; there is no login and nothing is kept longer than the cache has room.

Limits: a picture of {limits.max_bytes:,} bytes and {limits.max_pixels:,} pixels; {MAX_BATCH} prompts a request with
{MAX_POINTS} points each, and {MAX_PREDICT_BYTES:,} bytes in all ({MAX_PROMPT_BYTES:,} for a single prompt); masks as
input 256 x 256; a grid of {MAX_POINTS_PER_SIDE} points a side. What waits too long in line is refused with 503 and
Retry-After.

Every refusal is a problem document (RFC 9457, {_PROBLEM_JSON}): its `type` is the code to test, `detail` says what was
given and what is allowed.
"""


def refusals(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The problems of a route, by status, as OpenAPI has them."""
    by_status: dict[int | str, list[type[Problem]]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _refusal(of_status) for status, of_status in by_status.items()}


def _refusal(kinds: list[type[Problem]]) -> dict[str, Any]:
    examples = {
        kind.slug(): {"value": {"type": kind.code(), "title": kind.title, "status": kind.status, "detail": "..."}}
        for kind in kinds
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    said = "; ".join(f"{kind.title} ({kind.code()})" for kind in kinds)
    return {"description": said, "content": {_PROBLEM_JSON: {"schema": schema, "examples": examples}}}


def binary(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    """An answer of bytes."""
    return {200: {"description": what, "content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


def add_reference(app: FastAPI) -> None:
    """Serve the OpenAPI document with the problem schema in it, and the page."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", _PROBLEM_SCHEMA)
        bad_request = refusals(BadRequest)[422]
        for route in (route for methods in document["paths"].values() for route in methods.values()):
            if "422" in route["responses"]:  # FastAPI's own form of it is never sent
                route["responses"]["422"] = bad_request
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get(OPENAPI_PATH, include_in_schema=False)
    async def document() -> dict[str, Any]:
        return app.openapi()

    @app.get(DOCS_PATH, include_in_schema=False)
    async def page() -> Response:
        return Response(page_of(app.openapi()), media_type="text/html")


_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457. Further members belong to the type: `limit`, `given`, `faults`, `retry_after_s`.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/bad-request"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def page_of(document: dict[str, Any]) -> str:
    """The OpenAPI document as one page of HTML."""
    routes = [
        _route(method, path, route) for path, methods in document["paths"].items() for method, route in methods.items()
    ]
    schemas = [
        f'<h3 id="{name}">{name}</h3>{_prose(schema.get("description", ""))}{_json(schema.get("properties", schema))}'
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(info['title'])}: API</title>"
        '<link rel="icon" href="../favicon.ico"><link rel="stylesheet" href="../static/reference.css">'
        f"<main><h1>{html.escape(info['title'])}: API</h1>{_prose(info.get('description', ''))}"
        f'<p>For programs: <a href="openapi.json">the OpenAPI document</a>.</p>'
        f"<h2>Routes</h2>{''.join(routes)}<h2>Types</h2>{''.join(schemas)}</main></html>"
    )


def _route(method: str, path: str, route: dict[str, Any]) -> str:
    body = route.get("requestBody", {}).get("content", {})
    answers = "".join(
        f"<dt>{status} {HTTPStatus(int(status)).phrase}</dt><dd>{_prose(answer['description'])}"
        f"{''.join(map(_content, answer.get('content', {}).items()))}</dd>"
        for status, answer in route["responses"].items()
    )
    return (
        f"<section><h3><code>{method.upper()} {html.escape(path)}</code></h3>"
        f"<p><strong>{html.escape(route.get('summary', ''))}.</strong></p>{_prose(route.get('description', ''))}"
        f"{'<h4>Body</h4>' if body else ''}{''.join(map(_content, body.items()))}<h4>Answers</h4>"
        f"<dl>{answers}</dl></section>"
    )


def _content(item: tuple[str, dict[str, Any]]) -> str:
    media_type, content = item
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    link = f': <a href="#{name}">{name}</a>' if name else ""
    example = content.get("example")
    shown = (
        "" if example is None else f"<pre>{html.escape(example)}</pre>" if isinstance(example, str) else _json(example)
    )
    return f"<p>{html.escape(media_type)}{link}</p>{shown}"


def _prose(text: str) -> str:
    parts = (html.escape(part) for part in text.strip().split("\n\n") if part)
    return "".join(f"<p>{_with_code(part)}</p>" for part in parts)


def _with_code(text: str) -> str:
    pieces = text.split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))


def _json(value: Any) -> str:
    return f"<pre>{html.escape(json.dumps(value, indent=1, ensure_ascii=False))}</pre>"
