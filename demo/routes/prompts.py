"""The routes that ask the model: batches of prompts, and everything mode as a stream that can be stopped."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette.types import Message, Receive

from demo.guard.bodies import read_body
from demo.guard.clients import client_of
from demo.problems import (
    BadRequest,
    Problem,
    TooManyBytes,
    TooManyRequests,
    Unexpected,
    UnfitView,
    UnknownPicture,
    UnknownSearch,
)
from demo.routes.models import LENDING, ChosenModel
from demo.routes.reference import EVENT_STREAM, SAFETENSORS, Hash, binary, refusals
from demo.routes.streams import stream, update_event
from demo.schemas import (
    MAX_PREDICT_BYTES,
    MAX_PROMPT_BYTES,
    Event,
    EverythingRequest,
    EverythingUpdate,
    PredictReply,
    PredictRequest,
    Prompts,
    Service,
)

log = logging.getLogger(__name__)
_ASKED = refusals(UnknownPicture, BadRequest, TooManyBytes, TooManyRequests, *LENDING)
_LOOKED = refusals(UnknownPicture, BadRequest, UnfitView, TooManyBytes, TooManyRequests, *LENDING)


def add_prompt_routes(app: FastAPI, service: Service, prefix: str) -> None:
    """Put them on `app`, which is mounted under `prefix`; searches are known by name as long as they run."""
    app.include_router(_decode_routes(service))
    app.include_router(_predict_routes(service))
    app.include_router(_everything_routes(service, prefix, {}))


def _decode_routes(service: Service) -> APIRouter:
    router = APIRouter(route_class=route_with_bodies_of(MAX_PROMPT_BYTES), tags=["prompts"])

    @router.post(
        "/api/images/{image_id}/decode",
        summary="All four low-resolution masks of one prompt",
        response_class=Response,
        responses={**binary(SAFETENSORS, "low_res_logits fp16 [4,256,256], iou_predictions fp32 [4]"), **_LOOKED},
    )
    async def decode(request: Request, image_id: Hash, prompts: Prompts, model: ChosenModel = None) -> Response:
        """What the decoder in the browser would answer; the page asks here where it cannot decode itself."""
        body = await service.decode_file(image_id, prompts, model=model, visitor=client_of(request.scope))
        return Response(body, media_type=SAFETENSORS, headers={"Cache-Control": "no-store"})

    return router


def _predict_routes(service: Service) -> APIRouter:
    router = APIRouter(route_class=route_with_bodies_of(MAX_PREDICT_BYTES), tags=["prompts"])

    @router.post(
        "/api/images/{image_id}/predict", summary="Masks for points, boxes and masks, in batches", responses=_LOOKED
    )
    async def predict(
        request: Request, image_id: Hash, wanted: Annotated[PredictRequest, Body()], model: ChosenModel = None
    ) -> PredictReply:
        """Waits for the picture's embedding where need be. Coordinates are pixels of the upright picture."""
        return await service.predict(image_id, wanted, model=model, visitor=client_of(request.scope))

    return router


def _everything_routes(service: Service, prefix: str, stops: dict[str, threading.Event]) -> APIRouter:
    """stops: what ends each search under way, by its name."""
    router = APIRouter(route_class=route_with_bodies_of(MAX_PROMPT_BYTES), tags=["everything"])

    @router.post(
        "/api/images/{image_id}/everything",
        summary="All objects of a picture, as they are found",
        response_class=StreamingResponse,
        responses={200: {"description": _EVERYTHING, "content": {EVENT_STREAM: {"example": _EXAMPLE}}}, **_ASKED},
    )
    async def everything(
        request: Request, image_id: Hash, wanted: Annotated[EverythingRequest, Body()], model: ChosenModel = None
    ) -> StreamingResponse:
        """Close the connection, or DELETE the `search_url` that the first event tells, and the work stops before its
        next decoder batch.
        """
        name, stop = secrets.token_urlsafe(12), threading.Event()
        updates = service.everything(image_id, wanted, model=model, visitor=client_of(request.scope), stop=stop)
        first = await anext(updates)  # what is refused is refused before the stream begins

        async def events() -> AsyncIterator[Event]:
            stops[name] = stop
            try:
                async with aclosing(updates):
                    yield Event("started", {"search_url": f"{prefix}/api/searches/{name}", "total": first.total})
                    async for event in _events(first, updates):
                        yield event
            finally:
                del stops[name]

        begun = events()
        return stream(await anext(begun), begun)

    @router.delete("/api/searches/{name}", summary="Stop a search", status_code=204, responses=refusals(UnknownSearch))
    async def stop_search(name: str) -> None:
        """Its stream ends with the event `cancelled`; what was found stays found."""
        if name not in stops:
            raise UnknownSearch("it has ended, or never began here", name=name[:64])
        stops[name].set()

    return router


_EVERYTHING = (
    "Server-sent events. `started` {search_url, total}, then `update` {added, retracted, parents, done, total, eta_s} "
    "with each batch of points: objects found, numbers of objects that a better one replaced, and for each object that "
    "is part of another the smallest around it. The last is `done`, `cancelled`, or `failed` with a problem document."
)
_EXAMPLE = """\
event: started
data: {"search_url":"/api/searches/3q2-7wAB","total":1024}

event: update
data: {"added":[{"id":0,"mask":{"size":[427,640],"counts":"o`b0g0f<2N2N"},"score":0.91,"stability":0.96,"area":5210,\
"box":[24,18,150,96],"point":[70.0,50.0]}],"retracted":[],"parents":{},"done":16,"total":1024,"eta_s":12.6}

event: done
data: {}
"""


async def _events(first: EverythingUpdate, updates: AsyncIterator[EverythingUpdate]) -> AsyncIterator[Event]:
    last = first
    try:
        async for last in updates:
            yield update_event(last)
    except Problem as problem:
        yield Event("failed", problem.document())
    except Exception:
        log.exception("everything mode failed")
        yield Event("failed", Unexpected("the log of the server says more").document())
    else:
        yield Event("done" if last.done == last.total else "cancelled", {})


def route_with_bodies_of(max_bytes: int) -> type[APIRoute]:
    """A route whose bodies are refused as soon as they are known to be longer than that."""

    class LimitedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                body = await read_body(request, max_bytes)
                return await handler(Request(request.scope, _replayed(body, request.receive)))

            return handle

    return LimitedRoute


def _replayed(body: bytes, rest: Receive) -> Receive:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(messages, None) or await rest()

    return receive
