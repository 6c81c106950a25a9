"""The same steps for programs: named endpoints of `gradio_client`, which answer with data instead of controls.

A client is a visitor: what it opens, clicks and keeps stays with its session. README shows one at work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.gradio_app import views
from demo.gradio_app.asking import require_upload, told, visit_of
from demo.gradio_app.visits import Visit, Visits
from demo.gradio_app.work import Work, wanted

Answer = dict[str, Any]


class Endpoints:
    """Every step of the work under its name; the docstrings are what clients are told."""

    def __init__(self, work: Work, visits: Visits) -> None:
        self.work, self.visits = work, visits

    def add(self) -> None:
        """Put them on the page, without a control of their own; call inside `gr.Blocks`, before the page is wired."""
        number, text, data = (_hidden(kind) for kind in (gr.Number, gr.Textbox, gr.JSON))
        whole, upload = _hidden(gr.Number, precision=0), _hidden(gr.File, type="filepath")
        picture, file = _hidden(gr.Image), _hidden(gr.File)
        preset, style, edge = (_hidden(gr.Textbox, value=value) for value in ("balanced", "coco", "sharp"))
        for endpoint, inputs, output in (
            (self.open, [upload], data),
            (self.open_example, [text], data),
            (self.models, [], data),
            (self.choose_model, [text], data),
            (self.click, [text, number, number], data),
            (self.choose, [whole], data),
            (self.undo, [], data),
            (self.clear, [], data),
            (self.keep, [text], data),
            (self.show, [data], data),
            (self.relabel, [whole, text], data),
            (self.remove, [whole], data),
            (self.everything, [preset], data),
            (self.stop, [], data),
            (self.take_all, [], data),
            (self.look, [], picture),
            (self.export, [style, edge], file),
        ):
            about = {"api_name": endpoint.__name__, "api_description": endpoint.__doc__}
            gr.on([], endpoint, inputs, [output], concurrency_limit=None, **about)

    # ---- the picture ------------------------------------------------------------------------------

    async def open(self, request: gr.Request, file: str) -> Answer:
        """Open a picture file; answers when the model has seen it."""
        with told():
            require_upload(self.visits, file)
            return await self._open(visit_of(self.visits, request), Path(file))

    async def open_example(self, request: gr.Request, name: str) -> Answer:
        """Open a picture of the gallery, such as "coffee.jpg"."""
        with told():
            return await self._open(visit_of(self.visits, request), self.work.example(name))

    # ---- the model --------------------------------------------------------------------------------

    async def models(self) -> list[Answer]:
        """The models to choose from, the default first."""
        with told():
            return [offer.model_dump() for offer in self.work.models()]

    async def choose_model(self, request: gr.Request, model: str) -> Answer:
        """Go on with another model, by its id; answers when it has seen the picture and the prompts again."""
        visit = visit_of(self.visits, request)
        with told():
            async for _ in self.work.choose_model(visit, model):
                pass
            return views.report(visit) if visit.now else {"model": visit.model}

    # ---- prompts ----------------------------------------------------------------------------------

    async def click(self, request: gr.Request, kind: str, x: float, y: float) -> Answer:
        """Click at x, y in pixels of the picture; kind is "add", "remove", "corner" (of a box) or "take" (a find)."""
        return await self._step(request, self.work.click, kind, (x, y))

    async def choose(self, request: gr.Request, candidate: int) -> Answer:
        """Another candidate: 0 is the single mask, 1 to 3 are the three of a vague question."""
        return await self._step(request, self.work.choose, candidate)

    async def undo(self, request: gr.Request) -> Answer:
        """Take back the last step."""
        return await self._step(request, self.work.undo)

    async def clear(self, request: gr.Request) -> Answer:
        """Forget the clicks, the box and the mask that was not kept."""
        return await self._step(request, self.work.clear)

    # ---- objects ----------------------------------------------------------------------------------

    async def keep(self, request: gr.Request, label: str) -> Answer:
        """The mask becomes an object with this label."""
        return await self._step(request, self.work.keep, label)

    async def show(self, request: gr.Request, objects: list) -> Answer:
        """Draw and export exactly these objects, a list of numbers from 0 on."""
        return await self._step(request, self.work.show, objects)

    async def relabel(self, request: gr.Request, object: int, label: str) -> Answer:
        """Another label for an object, by its number from 0 on."""
        return await self._step(request, self.work.relabel, object, label)

    async def remove(self, request: gr.Request, object: int) -> Answer:
        """Remove an object, by its number from 0 on."""
        return await self._step(request, self.work.remove, object)

    # ---- everything -------------------------------------------------------------------------------

    async def everything(self, request: gr.Request, preset: str) -> AsyncIterator[Answer]:
        """Find all objects, "few", "balanced" or "fine"; answers again and again until all points are asked."""
        visit = visit_of(self.visits, request)
        with told():
            search = self.work.find(visit, wanted(preset))
            try:
                async for _ in search:
                    yield views.search_report(visit.found)
            finally:
                await search.aclose()

    async def stop(self, request: gr.Request) -> Answer:
        """Stop looking for everything; what was found stays."""
        return await self._step(request, self.work.stop)

    async def take_all(self, request: gr.Request) -> Answer:
        """Keep all that everything mode found."""
        return await self._step(request, self.work.take_all)

    # ---- files ------------------------------------------------------------------------------------

    async def look(self, request: gr.Request) -> str:
        """The picture with the mask, the prompts and the objects drawn on it."""
        with told():
            return str(await self.work.draw(visit_of(self.visits, request)))

    async def export(self, request: gr.Request, format: str, edge: str) -> str:
        """A file with the objects that are shown, or else the mask; cut-outs are "sharp", "feathered" or "matte"."""
        with told():
            return str(await self.work.export(visit_of(self.visits, request), format, edge))

    # ---- helpers ----------------------------------------------------------------------------------

    async def _step(self, request: gr.Request, act: Callable[..., Awaitable[None]], *arguments: Any) -> Answer:
        """Take one step, and answer with the desk."""
        visit = visit_of(self.visits, request)
        with told():
            await act(visit, *arguments)
            return views.report(visit)

    async def _open(self, visit: Visit, file: Path) -> Answer:
        async for _ in self.work.open(visit, file):
            pass
        return views.report(visit)


def _hidden(component: type[gr.components.Component], **options: Any) -> Any:
    """A component that reads or writes for programs, and that nobody sees."""
    return component(visible=False, **options)
