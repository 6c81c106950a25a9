"""The routes of models: what there is to choose from, how it stands, downloads after consent, decoders."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, FastAPI, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from demo.answers import coding_for, immutable
from demo.problems import (
    BadRequest,
    Busy,
    ModelFailed,
    NoDownload,
    NotAgreed,
    NotDownloaded,
    UnknownDecoder,
    UnknownModel,
)
from demo.routes.reference import EVENT_STREAM, Hash, binary, refusals
from demo.routes.streams import stream
from demo.schemas import (
    Decoder,
    DecoderReply,
    Described,
    DownloadRequest,
    FileReply,
    Limits,
    ModelOffer,
    ModelReply,
    ModelsReply,
    Service,
)

_ID = {"pattern": r"^[\w.-]{1,200}$", "examples": ["tiny"]}
ModelId = Annotated[str, Path(**_ID)]
ChosenModel = Annotated[
    str | None, Query(alias="model", description="One of /api/models; without it the default.", **_ID)
]
LENDING = (UnknownModel, NotDownloaded, ModelFailed, Busy)
"""What may stand between a request and a model that is loaded."""

_EVENTS = (
    "`downloading` {done, total, remaining_s} and `loading` {} until `done` {state}, or `failed` with a problem. "
    "A download that was cancelled is done with the state `not_downloaded`."
)


def add_model_routes(app: FastAPI, service: Service, prefix: str) -> None:
    """Put them on `app`, which is mounted under `prefix`."""
    app.include_router(_description_routes(service, prefix))
    app.include_router(_shelf_routes(service))


def _description_routes(service: Service, prefix: str) -> APIRouter:
    router = APIRouter(tags=["model"])

    def reply(described: Described) -> ModelReply:
        return ModelReply(
            id=described.id,
            model=described.info,
            encoder=described.encoder,
            prompt_frame=described.prompt_frame,
            mask_threshold=described.mask_threshold,
            decoders=[_describe_decoder(decoder, prefix) for decoder in described.decoders],
            limits=Limits(max_bytes=service.limits.max_bytes, max_pixels=service.limits.max_pixels),
        )

    @router.get("/api/model", summary="The default model, its decoders and the limits")
    async def model() -> ModelReply:
        return reply(await service.describe())

    @router.get("/api/models/{model_id}", summary="A model, loaded if need be", responses=refusals(*LENDING))
    async def chosen_model(model_id: ModelId) -> ModelReply:
        """Waits until the model is loaded; its `events` tell how far that is."""
        return reply(await service.describe(model_id))

    @router.get(
        "/api/decoders/{sha256}",
        summary="A file of a decoder, by its content",
        response_class=Response,
        responses={**binary("application/octet-stream", "The file; immutable"), **refusals(UnknownDecoder)},
    )
    async def decoder_file(request: Request, sha256: Hash) -> Response:
        file = await service.decoder_file(sha256)
        coding = coding_for(request, file.packed)
        body, etag = file.packed.get(coding, file.data), f"{sha256}-{coding}"
        return immutable(request, body, etag=etag, media_type="application/octet-stream", coding=coding)

    return router


def _shelf_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["model"])

    @router.get("/api/models", summary="The models to choose from")
    async def models() -> ModelsReply:
        return ModelsReply(models=service.models())

    @router.post(
        "/api/models/{model_id}/load", summary="Begin to load a model", status_code=202, responses=refusals(*LENDING)
    )
    async def load(model_id: ModelId) -> ModelOffer:
        """Whatever asks for a model loads it as well; this does so ahead of time."""
        return service.load(model_id)

    @router.post(
        "/api/models/{model_id}/download",
        summary="Agree to download a model, and begin",
        status_code=202,
        responses=refusals(UnknownModel, NotAgreed, NoDownload, BadRequest, Busy),
    )
    async def download(model_id: ModelId, consent: Annotated[DownloadRequest, Body()]) -> ModelOffer:
        """Without `agreed` it is refused, and the refusal says what one would agree to."""
        return service.download(model_id, agreed=consent.agreed)

    @router.delete("/api/models/{model_id}/download", summary="Cancel a download", responses=refusals(UnknownModel))
    async def cancel(model_id: ModelId) -> ModelOffer:
        """What has arrived is kept: the next download goes on from there."""
        return service.cancel_download(model_id)

    @router.get(
        "/api/models/{model_id}/events",
        summary="What becomes of a download or a load, as server-sent events",
        response_class=StreamingResponse,
        responses={200: {"description": _EVENTS, "content": {EVENT_STREAM: {}}}, **refusals(UnknownModel)},
    )
    async def events(model_id: ModelId) -> StreamingResponse:
        progress = service.model_progress(model_id)
        first = await anext(progress)  # an unknown model is refused before the stream begins
        return stream(first, progress)

    return router


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
