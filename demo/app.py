"""The routes: HTTP in front of a service that is handed in. Imports neither torch nor the service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse
from starlette.exceptions import HTTPException

from demo.answers import refusal
from demo.bodies import read_upload
from demo.clients import client_of
from demo.codings import Coding, choose_coding
from demo.headers import GRADIO_PATH, SecurityHeaders, security_headers
from demo.hosting import DIRECT, Hosting, UnderRootPath
from demo.origins import OwnOrigin
from demo.page import Document, StaticPage, static_folder
from demo.problems import (
    BadRequest,
    BrokenPicture,
    Busy,
    EncodeFailed,
    HttpProblem,
    OtherWeights,
    Problem,
    TooManyBytes,
    TooManyPixels,
    TooManyRequests,
    Unexpected,
    UnfitView,
    UnknownDecoder,
    UnknownPicture,
    UnsupportedPicture,
)
from demo.prompt_routes import add_prompt_routes
from demo.rates import RateLimits
from demo.reference import EVENT_STREAM, SAFETENSORS, Hash, View, add_reference, binary, describe, refusals
from demo.safeguards import NONE, Safeguards
from demo.schemas import (
    Decoder,
    DecoderReply,
    FileReply,
    HealthReply,
    ImageReply,
    Limits,
    ModelReply,
    Picture,
    Precision,
    Service,
    ViewReply,
    Window,
)
from demo.streams import stream

IMMUTABLE = "private, max-age=31536000, immutable"

_UPLOAD_REFUSALS = refusals(TooManyBytes, TooManyPixels, UnsupportedPicture, BrokenPicture, TooManyRequests, Busy)
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
    _add_model_routes(app, service, hosting.root_path)
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
    )
    app.state.service = service
    app.add_middleware(RateLimits, rates=safeguards.rates, hosting=hosting)
    app.add_middleware(OwnOrigin, hosting=hosting)
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


def _lifespan(service: Service):
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.warm_up()
        yield
        service.close()

    return lifespan


# ---- routes ---------------------------------------------------------------------------------------


def _add_model_routes(app: FastAPI, service: Service, prefix: str) -> None:
    @app.get("/api/model", summary="The model, its decoders and the limits", tags=["model"])
    async def model() -> ModelReply:
        return ModelReply(
            model=service.model_info,
            encoder=service.encoder,
            prompt_frame=service.prompt_frame,
            mask_threshold=service.mask_threshold,
            decoders=[_describe_decoder(decoder, prefix) for decoder in await service.decoders()],
            limits=Limits(max_bytes=service.limits.max_bytes, max_pixels=service.limits.max_pixels),
        )

    @app.get(
        "/api/decoders/{sha256}",
        summary="A file of a decoder, by its content",
        tags=["model"],
        response_class=Response,
        responses={**binary("application/octet-stream", "The file; immutable"), **refusals(UnknownDecoder)},
    )
    async def decoder_file(request: Request, sha256: Hash) -> Response:
        files = (file for decoder in await service.decoders() for file in decoder.files.values())
        for file in files:
            if file.sha256 == sha256:
                coding = _coding(request, file.packed)
                body, etag = file.packed.get(coding, file.data), f"{sha256}-{coding}"
                return _immutable(request, body, etag=etag, media_type="application/octet-stream", coding=coding)
        raise UnknownDecoder("the page and the server are of different ages; reload the page", sha256=sha256)


def _add_image_routes(app: FastAPI, service: Service, prefix: str) -> None:
    @app.post(
        "/api/images",
        summary="Upload a picture, whose encode begins",
        tags=["pictures"],
        status_code=201,
        responses={200: {"model": ImageReply, "description": "It is here already"}, **_UPLOAD_REFUSALS},
        openapi_extra={"requestBody": _PICTURE_BODY},
    )
    async def upload(request: Request, response: Response) -> ImageReply:
        """The body is the picture file itself, or a form with it in the field `file`."""
        data = await read_upload(request, service.limits.max_bytes)
        picture, is_new = await service.add(data, visitor=client_of(request.scope))
        response.status_code = 201 if is_new else 200
        return _describe_picture(picture, service, prefix)

    @app.get(
        "/api/images/{image_id}/events",
        summary="What becomes of an encode, as server-sent events",
        tags=["pictures"],
        response_class=StreamingResponse,
        responses={200: {"description": _ENCODE_EVENTS, "content": {EVENT_STREAM: {}}}, **refusals(UnknownPicture)},
    )
    async def events(image_id: Hash) -> StreamingResponse:
        progress = service.progress(image_id)
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
        return _immutable(request, await service.png_file(image_id), etag=image_id, media_type="image/png")

    @app.get(
        "/api/embeddings/{image_id}/{weights_hash}/{precision}",
        summary="A picture's embedding, as soon as it is there",
        tags=["pictures"],
        response_class=Response,
        responses={
            **binary(SAFETENSORS, "The tensor image_embeddings [1,256,64,64], immutable"),
            **refusals(UnknownPicture, OtherWeights, EncodeFailed),
        },
    )
    async def embedding(request: Request, image_id: Hash, weights_hash: Hash, precision: Precision) -> Response:
        return await embedding_of(request, image_id, weights_hash, precision)

    @app.get(
        "/api/images/{image_id}/views/{view}",
        summary="A closer view of a picture, as soon as it is encoded",
        tags=["pictures"],
        responses=refusals(UnknownPicture, UnfitView, Busy, EncodeFailed),
    )
    async def closer_view(request: Request, image_id: Hash, view: View) -> ViewReply:
        """Windows x,y,width,height that are encoded by themselves, for finer masks where somebody zooms in. Their sides
        are 128, 256, 512, ... pixels, or the picture's where that is shorter, and they begin at multiples of half their
        side, or end where the picture does. A window of another kind is refused, naming the nearest.
        """
        picture, seconds = await service.view(image_id, _window(view), visitor=client_of(request.scope))
        return _describe_view(picture, seconds, service, prefix)

    @app.get(
        "/api/embeddings/{image_id}/{weights_hash}/{precision}/{view}",
        summary="A view's embedding, as soon as it is there",
        tags=["pictures"],
        response_class=Response,
        responses={
            **binary(SAFETENSORS, "The tensor image_embeddings [1,256,64,64], immutable"),
            **refusals(UnknownPicture, OtherWeights, UnfitView, Busy, EncodeFailed),
        },
    )
    async def view_embedding(
        request: Request, image_id: Hash, weights_hash: Hash, precision: Precision, view: View
    ) -> Response:
        return await embedding_of(request, image_id, weights_hash, precision, view)

    async def embedding_of(request: Request, image_id: str, weights_hash: str, precision: Precision, view: str = ""):
        wanted, window = _coding(request, ("zstd",)), _window(view) if view else None
        body, coding = await service.embedding_file(image_id, weights_hash, precision, wanted, window)
        etag = f"{image_id[:32]}-{weights_hash[:32]}-{precision}-{coding}" + (f"-{view}" if view else "")
        return _immutable(request, body, etag=etag, media_type=SAFETENSORS, coding=coding)


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


def _describe_decoder(decoder: Decoder, prefix: str) -> DecoderReply:
    files = {
        role: FileReply(url=f"{prefix}/api/decoders/{file.sha256}", sha256=file.sha256, bytes=len(file.data))
        for role, file in decoder.files.items()
    }
    return DecoderReply(
        precision=decoder.precision,
        contract=decoder.contract,
        contract_version=decoder.contract_version,
        files=files,
    )


def _describe_picture(picture: Picture, service: Service, prefix: str) -> ImageReply:
    (height, width), (resized_height, resized_width) = picture.original_hw, picture.resized_hw
    return ImageReply(
        id=picture.id,
        width=width,
        height=height,
        resized_width=resized_width,
        resized_height=resized_height,
        model=service.model_info,
        embedding_url=f"{prefix}/api/embeddings/{picture.id}/{service.model_info.weights_hash}/fp16",
        events_url=f"{prefix}/api/images/{picture.id}/events",
        decode_url=f"{prefix}/api/images/{picture.id}/decode",
        views_url=f"{prefix}/api/images/{picture.id}/views",
        picture_url=f"{prefix}/api/images/{picture.id}/picture",
        predict_url=f"{prefix}/api/images/{picture.id}/predict",
        everything_url=f"{prefix}/api/images/{picture.id}/everything",
    )


def _describe_view(view: Picture, seconds: float, service: Service, prefix: str) -> ViewReply:
    named = ",".join(map(str, view.window))
    return ViewReply(
        window=view.window,
        resized_width=view.resized_hw[1],
        resized_height=view.resized_hw[0],
        model=service.model_info,
        embedding_url=f"{prefix}/api/embeddings/{view.id}/{service.model_info.weights_hash}/fp16/{named}",
        seconds=round(seconds, 3),
    )


def _window(view: str) -> Window:
    x, y, width, height = map(int, view.split(","))
    return (x, y, width, height)


def _immutable(request: Request, body: bytes, *, etag: str, media_type: str, coding: Coding = "identity") -> Response:
    """A body that its address fixes for ever; 304 for a client that already has it."""
    headers = {"Cache-Control": IMMUTABLE, "ETag": f'"{etag}"', "Vary": "Accept-Encoding"}
    if f'"{etag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if coding != "identity":
        headers["Content-Encoding"] = coding
    return Response(body, media_type=media_type, headers=headers)


def _coding(request: Request, offered: Collection[Coding]) -> Coding:
    return choose_coding(request.headers.get("accept-encoding", ""), offered)


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

    @app.exception_handler(Exception)
    async def apologise(request: Request, error: Exception) -> Response:
        # Starlette answers these outside every middleware, so the security headers are added here.
        headers = security_headers(hosting.route_path(request.url.path), hosting)
        return refusal(Unexpected("the log of the server says more"), headers)
