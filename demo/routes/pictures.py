"""The routes of pictures: uploads, what becomes of their encodes, embeddings."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from demo.answers import coding_for, immutable
from demo.guard.bodies import read_upload
from demo.guard.clients import client_of
from demo.guard.privacy import owner_of
from demo.problems import (
    BrokenPicture,
    EncodeFailed,
    OtherWeights,
    TooManyBytes,
    TooManyPixels,
    TooManyRequests,
    UnfitView,
    UnknownPicture,
    UnsupportedPicture,
)
from demo.routes.models import LENDING, ChosenModel
from demo.routes.reference import EVENT_STREAM, SAFETENSORS, Hash, View, binary, refusals
from demo.routes.streams import stream
from demo.schemas import (
    ImageReply,
    Picture,
    Precision,
    Service,
    ViewReply,
    Window,
)

_UPLOAD_REFUSALS = refusals(TooManyBytes, TooManyPixels, UnsupportedPicture, BrokenPicture, TooManyRequests, *LENDING)
_FILE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE["schema"]}}}
_PICTURE_BODY = {"required": True, "content": {"image/*": _FILE, "multipart/form-data": _FORM}}
_ENCODE_EVENTS = (
    "`queued` {position} and `encoding` {elapsed_s, expected_s} until `done` {seconds}, or `failed` with a problem."
)


def add_picture_routes(app: FastAPI, service: Service, prefix: str) -> None:
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
    async def events(request: Request, image_id: Hash, model: ChosenModel = None) -> StreamingResponse:
        progress = service.progress(image_id, model=model, visitor=client_of(request.scope))
        first = await anext(progress)  # an unknown picture is refused before the stream begins
        return stream(first, progress)

    @app.get(
        "/api/images/{image_id}/picture",
        summary="The picture as PNG, upright: what a browser shows where it cannot show the file itself",
        tags=["pictures"],
        response_class=Response,
        responses={
            **binary("image/png", "The picture, immutable"),
            **refusals(UnknownPicture, EncodeFailed, TooManyRequests),
        },
    )
    async def shown_picture(request: Request, image_id: Hash) -> Response:
        file = await service.png_file(image_id, visitor=client_of(request.scope))
        return immutable(request, file, etag=image_id, media_type="image/png")

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
        asked = (image_id, weights_hash, precision, wanted, window)
        body, coding = await service.embedding_file(*asked, visitor=client_of(request.scope))
        etag = f"{image_id[:32]}-{weights_hash[:32]}-{precision}-{coding}" + (f"-{view}" if view else "")
        return immutable(request, body, etag=etag, media_type=SAFETENSORS, coding=coding)


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
