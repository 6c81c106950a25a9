"""The page under an address of an application, behind its gate, with its files swept away in time."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

import gradio as gr
from fastapi import FastAPI

from demo.gradio_app.endpoints import Endpoints
from demo.gradio_app.gate import Gate, keep_inside
from demo.gradio_app.layout import TITLE, lay_out
from demo.gradio_app.page import Page
from demo.gradio_app.theme import CSS, theme
from demo.gradio_app.visits import Visits
from demo.gradio_app.work import GALLERY, Work
from demo.guard.headers import GRADIO_PATH
from demo.schemas import MULTIPART_OVERHEAD_BYTES, Service

SWEEP_S = 30


def build_blocks(service: Service, visits: Visits, *, home: str | None = None) -> gr.Blocks:
    """The page and its named endpoints. `home`: where the full page is, if there is one."""
    gr.set_static_paths([GALLERY])
    work = Work(service)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        Endpoints(work, visits).add()
        Page(lay_out(service.formats, work.models(), home), work, visits).wire(blocks)
    keep_inside(blocks, visits.root)
    return blocks


def mount_gradio(
    app: FastAPI, service: Service, *, root_path: str = "", home: str | None = None, private: bool = False
) -> FastAPI:
    """Put the page under /gradio of `app`, which a proxy mounts at `root_path`, behind its gate.

    private: whether a visit shares no encoded picture with another.
    """
    visits = Visits(temporary_folder(), private=private)
    max_bytes = service.limits.max_bytes + MULTIPART_OVERHEAD_BYTES
    app = gr.mount_gradio_app(
        app,
        build_blocks(service, visits, home=home),
        path=GRADIO_PATH,
        root_path=root_path + GRADIO_PATH,
        max_file_size=max_bytes,  # of the body: the gate refuses that much before Gradio does, in its own words
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme(),
        css=CSS,
    )
    mount = app.router.routes[-1]
    mount.app = Gate(mount.app, max_bytes=max_bytes, visits=visits.folder, gallery=GALLERY)
    app.router.lifespan_context = _sweeping(app.router.lifespan_context, visits)
    return app


@cache
def temporary_folder() -> Path:
    """Where Gradio and we keep files, one folder a process, gone when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="segment-anything-", dir=os.environ.get("GRADIO_TEMP_DIR"))).resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # the only way to tell Gradio
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _sweeping(lifespan, visits: Visits):
    """The application's lifespan, with visits swept while it lasts and ended when it does."""

    @asynccontextmanager
    async def with_sweep(app: FastAPI) -> AsyncIterator:
        async with lifespan(app) as state:
            task = asyncio.create_task(_sweep(visits))
            try:
                yield state
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                visits.end()

    return with_sweep


async def _sweep(visits: Visits) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        await asyncio.to_thread(visits.sweep)
