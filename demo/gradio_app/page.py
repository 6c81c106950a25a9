"""Which step each control of the page takes, and what the page shows then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.gradio_app import views
from demo.gradio_app.asking import require_upload, told, visit_of
from demo.gradio_app.desk import Kind
from demo.gradio_app.layout import Controls, gallery
from demo.gradio_app.visits import Visit, Visits
from demo.gradio_app.work import Work, wanted
from demo.guard.visitors import visitor_of

EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
"""Of the page's own events: the service has lanes of its own, so nobody waits for another visitor here."""

Updates = dict[gr.components.Component, Any]


class Page:
    """Each control's step: the service does it, and the page shows the visit as it is then."""

    def __init__(self, controls: Controls, work: Work, visits: Visits) -> None:
        self.controls, self.work, self.visits = controls, work, visits

    def wire(self, blocks: gr.Blocks) -> None:
        """Tie every control to its step."""
        on, work, every = self.controls, self.work, {"outputs": self.controls.all, **EVENT}
        many = {**every, "trigger_mode": "multiple"}
        on.model.input(self.choose_model, [on.model], **every)
        on.file.upload(self.open, [on.file], **every)
        on.gallery.select(self.open_example, [], **every)
        on.picture.select(self.click, [on.kind], **many)
        on.click.click(
            self.step(lambda visit, kind, x, y: work.click(visit, kind, (x, y))), [on.kind, on.x, on.y], **many
        )
        on.undo.click(self.step(work.undo), [], **many)
        on.clear.click(self.step(work.clear), [], **every)
        on.candidates.input(self.step(work.choose), [on.candidates], **every)
        gr.on([on.keep.click, on.label.submit], self.step(work.keep), [on.label], **every)
        on.things.input(self.step(work.show), [on.things], **{**every, "trigger_mode": "always_last"})
        gr.on([on.rename.click, on.new_label.submit], self.step(self.rename), [on.thing, on.new_label], **every)
        on.remove.click(self.step(self.remove), [on.thing], **every)
        on.find.click(self.find, [on.preset], **every)
        on.stop.click(self.stop, [], **every)
        on.take_all.click(self.step(work.take_all), [], **every)
        on.forget.click(self.step(work.forget_found), [], **every)
        on.format.change(self.show_edges, [on.format], [on.edge], **EVENT)
        on.export.click(self.export, [on.format, on.edge], [on.download], **{**EVENT, "show_progress": "minimal"})
        blocks.unload(self.leave)

    # ---- steps ------------------------------------------------------------------------------------

    def step(self, act: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[Updates]]:
        """An event handler: one step of the work, then the page as it is."""

        async def handle(request: gr.Request, *inputs: Any) -> Updates:
            visit = visit_of(self.visits, request)
            with told():
                await act(visit, *inputs)
            return await self.look(visit)

        return handle

    async def open(self, request: gr.Request, file: str | None) -> AsyncIterator[Updates]:
        if file is None:
            return
        visit = visit_of(self.visits, request)
        with told():
            require_upload(self.visits, file)
            async for updates in self._open(visit, Path(file)):
                yield updates

    async def open_example(self, request: gr.Request, event: gr.SelectData) -> AsyncIterator[Updates]:
        visit = visit_of(self.visits, request)
        with told():
            async for updates in self._open(visit, self.work.example(gallery()[event.index]["file"])):
                yield updates

    async def choose_model(self, request: gr.Request, model: str) -> AsyncIterator[Updates]:
        """What cannot be had leaves the dropdown as it was."""
        on, visit = self.controls, visit_of(self.visits, request)
        try:
            with told():
                async for event in self.work.choose_model(visit, model):
                    yield {on.status: views.encoding(event)}
        except gr.Error:
            yield await self.look(visit)
            raise
        yield await self.look(visit)

    async def _open(self, visit: Visit, file: Path) -> AsyncIterator[Updates]:
        on, begun = self.controls, False
        async for event in self.work.open(visit, file):
            updates = {} if begun else await self.look(visit) | self._opened(visit)
            yield updates | {on.status: views.encoding(event)}
            begun = True
        yield {on.status: views.status(visit)}

    def _opened(self, visit: Visit) -> Updates:
        """What a new picture sets once."""
        on, (height, width) = self.controls, visit.desk.picture.original_hw
        return {
            on.opener: gr.update(open=False, label="Open another picture"),
            on.file: None,
            on.gallery: gr.update(selected_index=None),
            on.kind: "add",
            on.x: gr.update(value=width // 2, maximum=width),
            on.y: gr.update(value=height // 2, maximum=height),
            on.download: gr.update(value=None, visible=False),
        }

    async def click(self, request: gr.Request, kind: Kind, event: gr.SelectData) -> Updates:
        """A click on the preview, at the middle of the pixel that was hit."""
        visit = visit_of(self.visits, request)
        with told():
            scale_xy = visit.desk.picture.scale_xy
            x, y = ((at + 0.5) * scale for at, scale in zip(event.index, scale_xy, strict=True))
            await self.work.click(visit, kind, (x, y))
        return await self.look(visit)

    async def rename(self, visit: Visit, index: int | None, label: str) -> None:
        await self.work.relabel(visit, -1 if index is None else index, label)

    async def remove(self, visit: Visit, index: int | None) -> None:
        await self.work.remove(visit, -1 if index is None else index)

    async def find(self, request: gr.Request, preset: str) -> AsyncIterator[Updates]:
        """Objects appear as they are found; at the end a click keeps one of them."""
        on, visit = self.controls, visit_of(self.visits, request)
        with told():
            search = self.work.find(visit, wanted(preset))
            yield {on.find: gr.update(interactive=False), on.stop: gr.update(interactive=True), on.kind: "take"}
            try:
                async for _ in search:
                    yield await self._look_at_picture(visit) | {on.found: views.searching(visit.found)}
            finally:
                await search.aclose()
        yield await self.look(visit)

    async def stop(self, request: gr.Request) -> Updates:
        await self.work.stop(visit_of(self.visits, request))
        return {self.controls.stop: gr.update(interactive=False)}

    async def export(self, request: gr.Request, kind: str, edge: str) -> Any:
        visit = visit_of(self.visits, request)
        with told():
            return gr.update(value=str(await self.work.export(visit, kind, edge)), visible=True)

    def show_edges(self, kind: str) -> Any:
        return gr.update(visible=kind == "cutouts")

    def leave(self, request: gr.Request) -> None:
        self.visits.close(visitor_of(request.request.scope), request.session_hash or "")

    # ---- the page as it is ------------------------------------------------------------------------

    async def look(self, visit: Visit) -> Updates:
        """Every control that depends on the visit."""
        on, desk, found = self.controls, visit.now, visit.found
        things = views.thing_choices(desk)
        shown = [at for at, thing in enumerate(desk.things) if thing.shown] if desk else []
        chosen = desk.answer.chosen if desk and desk.answer else None
        searching = found is not None and found.running
        models = self.work.models()
        return await self._look_at_picture(visit) | {
            on.model: gr.update(choices=views.model_choices(models), value=visit.model or models[0].id),
            on.work: gr.update(visible=desk is not None),
            on.status: views.status(visit),
            on.undo: gr.update(interactive=bool(visit.past)),
            on.candidates: gr.update(choices=views.candidate_choices(desk), value=chosen, visible=chosen is not None),
            on.label: gr.update(value="", placeholder=desk.label_or_next("") if desk else ""),
            on.keep: gr.update(interactive=chosen is not None),
            on.things: gr.update(choices=things, value=shown, visible=bool(things)),
            on.edit: gr.update(visible=bool(things)),
            on.thing: gr.update(choices=things, value=things[-1][1] if things else None),
            on.find: gr.update(interactive=not searching),
            on.stop: gr.update(interactive=searching),
            on.take_all: gr.update(interactive=found is not None and bool(found.objects)),
            on.forget: gr.update(interactive=found is not None),
            on.found: views.searching(found),
        }

    async def _look_at_picture(self, visit: Visit) -> Updates:
        if visit.now is None:
            return {}
        file = await self.work.draw(visit)
        return {self.controls.picture: gr.update(value=str(file), alt_text=views.alternative(visit))}
