"""The page: the picture, what to do with it beside it, and which step each control takes. All works by keyboard."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demo.gradio_app import views
from demo.gradio_app.desk import LONGEST_LABEL, Kind
from demo.gradio_app.refused import Refused
from demo.gradio_app.visits import Visit, Visits
from demo.gradio_app.work import GALLERY, Work, sentence, wanted
from demo.problems import Problem
from demo.schemas import ModelOffer
from demo.visitors import visitor_of

TITLE = "Segment anything"
KINDS = (
    ("Add", "add"),
    ("Take away", "remove"),
    ("Corner of a box", "corner"),
    ("Keep a find", "take"),
)
PRESETS = (("Few", "few"), ("Balanced", "balanced"), ("Fine", "fine"))
EDGES = (("Sharp", "sharp"), ("Feathered", "feathered"), ("Matte", "matte"))
FORMATS = {
    "cutouts": "Cut-outs, PNG with transparency",
    "masks": "Masks, black and white PNG",
    "indexed": "Masks, one indexed PNG",
    "coco": "COCO, run lengths",
    "coco-polygons": "COCO, polygons",
    "labelme": "LabelMe",
    "yolo": "YOLO-seg",
    "svg": "SVG",
    "geojson": "GeoJSON",
    "cvat": "CVAT",
    "voc": "Pascal VOC",
    "numpy": "NumPy",
    "session": "Session, to go on later",
    "zip": "All of these in one zip",
}
"""In words; a format of the service that is missing here goes by its own name."""
EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
"""Of the page's own events: the service has lanes of its own, so nobody waits for another visitor here."""

Updates = dict[gr.components.Component, Any]


def visit_of(visits: Visits, request: gr.Request) -> Visit:
    """The visit that a request belongs to: two visitors have two, even if one guesses the other's session."""
    return visits.of(visitor_of(request.request.scope), request.session_hash or "")


@contextmanager
def told():
    """What is refused is shown to the visitor as a sentence."""
    try:
        yield
    except (Problem, Refused) as error:
        raise gr.Error(sentence(error), print_exception=False, title="Not done") from None


@dataclass
class Controls:
    """The parts of the page that change."""

    model: gr.Dropdown
    opener: gr.Accordion
    file: gr.File
    gallery: gr.Gallery
    work: gr.Row
    picture: gr.Image
    status: gr.HTML
    kind: gr.Radio
    undo: gr.Button
    clear: gr.Button
    x: gr.Number
    y: gr.Number
    click: gr.Button
    candidates: gr.Radio
    label: gr.Textbox
    keep: gr.Button
    things: gr.CheckboxGroup
    edit: gr.Accordion
    thing: gr.Dropdown
    new_label: gr.Textbox
    rename: gr.Button
    remove: gr.Button
    preset: gr.Radio
    find: gr.Button
    stop: gr.Button
    take_all: gr.Button
    forget: gr.Button
    found: gr.HTML
    format: gr.Dropdown
    edge: gr.Radio
    export: gr.Button
    download: gr.File

    @property
    def all(self) -> list[gr.blocks.Block]:
        return list(vars(self).values())


def lay_out(formats: tuple[str, ...], models: list[ModelOffer], home: str | None) -> Controls:
    """The controls in their order; call inside `gr.Blocks`. `home`: address of the full page, if there is one."""
    parts: dict[str, Any] = {}
    link = f'<a href="{home}">The full page</a>' if home else ""
    with gr.Row(elem_classes="head"):
        gr.HTML(f'<div class="brand"><h1>{TITLE}</h1><p>Masks are computed on the server.</p>{link}</div>')
        _lay_out_models(parts, views.model_choices(models))
    _lay_out_opener(parts)
    with gr.Row(visible=False, elem_classes="work") as parts["work"]:
        with gr.Column(scale=5, min_width=320, elem_classes="stage"):
            parts["picture"] = gr.Image(
                label="Picture", show_label=False, interactive=False, buttons=["fullscreen"], container=False
            )
            parts["status"] = gr.HTML(elem_classes="status")
        with gr.Column(scale=2, min_width=320, elem_classes="panel"):
            _lay_out_prompts(parts)
            _lay_out_objects(parts)
            _lay_out_everything(parts)
            _lay_out_export(parts, formats)
    return Controls(**parts)


def _lay_out_models(parts: dict[str, Any], choices: list[tuple[str, str]]) -> None:
    parts["model"] = gr.Dropdown(
        choices,
        value=choices[0][1],
        label="Model",
        show_label=False,
        container=False,
        visible=len(choices) > 1,
        interactive=True,
        scale=0,
        min_width=240,
    )


def _lay_out_opener(parts: dict[str, Any]) -> None:
    with gr.Accordion("Open a picture", elem_classes="start") as parts["opener"]:
        parts["file"] = gr.File(
            label="A picture of yours", type="filepath", file_types=["image"], height=150, elem_classes="drop"
        )
        examples = [(str(GALLERY / item["file"]), item["title"]) for item in gallery()]
        parts["gallery"] = gr.Gallery(
            examples,
            label="Or one of these",
            columns=6,
            height=None,
            object_fit="cover",
            elem_classes="examples",
            allow_preview=False,
            interactive=False,
            buttons=[],
        )


def _lay_out_prompts(parts: dict[str, Any]) -> None:
    parts["kind"] = gr.Radio(list(KINDS), value="add", label="What a click does", elem_classes="pairs")
    with gr.Row(elem_classes="row"):
        parts["undo"] = gr.Button("Undo", size="md", min_width=80, interactive=False)
        parts["clear"] = gr.Button("Clear", size="md", min_width=80)
    with gr.Accordion("Click without a mouse", open=False):
        with gr.Row():
            parts["x"] = gr.Number(0, label="x, from the left", minimum=0, min_width=90)
            parts["y"] = gr.Number(0, label="y, from the top", minimum=0, min_width=90)
        parts["click"] = gr.Button("Click there", size="md")
    parts["candidates"] = gr.Radio([], label="Which mask, with its score", visible=False, elem_classes="pairs")


def _lay_out_objects(parts: dict[str, Any]) -> None:
    with gr.Row(elem_classes="row labelled"):
        parts["label"] = gr.Textbox(
            label="Label", placeholder="object 1", max_length=LONGEST_LABEL, max_lines=1, scale=3, min_width=120
        )
        parts["keep"] = gr.Button("Keep it", variant="primary", size="md", scale=2, min_width=90, interactive=False)
    parts["things"] = gr.CheckboxGroup(
        [], label="Kept objects", info="Ticked ones are shown and exported.", visible=False, elem_classes="things"
    )
    with gr.Accordion("Rename or remove", open=False, visible=False) as parts["edit"]:
        parts["thing"] = gr.Dropdown([], label="Object", interactive=True)
        parts["new_label"] = gr.Textbox(label="New label", max_length=LONGEST_LABEL, max_lines=1)
        with gr.Row(elem_classes="row"):
            parts["rename"] = gr.Button("Rename", size="md", min_width=80)
            parts["remove"] = gr.Button("Remove", size="md", min_width=80)


def _lay_out_everything(parts: dict[str, Any]) -> None:
    with gr.Accordion("Everything at once", open=False):
        parts["preset"] = gr.Radio(list(PRESETS), value="few", label="How much to find")
        with gr.Row(elem_classes="row"):
            parts["find"] = gr.Button("Find everything", size="md", min_width=80)
            parts["stop"] = gr.Button("Stop", size="md", min_width=80, interactive=False)
        parts["found"] = gr.HTML(elem_classes="found")
        with gr.Row(elem_classes="row"):
            parts["take_all"] = gr.Button("Keep all", size="md", min_width=80, interactive=False)
            parts["forget"] = gr.Button("Forget them", size="md", min_width=80, interactive=False)


def _lay_out_export(parts: dict[str, Any], formats: tuple[str, ...]) -> None:
    with gr.Accordion("Take it home", open=False):
        choices = [(FORMATS.get(name, name), name) for name in formats]
        parts["format"] = gr.Dropdown(choices, value=formats[0], label="Format", interactive=True)
        parts["edge"] = gr.Radio(list(EDGES), value="sharp", label="Edges of cut-outs")
        parts["export"] = gr.Button("Make the file", size="md")
        parts["download"] = gr.File(label="Your file", interactive=False, visible=False)


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


def gallery() -> list[dict[str, Any]]:
    """The examples: file, title and more of each."""
    return json.loads((GALLERY / "gallery.json").read_text("utf-8"))


def require_upload(visits: Visits, file: str | None) -> None:
    """Refused for no file, and for one that some visit made: uploads are opened, nothing else."""
    if file is None:
        raise Refused("No file came with the question; send a picture.")
    if Path(file).resolve().is_relative_to(visits.folder.resolve()):
        raise Refused("That file was not uploaded; upload the picture.")
