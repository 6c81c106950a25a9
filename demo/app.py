"""The routes: HTTP in front of a service that is handed in. Imports neither torch nor the service."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from demo.bodies import read_body, read_upload
from demo.codings import Coding, choose_coding
from demo.headers import SecurityHeaders, security_headers
from demo.page import Document, StaticPage, static_folder
from demo.problems import BadRequest, HttpProblem, Problem, Unexpected, UnknownDecoder
from demo.schemas import (
    MAX_PROMPT_BYTES,
    Decoder,
    DecoderReply,
    Event,
    FileReply,
    HealthReply,
    ImageReply,
    Limits,
    ModelReply,
    Picture,
    Precision,
    Prompts,
    Service,
)

IMMUTABLE = "private, max-age=31536000, immutable"
SAFETENSORS = "application/vnd.safetensors"
Hash = Annotated[str, InPath(pattern=r"^[0-9a-f]{64}$")]

log = logging.getLogger(__name__)


def create_app(service: Service, *, static: Path | None = None) -> FastAPI:
    """The application over `service`, with the page from `static` (default: where the package keeps it)."""
    app = FastAPI(
        title="Segment anything", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan(service)
    )
    app.add_middleware(SecurityHeaders)
    _add_problem_handlers(app)
    _add_model_routes(app, service)
    _add_image_routes(app, service)
    _add_page(app, static or static_folder())
    return app


def _lifespan(service: Service):
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.warm_up()
        yield
        service.close()

    return lifespan


# ---- routes ---------------------------------------------------------------------------------------


def _add_model_routes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def health() -> HealthReply:
        return service.health()

    @app.get("/api/model")
    async def model() -> ModelReply:
        return ModelReply(
            model=service.model_info,
            prompt_frame=service.prompt_frame,
            mask_threshold=service.mask_threshold,
            decoders=[_describe_decoder(decoder) for decoder in await service.decoders()],
            limits=Limits(max_bytes=service.limits.max_bytes, max_pixels=service.limits.max_pixels),
        )

    @app.get("/api/decoders/{sha256}")
    async def decoder_file(request: Request, sha256: Hash) -> Response:
        files = (file for decoder in await service.decoders() for file in decoder.files.values())
        for file in files:
            if file.sha256 == sha256:
                coding = _coding(request, file.packed)
                body, etag = file.packed.get(coding, file.data), f"{sha256}-{coding}"
                return _immutable(request, body, etag=etag, media_type="application/octet-stream", coding=coding)
        raise UnknownDecoder("the page and the server are of different ages; reload the page", sha256=sha256)


def _add_image_routes(app: FastAPI, service: Service) -> None:
    @app.post("/api/images", status_code=201)
    async def upload(request: Request, response: Response) -> ImageReply:
        picture, is_new = await service.add(await read_upload(request, service.limits.max_bytes))
        response.status_code = 201 if is_new else 200
        return _describe_picture(picture, service)

    @app.get("/api/images/{image_id}/events")
    async def events(image_id: Hash) -> StreamingResponse:
        progress = service.progress(image_id)
        first = await anext(progress)  # an unknown picture is refused before the stream begins
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_stream(first, progress), media_type="text/event-stream", headers=headers)

    @app.get("/api/embeddings/{image_id}/{weights_hash}/{precision}")
    async def embedding(request: Request, image_id: Hash, weights_hash: Hash, precision: Precision) -> Response:
        wanted = _coding(request, ("zstd",))
        body, coding = await service.embedding_file(image_id, weights_hash, precision, wanted)
        etag = f"{image_id[:32]}-{weights_hash[:32]}-{precision}-{coding}"
        return _immutable(request, body, etag=etag, media_type=SAFETENSORS, coding=coding)

    @app.post("/api/images/{image_id}/decode")
    async def decode(request: Request, image_id: Hash) -> Response:
        body = await service.decode_file(image_id, _read_prompts(await read_body(request, MAX_PROMPT_BYTES)))
        return Response(body, media_type=SAFETENSORS, headers={"Cache-Control": "no-store"})


def _add_page(app: FastAPI, static: Path) -> None:
    files, document = StaticPage(directory=static, check_dir=False), Document(static)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        """`?source` asks for the page's modules as they are written."""
        return files.document(document.source if "source" in request.query_params else document.path, request.scope)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:  # Gradio's page, among others, asks for it here without being told to
        return FileResponse(static / "icon.svg", headers={"Cache-Control": "no-cache"})

    app.mount("/static", files)


# ---- answers --------------------------------------------------------------------------------------


def _describe_decoder(decoder: Decoder) -> DecoderReply:
    files = {
        role: FileReply(url=f"/api/decoders/{file.sha256}", sha256=file.sha256, bytes=len(file.data))
        for role, file in decoder.files.items()
    }
    return DecoderReply(
        precision=decoder.precision,
        contract=decoder.contract,
        contract_version=decoder.contract_version,
        files=files,
    )


def _describe_picture(picture: Picture, service: Service) -> ImageReply:
    (height, width), (resized_height, resized_width) = picture.original_hw, picture.resized_hw
    return ImageReply(
        id=picture.id,
        width=width,
        height=height,
        resized_width=resized_width,
        resized_height=resized_height,
        model=service.model_info,
        embedding_url=f"/api/embeddings/{picture.id}/{service.model_info.weights_hash}/fp16",
        events_url=f"/api/images/{picture.id}/events",
        decode_url=f"/api/images/{picture.id}/decode",
    )


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


async def _stream(first: Event, rest: AsyncIterator[Event]) -> AsyncIterator[str]:
    yield _event_text(first)
    async for event in rest:
        yield _event_text(event)


def _event_text(event: Event) -> str:
    return f"event: {event.name}\ndata: {json.dumps(event.data)}\n\n"


# ---- refusals -------------------------------------------------------------------------------------


def _read_prompts(body: bytes) -> Prompts:
    try:
        return Prompts.model_validate_json(body)
    except ValidationError as error:
        raise _bad_request(error.errors(include_url=False, include_context=False, include_input=False)) from None


def _bad_request(errors: list[dict]) -> BadRequest:
    faults = [_fault(error) for error in errors]
    detail = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
    return BadRequest(detail, faults=faults)


def _fault(error: dict) -> dict[str, str]:
    where = ".".join(str(part) for part in error["loc"]) or "body"
    return {"where": where, "what": error["msg"].removeprefix("Value error, ")}


def _add_problem_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def refuse(request: Request, problem: Problem) -> Response:
        return _problem_response(problem)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(request: Request, error: RequestValidationError) -> Response:
        return _problem_response(_bad_request(list(error.errors())))

    @app.exception_handler(HTTPException)
    async def refuse_address(request: Request, error: HTTPException) -> Response:
        return _problem_response(HttpProblem(error.status_code, error.detail), error.headers)

    @app.exception_handler(Exception)
    async def apologise(request: Request, error: Exception) -> Response:
        # Starlette answers these outside every middleware, so the security headers are added here.
        return _problem_response(Unexpected("the log of the server says more"), security_headers(request.url.path))


def _problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    headers = {"Cache-Control": "no-store", **problem.headers, **(headers or {})}
    return JSONResponse(
        problem.document(), status_code=problem.status, headers=headers, media_type="application/problem+json"
    )
