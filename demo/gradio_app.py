"""The fallback UI over the same service: upload, click, see the mask. State belongs to the session.

Gradio can fetch files by address and call home; here it can do neither. Analytics are off, fonts are the
system's, a gate lets through only the routes of this page, and no component follows an address for a file.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from fastapi import FastAPI
from PIL import Image
from starlette.types import ASGIApp, Receive, Scope, Send

from demo.bodies import limit_receive
from demo.headers import GRADIO_PATH
from demo.pictures import read_picture
from demo.problems import HttpProblem, Problem, TooManyBytes
from demo.schemas import MULTIPART_OVERHEAD_BYTES, Prompts, Service

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read once, while gradio is imported
import gradio as gr

ADD, REMOVE = "add to the mask", "take away from it"
PREVIEW_SIDE = 1024
_MASK_RGB = np.array([30, 144, 255])
_CLICK_RGB = {1: (0, 200, 80), 0: (230, 40, 60)}
_SESSION_S = 3600
_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}

_ADDRESS = re.compile(r"\s*https?:", re.IGNORECASE)
_OPEN_ROUTES = {
    "GET": re.compile(
        r"/?|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static|svelte)/.*"
        r"|/gradio_api/(info|startup-events|theme\.css|queue/data|upload_progress|heartbeat/[^/]+)"
        r"|/gradio_api/file=(?!\s*(?i:https?:)).*"
    ),
    "POST": re.compile(r"/gradio_api/(queue/join|upload|cancel|reset)"),
}


@dataclass(frozen=True)
class Session:
    """What one visitor has open: the picture's id and size, a preview, and the clicks in original pixels."""

    image_id: str
    original_hw: tuple[int, int]
    preview: np.ndarray
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Original pixels per preview pixel."""
        return self.original_hw[1] / self.preview.shape[1], self.original_hw[0] / self.preview.shape[0]


class Fallback:
    """The three things a visitor can do; each takes a session and answers the next one with what to show."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def open(self, data: bytes | None) -> tuple[Session | None, np.ndarray | None]:
        if not data:
            return None, None
        try:
            picture, _ = await self.service.add(data)
            preview = await asyncio.to_thread(_preview, data, self.service.limits)
        except Problem as problem:
            raise _shown(problem) from None
        return Session(picture.id, picture.original_hw, preview), preview

    async def click(
        self, session: Session | None, kind: str, event: gr.SelectData
    ) -> tuple[Session | None, np.ndarray | None]:
        if session is None:
            return None, None
        x, y = ((at + 0.5) * scale for at, scale in zip(event.index, session.scale_xy, strict=True))
        label = int(kind == ADD)
        session = replace(session, points=(*session.points, (x, y)), labels=(*session.labels, label))
        prompts = Prompts(points=list(session.points), labels=list(session.labels))
        try:
            segment = await self.service.segment(session.image_id, prompts)
        except Problem as problem:
            raise _shown(problem) from None
        return session, await asyncio.to_thread(_overlay, session, segment.mask)

    def clear(self, session: Session | None) -> tuple[Session | None, np.ndarray | None]:
        if session is None:
            return None, None
        return replace(session, points=(), labels=()), session.preview


def build_blocks(service: Service) -> gr.Blocks:
    """The page: a file, the picture, two kinds of click, and a way to start again."""
    fallback = Fallback(service)
    with gr.Blocks(title="Segment anything", analytics_enabled=False, delete_cache=(600, _SESSION_S)) as blocks:
        session = gr.State(None, time_to_live=_SESSION_S)
        gr.Markdown("Open a picture, then click what you mean. The mask is decoded on the server.")
        file = gr.File(label="Picture", type="binary", file_types=["image"], height=120)
        kind = gr.Radio([ADD, REMOVE], value=ADD, label="A click should")
        picture = gr.Image(label="Mask", interactive=False, format="webp", buttons=["download", "fullscreen"])
        clear = gr.Button("Clear the clicks")
        outputs = {"outputs": [session, picture], "api_visibility": "private"}
        file.change(fallback.open, [file], **outputs)
        picture.select(fallback.click, [session, kind], **outputs)
        clear.click(fallback.clear, [session], **outputs)
    _forbid_fetching(blocks)
    return blocks


def mount_fallback(app: FastAPI, service: Service, *, root_path: str = "") -> FastAPI:
    """Put the fallback UI under /gradio of `app`, which a proxy mounts at `root_path`, behind its gate."""
    app = gr.mount_gradio_app(
        app,
        build_blocks(service),
        path=GRADIO_PATH,
        root_path=root_path + GRADIO_PATH,
        max_file_size=service.limits.max_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gr.themes.Default(**_FONTS),
    )
    mount = app.router.routes[-1]
    mount.app = Gate(mount.app, max_bytes=service.limits.max_bytes + MULTIPART_OVERHEAD_BYTES)
    return app


class Gate:
    """Lets through what the page uses, with bodies up to the limit, and answers 404 to everything else."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http" or not _is_open(scope):
            raise HttpProblem(404, "Not Found")
        if (given := _declared_bytes(scope)) > self.max_bytes:
            raise TooManyBytes(self.max_bytes, given)
        await self.app(scope, limit_receive(receive, self.max_bytes, self.max_bytes), send)


def _is_open(scope: Scope) -> bool:
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    path = scope["path"].removeprefix(scope["root_path"])
    return method in _OPEN_ROUTES and _OPEN_ROUTES[method].fullmatch(path) is not None


def _declared_bytes(scope: Scope) -> int:
    declared = dict(scope["headers"]).get(b"content-length", b"")
    return int(declared) if declared.isdigit() else 0


def _forbid_fetching(blocks: gr.Blocks) -> None:
    """Any component downloads what a client names by address, before it looks at it; these refuse."""
    for block in blocks.blocks.values():
        keep_local = partial(_local_only, block.async_move_resource_to_block_cache)
        block.async_move_resource_to_block_cache = keep_local


async def _local_only(move, url_or_file_path: str | os.PathLike | None) -> str | None:
    if url_or_file_path is not None and _ADDRESS.match(str(url_or_file_path)):
        raise gr.Error("Pictures are not fetched by address; upload the file.", print_exception=False)
    return await move(url_or_file_path)


def _shown(problem: Problem) -> gr.Error:
    return gr.Error(f"{problem.title}: {problem.detail}", print_exception=False)


def _preview(data: bytes, limits) -> np.ndarray:
    image = Image.fromarray(read_picture(data, limits))
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return np.asarray(image)


def _overlay(session: Session, mask: np.ndarray) -> np.ndarray:
    """The preview with the mask tinted and a disc at each click."""
    height, width = session.preview.shape[:2]
    small_mask = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    shown = session.preview.copy()
    shown[small_mask] = (0.5 * shown[small_mask] + 0.5 * _MASK_RGB).astype(np.uint8)
    for (x, y), label in zip(session.points, session.labels, strict=True):
        _draw_disc(shown, x / session.scale_xy[0], y / session.scale_xy[1], _CLICK_RGB[label])
    return shown


def _draw_disc(image: np.ndarray, x: float, y: float, rgb: tuple[int, int, int]) -> None:
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    radius = max(3, min(image.shape[:2]) // 80)
    image[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = rgb
