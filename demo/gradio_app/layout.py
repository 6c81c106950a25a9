"""The page's controls in their order: the picture, and what to do with it beside it. All works by keyboard."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.gradio_app import views
from demo.gradio_app.desk import LONGEST_LABEL
from demo.gradio_app.work import GALLERY
from demo.schemas import ModelOffer

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


def gallery() -> list[dict[str, Any]]:
    """The examples: file, title and more of each."""
    return json.loads((GALLERY / "gallery.json").read_text("utf-8"))
