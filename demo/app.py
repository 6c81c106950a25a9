"""The routes: HTTP in front of a service that is handed in. Imports neither torch nor the service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from demo.answers import coding_for, immutable, refusal
from demo.bodies import TimedBodies, read_upload
from demo.clients import client_of
from demo.headers import GRADIO_PATH, SecurityHeaders, security_headers
from demo.hosting import DIRECT, Hosting, UnderRootPath
from demo.logs import log_request
from demo.metrics import Metrics
from demo.model_routes import LENDING, ChosenModel, add_model_routes
from demo.observing import Asked, Observed
from demo.origins import OwnOrigin
from demo.page import Document, StaticPage, static_folder
from demo.privacy import PrivateVisits, owner_of, require_owner
from demo.problems import (
    BadRequest,
    BrokenPicture,
    EncodeFailed,
    HttpProblem,
    OtherWeights,
    Problem,
    TooManyBytes,
    TooManyPixels,
    TooManyRequests,
    Unexpected,
    UnfitView,
    UnknownPicture,
    UnsupportedPicture,
)
from demo.prompt_routes import add_prompt_routes
from demo.rates import RateLimits
from demo.reference import EVENT_STREAM, SAFETENSORS, Hash, View, add_reference, binary, describe, refusals
from demo.safeguards import NONE, Safeguards
from demo.schemas import (
    HealthReply,
    ImageReply,
    Picture,
    Precision,
    Service,
    ViewReply,
    Window,
)
from demo.streams import stream

_UPLOAD_REFUSALS = refusals(TooManyBytes, TooManyPixels, UnsupportedPicture, BrokenPicture, TooManyRequests, *LENDING)
_FILE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE["schema"]}}}
_PICTURE_BODY = {"required": True, "content": {"image/*": _FILE, "multipart/form-data": _FORM}}
_ENCODE_EVENTS = (
    "`queued` {position} and `encoding` {elapsed_s, expected_s} until `done` {seconds}, or `failed` with a problem."
)

log = logging.getLogger(__name__)


def create_app(
    service: Service, *, static: Path | None = None, hosting: Hosting = DIRECT, safeguards: Safeguards = NONE
) -> FastAPI:
    """The application over `service`, with the page from `static` (default: where the package keeps it)."""
    app = create_bare_app(service, hosting=hosting, safeguards=safeguards)
    add_model_routes(app, service, hosting.root_path)
    _add_image_routes(app, service, hosting.root_path)
    add_prompt_routes(app, service, hosting.root_path)
    add_reference(app)
    _add_page(app, static or static_folder(), hosting.root_path)
    return app


def create_bare_app(service: Service, *, hosting: Hosting = DIRECT, safeguards: Safeguards = NONE) -> FastAPI:
    """An application that keeps `service` alive, with security headers, problems and health, and nothing to see yet."""
    app = FastAPI(
        title="Segment anything",
        description=describe(service.limits),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # to whole addresses, which name the host and scheme behind a proxy
        lifespan=_lifespan(service),
        dependencies=[Depends(require_owner)] if safeguards.private else [],
    )
    app.state.service = service
    app.add_middleware(TimedBodies, patience=safeguards.bodies)
    if safeguards.private:
        app.add_middleware(PrivateVisits, hosting=hosting)
    app.add_middleware(RateLimits, rates=safeguards.rates, hosting=hosting)
    app.add_middleware(OwnOrigin, hosting=hosting)
    app.add_middleware(Observed, hosting=hosting, tell=_observers(app, service, safeguards))
    app.add_middleware(SecurityHeaders, hosting=hosting)
    app.add_middleware(UnderRootPath, hosting=hosting)
    _add_problem_handlers(app, hosting)

    @app.get("/healthz", summary="Whether the server is well, and how much waits", tags=["model"])
    async def health(response: Response) -> HealthReply:
        """503 where nothing can be encoded any more and only a new process helps: what watches may start one."""
        reply = service.health()
        response.status_code = 200 if reply.status == "ok" else 503
        return reply

    return app


def _observers(app: FastAPI, service: Service, safeguards: Safeguards) -> list[Callable[[Asked], None]]:
    """Who is told of every request that ended."""
    if not safeguards.metrics:
        return [log_request]
    metrics = Metrics(service)
    metrics.add_route(app, safeguards.metrics)
    return [log_request, metrics.count]


def _lifespan(service: Service):
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.warm_up()
        yield
        service.close()

    return lifespan


# ---- routes ---------------------------------------------------------------------------------------


def _add_image_routes(app: FastAPI, service: Service, prefix: str) -> None:
    @app.post(
        "/api/images",
        summary="Upload a picture, whose encode begins",
        tags=["pictures"],
        status_code=201,
        responses={200: {"model": ImageReply, "description": "It is here already"}, **_UPLOAD_REFUSALS},
        openapi_extra={"requestBody": _PICTURE_BODY},
    )
    async def upload(request: Request, response: Response, model: ChosenModel = None) -> ImageReply:
        """The body is the picture file itself, or a form with it in the field `file`."""
        data = await read_upload(request, service.limits.max_bytes)
        visitor, owner = client_of(request.scope), owner_of(request)
        picture, is_new = await service.add(data, model=model, visitor=visitor, owner=owner)
        response.status_code = 201 if is_new else 200
        return _describe_picture(picture, model, prefix)

    @app.get(
        "/api/images/{image_id}",
        summary="A picture that is here, as a model takes it",
        tags=["pictures"],
        responses=refusals(UnknownPicture, *LENDING),
    )
    async def image(request: Request, image_id: Hash, model: ChosenModel = None) -> ImageReply:
        """Its encode by this model begins, unless it did: another model needs no other upload."""
        picture = await service.picture(image_id, model=model, visitor=client_of(request.scope))
        return _describe_picture(picture, model, prefix)

    @app.get(
        "/api/images/{image_id}/events",
        summary="What becomes of an encode, as server-sent events",
        tags=["pictures"],
        response_class=StreamingResponse,
        responses={
            200: {"description": _ENCODE_EVENTS, "content": {EVENT_STREAM: {}}},
            **refusals(UnknownPicture, *LENDING),
        },
    )
    async def events(image_id: Hash, model: ChosenModel = None) -> StreamingResponse:
        progress = service.progress(image_id, model=model)
        first = await anext(progress)  # an unknown picture is refused before the stream begins
        return stream(first, progress)

    @app.get(
        "/api/images/{image_id}/picture",
        summary="The picture as PNG, upright: what a browser shows where it cannot show the file itself",
        tags=["pictures"],
        response_class=Response,
        responses={**binary("image/png", "The picture, immutable"), **refusals(UnknownPicture, EncodeFailed)},
    )
    async def shown_picture(request: Request, image_id: Hash) -> Response:
        return immutable(request, await service.png_file(image_id), etag=image_id, media_type="image/png")

    @app.get(
        "/api/embeddings/{image_id}/{weights_hash}/{precision}",
        summary="A picture's embedding, as soon as it is there",
        tags=["pictures"],
        response_class=Response,
        responses={
            **binary(SAFETENSORS, "The tensor image_embeddings [1,256,64,64], immutable"),
            **refusals(UnknownPicture, OtherWeights, EncodeFailed, *LENDING),
        },
    )
    async def embedding(request: Request, image_id: Hash, weights_hash: Hash, precision: Precision) -> Response:
        """The weights name the model."""
        return await embedding_of(request, image_id, weights_hash, precision)

    @app.get(
        "/api/images/{image_id}/views/{view}",
        summary="A closer view of a picture, as soon as it is encoded",
        tags=["pictures"],
        responses=refusals(UnknownPicture, UnfitView, EncodeFailed, TooManyRequests, *LENDING),
    )
    async def closer_view(request: Request, image_id: Hash, view: View, model: ChosenModel = None) -> ViewReply:
        """Windows x,y,width,height that are encoded by themselves, for finer masks where somebody zooms in. Their sides
        are 128, 256, 512, ... pixels, or the picture's where that is shorter, and they begin at multiples of half their
        side, or end where the picture does. A window of another kind is refused, naming the nearest.
        """
        visitor = client_of(request.scope)
        return _describe_view(*await service.view(image_id, _window(view), model=model, visitor=visitor), prefix)

    @app.get(
        "/api/embeddings/{image_id}/{weights_hash}/{precision}/{view}",
        summary="A view's embedding, as soon as it is there",
        tags=["pictures"],
        response_class=Response,
        responses={
            **binary(SAFETENSORS, "The tensor image_embeddings [1,256,64,64], immutable"),
            **refusals(UnknownPicture, OtherWeights, UnfitView, EncodeFailed, TooManyRequests, *LENDING),
        },
    )
    async def view_embedding(
        request: Request, image_id: Hash, weights_hash: Hash, precision: Precision, view: View
    ) -> Response:
        return await embedding_of(request, image_id, weights_hash, precision, view)

    async def embedding_of(
        request: Request, image_id: str, weights_hash: str, precision: Precision, view: str = ""
    ) -> Response:
        wanted, window = coding_for(request, ("zstd",)), _window(view) if view else None
        body, coding = await service.embedding_file(image_id, weights_hash, precision, wanted, window)
        etag = f"{image_id[:32]}-{weights_hash[:32]}-{precision}-{coding}" + (f"-{view}" if view else "")
        return immutable(request, body, etag=etag, media_type=SAFETENSORS, coding=coding)


def _add_page(app: FastAPI, static: Path, prefix: str) -> None:
    files, document = StaticPage(directory=static, check_dir=False), Document(static)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        """`?source` asks for the page's modules as they are written."""
        return files.document(document.source if "source" in request.query_params else document.path, request.scope)

    @app.get(GRADIO_PATH, include_in_schema=False)
    async def fallback_page() -> Response:
        return RedirectResponse(prefix + GRADIO_PATH + "/")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:  # Gradio's page, among others, asks for it here without being told to
        return FileResponse(static / "icon.svg", headers={"Cache-Control": "no-cache"})

    app.mount("/static", files)


# ---- answers --------------------------------------------------------------------------------------


def _describe_picture(picture: Picture, chosen: str | None, prefix: str) -> ImageReply:
    """chosen: the model's id, which the addresses repeat; None for the default."""
    (height, width), (resized_height, resized_width) = picture.original_hw, picture.resized_hw
    image, query = f"{prefix}/api/images/{picture.id}", f"?model={chosen}" if chosen else ""
    return ImageReply(
        id=picture.id,
        width=width,
        height=height,
        resized_width=resized_width,
        resized_height=resized_height,
        model=picture.model,
        embedding_url=f"{prefix}/api/embeddings/{picture.id}/{picture.model.weights_hash}/fp16",
        events_url=f"{image}/events{query}",
        decode_url=f"{image}/decode{query}",
        views_url=f"{image}/views/{{view}}{query}",
        picture_url=f"{image}/picture",
        predict_url=f"{image}/predict{query}",
        everything_url=f"{image}/everything{query}",
    )


def _describe_view(view: Picture, seconds: float, prefix: str) -> ViewReply:
    named = ",".join(map(str, view.window))
    return ViewReply(
        window=view.window,
        resized_width=view.resized_hw[1],
        resized_height=view.resized_hw[0],
        model=view.model,
        embedding_url=f"{prefix}/api/embeddings/{view.id}/{view.model.weights_hash}/fp16/{named}",
        seconds=round(seconds, 3),
    )


def _window(view: str) -> Window:
    x, y, width, height = map(int, view.split(","))
    return (x, y, width, height)


# ---- refusals -------------------------------------------------------------------------------------


def _bad_request(errors: list[dict]) -> BadRequest:
    faults = [_fault(error) for error in errors]
    detail = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
    return BadRequest(detail, faults=faults)


def _fault(error: dict) -> dict[str, str]:
    where = ".".join(str(part) for part in error["loc"]) or "body"
    return {"where": where, "what": error["msg"].removeprefix("Value error, ")}


def _add_problem_handlers(app: FastAPI, hosting: Hosting) -> None:
    @app.exception_handler(Problem)
    async def refuse(request: Request, problem: Problem) -> Response:
        return refusal(problem)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(request: Request, error: RequestValidationError) -> Response:
        return refusal(_bad_request(list(error.errors())))

    @app.exception_handler(HTTPException)
    async def refuse_address(request: Request, error: HTTPException) -> Response:
        return refusal(HttpProblem(error.status_code, error.detail), error.headers)

    @app.exception_handler(ClientDisconnect)
    async def say_nothing(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # whoever broke the upload off is not there to read it

    @app.exception_handler(Exception)
    async def apologise(request: Request, error: Exception) -> Response:
        # Starlette answers these outside every middleware, so the security headers are added here.
        headers = security_headers(hosting.route_path(request.url.path), hosting)
        return refusal(Unexpected("the log of the server says more"), headers)
